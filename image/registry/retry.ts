import { RegistryError } from "./errors.ts";
import type { RegistrySettings } from "./settings.ts";

/** Longest wait between two attempts. */
const MAX_DELAY_MS = 30_000;

/** How long to wait after the nth failure: longer each time, or as long as the registry asks for. */
export function retryDelay(error: unknown, failures: number, settings: RegistrySettings): number {
  const wanted = error instanceof RegistryError ? error.retryAfterMs ?? 0 : 0;
  return Math.min(MAX_DELAY_MS, Math.max(wanted, settings.retryDelayMs * 2 ** (failures - 1)));
}

/** Waits, telling the seconds that are left. @throws the signal's reason */
export async function pause(
  ms: number,
  onRetry: (seconds: number) => void,
  signal: AbortSignal,
): Promise<void> {
  for (let left = ms; left > 0; left -= 1000) {
    onRetry(Math.ceil(left / 1000));
    await new Promise<void>((resolve, reject) => {
      const timer = setTimeout(done, Math.min(left, 1000));
      function done() {
        clearTimeout(timer);
        signal.removeEventListener("abort", done);
        if (signal.aborted) reject(signal.reason);
        else resolve();
      }
      signal.addEventListener("abort", done);
    });
  }
}
