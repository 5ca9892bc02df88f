import type { ContainerRecord } from "./container_record.ts";

const FIRST_DELAY_MS = 100;
const LONGEST_DELAY_MS = 60_000;
/** A run at least this long proves that the container works: the next restart is a quick one again. */
const HEALTHY_RUN_MS = 10_000;

/** Whether the policy wants the container again after an exit (moby: restartmanager.ShouldRestart). */
export function shouldRestart(record: ContainerRecord): boolean {
  const { Name, MaximumRetryCount = 0 } = record.hostConfig.RestartPolicy ?? {};
  if (record.state.manuallyStopped) return false;
  switch (Name) {
    case "always":
    case "unless-stopped":
      return true;
    case "on-failure":
      return record.state.exitCode !== 0 &&
        (MaximumRetryCount === 0 || record.restartCount < MaximumRetryCount);
    default:
      return false;
  }
}

/** Whether the policy wants it when the engine starts, for a container that is not running then. */
export function shouldStartWithEngine(record: ContainerRecord): boolean {
  if (!record.state.hasBeenStarted) return false;
  const name = record.hostConfig.RestartPolicy?.Name;
  return name === "always" || (name === "unless-stopped" && !record.state.manuallyStopped);
}

/** Milliseconds until the next restart: 100 ms, doubled each time up to a minute, from the beginning after a long run. */
export function nextDelay(previous: number, ranMs: number): number {
  if (previous === 0 || ranMs >= HEALTHY_RUN_MS) return FIRST_DELAY_MS;
  return Math.min(previous * 2, LONGEST_DELAY_MS);
}
