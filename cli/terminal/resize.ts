/** Keeps the size of a container's terminal equal to that of the user's. */

import type { ApiClient } from "../api_client.ts";
import { consoleSize } from "./raw_mode.ts";
import { printError } from "../stdio.ts";

/** Attempts at the first resize: the process may not have its terminal yet when we ask. */
const ATTEMPTS = 10;
const PAUSE_MS = 10;

/**
 * Sends the size now and whenever it changes, until disposed.
 *
 * @param path the resource that is resized: "/containers/ID" or "/exec/ID".
 */
export function followSize(client: ApiClient, path: string): Disposable {
  const send = async (): Promise<void> => {
    const [h, w] = consoleSize();
    if (h === 0 && w === 0) return;
    await client.send("POST", `${path}/resize`, { query: { h, w } });
  };
  const onChange = () => void send().catch(() => {});
  Deno.addSignalListener("SIGWINCH", onChange);
  let disposed = false;
  void (async () => {
    for (let attempt = 0; attempt <= ATTEMPTS && !disposed; attempt++) {
      try {
        return await send();
      } catch {
        await new Promise((resolve) => setTimeout(resolve, PAUSE_MS * (attempt + 1)));
      }
    }
    if (!disposed) printError("failed to resize tty, using default size");
  })();
  return {
    [Symbol.dispose]() {
      disposed = true;
      Deno.removeSignalListener("SIGWINCH", onChange);
    },
  };
}

/**
 * Sends a size one larger than the real one: a shell draws its prompt again only when the size changes, and somebody who
 * attaches for the second time would see an empty screen.
 */
export async function nudgeSize(client: ApiClient, path: string): Promise<void> {
  const [h, w] = consoleSize();
  if (h === 0 && w === 0) return;
  await client.send("POST", `${path}/resize`, { query: { h: h + 1, w: w + 1 } }).catch(() => {});
}
