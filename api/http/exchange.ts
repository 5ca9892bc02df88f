import { type ClientStream } from "../../engine/types.ts";

/**
 * One request on its connection: what a handler gets besides the `Request`. It travels as Hono's `env`.
 */
export interface Exchange {
  /** Aborted when the client goes away, and when the server is closing. */
  readonly signal: AbortSignal;
  /** The client asked for `Upgrade`, so a connection that is taken over begins with 101. */
  readonly upgrade: boolean;
  /** The request has a body, or may have one: Content-Length above 0, or chunked. */
  readonly bodyLength: number | undefined;
  /**
   * Takes the connection over: the handler returns the Response that this gives, the server then writes `head`
   * (a whole response head, blank line included) and hands the connection to `run`. It is closed when `run` settles.
   */
  takeOver(head: string, run: (stream: ClientStream) => Promise<void>): Response;
}

/** Answers one request. It may throw: that is a 500. */
export type Handler = (request: Request, exchange: Exchange) => Response | Promise<Response>;
