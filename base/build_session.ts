/**
 * The connection of `berth build`, as both of its ends speak it: `POST /berth/build`, upgraded. The classic API has no way to ask
 * the client for anything, nor to give it files; here both ends send frames at any time.
 *
 * A frame is the length of its payload (four bytes, big-endian), its kind (one byte), the number of its stream (four bytes,
 * big-endian), and the payload. Messages are JSON on stream 0; all other streams are bytes in one direction or both.
 */

/** What `GET /_ping` says of it, in the header `Berth-Build`: the version of this protocol. */
export const BUILD_SESSION_VERSION = "2";

export const FRAME = { message: 0, data: 1, end: 2 } as const;
const HEADER = 9;
/** Longest payload that is taken; senders of data stay far below. */
const MAX_PAYLOAD = 16 * 1024 * 1024;

export interface Frame {
  readonly kind: number;
  readonly stream: number;
  readonly payload: Uint8Array;
}

/** The other end does not keep to the protocol. */
export class BuildSessionError extends Error {
  override readonly name = "BuildSessionError";
}

const encoder = new TextEncoder();
const decoder = new TextDecoder();

export function encodeFrame(kind: number, stream: number, payload: Uint8Array): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(HEADER + payload.length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, payload.length);
  bytes[4] = kind;
  view.setUint32(5, stream);
  bytes.set(payload, HEADER);
  return bytes;
}

export const encodeMessage = (message: ClientMessage | ServerMessage): Uint8Array<ArrayBuffer> =>
  encodeFrame(FRAME.message, 0, encoder.encode(JSON.stringify(message)));

/** The JSON of a message's frame; the type is for whoever checks it. */
export function decodeMessage(frame: Frame): unknown {
  try {
    return JSON.parse(decoder.decode(frame.payload));
  } catch {
    // the text itself may be a secret
    throw new BuildSessionError("a message of the build session is no JSON");
  }
}

/** The frames of a connection, as they come. Ends with the connection. @throws {BuildSessionError} */
export async function* readFrames(input: AsyncIterable<Uint8Array>): AsyncGenerator<Frame, void, undefined> {
  const parts: Uint8Array[] = [];
  let length = 0;
  const take = (count: number): Uint8Array => {
    const taken = new Uint8Array(count);
    for (let at = 0; at < count;) {
      const [first] = parts;
      if (first === undefined) throw new TypeError("fewer bytes than were counted");
      const step = Math.min(first.length, count - at);
      taken.set(first.subarray(0, step), at);
      if (step === first.length) parts.shift();
      else parts[0] = first.subarray(step);
      at += step;
    }
    length -= count;
    return taken;
  };
  let header: { size: number; kind: number; stream: number } | undefined;
  for await (const bytes of input) {
    parts.push(bytes);
    length += bytes.length;
    for (;;) {
      if (header === undefined) {
        if (length < HEADER) break;
        const view = new DataView(take(HEADER).buffer);
        header = { size: view.getUint32(0), kind: view.getUint8(4), stream: view.getUint32(5) };
        if (header.size > MAX_PAYLOAD) {
          throw new BuildSessionError("a frame of the build session is too long");
        }
      }
      if (length < header.size) break;
      const { size, kind, stream } = header;
      header = undefined;
      yield { kind, stream, payload: take(size) };
    }
  }
}

/** Where files of a build come from. */
export type SessionSource =
  /** The client sends an archive on this stream; archives come one after the other, in the order of their streams. */
  | { readonly kind: "upload"; readonly stream: number }
  /**
   * A directory. The client lists its files ("files"), the engine answers which it wants ("want"), and the client sends an archive of
   * these on the stream. `origin` says where the client has it, `host:/path`.
   */
  | { readonly kind: "directory"; readonly stream: number; readonly origin: string }
  /** The engine fetches it: a git repository, an archive or a Dockerfile. */
  | { readonly kind: "remote"; readonly url: string }
  | { readonly kind: "image"; readonly reference: string };

