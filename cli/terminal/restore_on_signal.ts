/** Signals that would end the command line while the terminal is raw. */

const SIGNALS: readonly (readonly [Deno.Signal, number])[] = [["SIGHUP", 1], ["SIGINT", 2], ["SIGTERM", 15]];

/**
 * Gives the terminal back before such a signal ends the process (exit code 128 + signal), until disposed. For sessions
 * that do not forward signals to their container.
 */
export function restoreOnSignal(): Disposable {
  const listeners = SIGNALS.map(([name, number]) => {
    const listener = () => {
      Deno.stdin.setRaw(false);
      Deno.exit(128 + number);
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
