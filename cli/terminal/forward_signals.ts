/** `--sig-proxy`: what the command line receives, the container receives. */

import type { ApiClient } from "../api_client.ts";
import { segment } from "../api_client.ts";

/**
 * Every catchable signal but those that speak of ourselves: SIGCHLD, SIGPIPE, SIGURG, and faults. SIGWINCH is passed on
 * by the terminal's resize.
 */
const FORWARDED: readonly Deno.Signal[] = [
  "SIGHUP",
  "SIGINT",
  "SIGQUIT",
  "SIGTERM",
  "SIGUSR1",
  "SIGUSR2",
  "SIGALRM",
  "SIGCONT",
  "SIGTSTP",
  "SIGTTIN",
  "SIGTTOU",
  "SIGIO",
  "SIGPWR",
  "SIGVTALRM",
  "SIGXCPU",
];

/** Makes Deno's thread for signals, which takes up to a millisecond: the first listener waits for it. */
export function prepareSignals(): void {
  // The one signal without effect on a process that does not listen to it.
  Deno.addSignalListener("SIGWINCH", () => {});
}

/**
 * Sends every signal this process gets to a container, until disposed.
 *
 * @param running resolves when the container runs. What comes earlier is sent then: the engine would refuse it, and a
 * service manager that ends the command line a moment too early would wait for a container that knows nothing of it.
 */
export function forwardSignals(
  client: ApiClient,
  container: string,
  running: Promise<void> = Promise.resolve(),
): Disposable {
  const listeners = FORWARDED.map((name) => {
    const listener = () => {
      const signal = name.replace(/^SIG/, "");
      running.then(() =>
        client.send("POST", `/containers/${segment(container, "container")}/kill`, { query: { signal } })
      )
        .catch(() => {});
    };
    Deno.addSignalListener(name, listener);
    return { name, listener };
  });
  return {
    [Symbol.dispose]() {
      for (const { name, listener } of listeners) Deno.removeSignalListener(name, listener);
    },
  };
}