export interface SessionRequest {
  /** undefined: it is in the context, at `dockerfilePath`. */
  readonly dockerfile?: { readonly name: string; readonly text: string } | undefined;
  readonly dockerfilePath?: string | undefined;
  /** undefined: no files. */
  readonly context?: Exclude<SessionSource, { kind: "image" }> | undefined;
  readonly namedContexts: Readonly<Record<string, SessionSource>>;
  readonly target?: string | undefined;
  readonly buildArgs: Readonly<Record<string, string>>;
  readonly labels: Readonly<Record<string, string>>;
  readonly tags: readonly string[];
  readonly platform?: string | undefined;
  readonly noCache: boolean;
  readonly noCacheStages: readonly string[];
  readonly cacheFrom: readonly string[];
  readonly pull: boolean;
  readonly squash: boolean;
  readonly networkMode: string;
  readonly extraHosts: readonly string[];
  readonly shmSize?: number | undefined;
  readonly ulimits: readonly { readonly Name: string; readonly Soft: number; readonly Hard: number }[];
  readonly resources: Readonly<Record<string, number | string>>;
  /** "files" and the archives come on stream 1 when the build is done: the result's files as a tar archive, or the image as one. */
  readonly output: "image" | "files" | "oci" | "docker" | "none";
  /** Only what the build's checks say; nothing is built. */
  readonly check: boolean;
}

export const OUTPUT_STREAM = 1;

/** Larger directories are sent as a whole: a list of their files is large itself. */
export const MOST_LISTED_FILES = 100_000;
/** Files in one message. */
export const LISTED_AT_ONCE = 5000;

/** Path from the directory's root, and a text that changes with whatever changes about the file ("": to be sent in any case). */
export type ListedFile = readonly [path: string, state: string];

export type ClientMessage =
  | { readonly kind: "build"; readonly request: SessionRequest }
  /** A part of what a directory holds, directories before what is in them; `last`: there is no more. */
  | {
    readonly kind: "files";
    readonly stream: number;
    readonly files: readonly ListedFile[];
    readonly last: boolean;
  }
  /** `data`: base64; undefined: has none. */
  | { readonly kind: "answer"; readonly ask: number; readonly data?: string | undefined };

export interface SessionRange {
  readonly startLine: number;
  readonly endLine: number;
}

export interface SessionVertex {
  readonly id: number;
  readonly name: string;
  readonly instruction?: string | undefined;
  readonly stage?: string | undefined;
  /** Changes the configuration alone: not shown. */
  readonly configOnly?: true;
  readonly inputs: readonly number[];
}

export interface SessionWarning {
  readonly rule: string;
  readonly description: string;
  readonly url: string;
  readonly message: string;
  readonly range: SessionRange;
}

/** The events of a build; the bytes of a log are in base64. Times are milliseconds since 1970. */
export type SessionEvent =
  | { readonly kind: "plan"; readonly vertices: readonly SessionVertex[] }
  | { readonly kind: "vertex"; readonly vertex: SessionVertex }
  | { readonly kind: "start"; readonly id: number; readonly time: number }
  | {
    readonly kind: "done";
    readonly id: number;
    readonly time: number;
    readonly cached: boolean;
    readonly error?: string | undefined;
    readonly result?: string | undefined;
  }
  | {
    readonly kind: "log";
    readonly id: number;
    readonly stream: 1 | 2;
    readonly data: string;
    readonly time: number;
  }
  | {
    readonly kind: "status";
    readonly id: number;
    readonly name: string;
    readonly current: number;
    readonly total: number;
    readonly time: number;
    readonly done: boolean;
  }
  | { readonly kind: "warning"; readonly id: number; readonly warning: SessionWarning }
  | { readonly kind: "container"; readonly id: number; readonly container: string };

export type ServerMessage =
  | { readonly kind: "event"; readonly event: SessionEvent }
  /** Which files of a directory are to be sent: indices of its list. */
  | { readonly kind: "want"; readonly stream: number; readonly files: readonly number[] }
  /** "auth": `name` is a registry's host, the answer an AuthConfig as JSON. "ssh": whether there is such an agent. */
  | {
    readonly kind: "ask";
    readonly ask: number;
    readonly what: "secret" | "ssh" | "auth";
    readonly name: string;
  }
  /** Somebody in the build speaks to the agent `name`; bytes go both ways on `stream` until both have ended it. */
  | { readonly kind: "ssh"; readonly stream: number; readonly name: string }
  /** Which Dockerfile it is, where the client does not know it: for excerpts. */
  | { readonly kind: "dockerfile"; readonly name: string; readonly text: string }
  /** The end of a build that went well; all of the output has come before. */
  | { readonly kind: "result"; readonly imageId?: string | undefined }
  | { readonly kind: "error"; readonly message: string; readonly range?: SessionRange | undefined };
