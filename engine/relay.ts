import type { AttachConn } from "./shim_client.ts";
import { DetachScanner } from "./detach_keys.ts";
import type { ClientStream } from "./types.ts";

/** Bytes moved at once from the shim to a client. */
const BLOCK = 32 * 1024;

export interface RelayOptions {
  /** Pass on what the client sends. */
  readonly stdin: boolean;
  /** Pass on what the shim sends. */
  readonly output: boolean;
  /**
   * What the end of the client's input means: the end of stdin, or the end of the relay (as in Docker for a terminal, and
   * for a container whose stdin stays open for the next client).
   */
  readonly inputEnd: "stdin" | "relay";
  /** With a terminal: these keys end the relay and leave the container alone. */
  readonly detachKeys: Uint8Array | undefined;
}

/**
 * Moves bytes both ways between a client and a shim's stream until the output ends, the client is gone, or it types the
 * detach keys. The client's half-close becomes the end of stdin. Closes the shim's side, not the client's.
 */
export async function relay(
  shim: AttachConn,
  client: ClientStream,
  options: RelayOptions,
): Promise<"ended" | "detached"> {
  using _shim = shim;
  const input = options.stdin ? pumpInput(shim, client, options) : undefined;
  const output = pumpOutput(shim, client, options.output).then(() => "ended" as const);
  if (input === undefined) return await output;
  const left = input.then((how) => {
    if (how === "refused") return output;
    return how === "ended" && options.inputEnd === "stdin" ? output : how;
  });
  return await Promise.race([output, left]);
}

/**
 * How a client's input has ended: by the client, by its detach keys, or because the process takes no more. In the last case the process is ending, and
 * what it has printed may still be on its way.
 */
type InputEnd = "ended" | "detached" | "refused";

async function pumpInput(
  shim: AttachConn,
  client: ClientStream,
  { detachKeys, inputEnd }: RelayOptions,
): Promise<InputEnd> {
  const scanner = detachKeys === undefined ? undefined : new DetachScanner(detachKeys);
  try {
    for await (const chunk of client.input) {
      const { data, detached } = scanner?.push(chunk) ?? { data: chunk, detached: false };
      if (data.length > 0 && !await takes(shim, data)) return "refused";
      if (detached) return "detached";
    }
  } catch {
    // The client broke off: as if it had said that this was all.
  }
  if (inputEnd === "relay") return "ended";
  try {
    await shim.closeWrite();
  } catch {
    // The stream ended first.
  }
  return "ended";
}

async function takes(shim: AttachConn, data: Uint8Array): Promise<boolean> {
  try {
    await shim.write(data);
    return true;
  } catch {
    return false;
  }
}

async function pumpOutput(shim: AttachConn, client: ClientStream, wanted: boolean): Promise<void> {
  const buffer = new Uint8Array(BLOCK);
  try {
    while (true) {
      const data = await shim.read(buffer);
      if (data === undefined) return;
      if (wanted) await client.write(data);
    }
  } catch {
    // The client is gone, or the shim: there is nobody left to tell.
  }
}

/** One block of Docker's framed stream. `stream` is 1 for stdout, 2 for stderr. */
export function frame(stream: 1 | 2, text: string): Uint8Array {
  const data = new TextEncoder().encode(text);
  const framed = new Uint8Array(8 + data.length);
  framed[0] = stream;
  new DataView(framed.buffer).setUint32(4, data.length);
  framed.set(data, 8);
  return framed;
}
