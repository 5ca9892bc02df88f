import type { EventLoop } from "../../ffi/event_loop.ts";

/** Two connected TCP sockets whose bytes go from the one to the other. */
export interface RelayOptions {
  /** Called once both directions are over and both descriptors closed. */
  readonly onClose?: () => void;
}

/**
 * Joins two stream sockets (nonblocking) until both directions have ended: bytes by splice(2) through pooled pipes, half-close as
 * shutdown, a reset of one side as a reset of the other, back pressure by not reading. Owns both descriptors from here on.
 * `a` is in the machine's network, `b` in the rootless host. `b` may still be connecting: when that fails, `a` is reset. Both have TCP_NODELAY: what has come in one piece goes on at once.
 */
export interface Relay extends Disposable {
  join(a: number, b: number, options?: RelayOptions): void;
  /** Connections under way. */
  readonly connections: number;
}

export type MakeRelay = (loop: EventLoop) => Relay;
