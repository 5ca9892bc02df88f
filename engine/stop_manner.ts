import type { StopManner } from "../cgroups/manager.ts";
import { signalNumber, SIGTERM } from "../ffi/signals.ts";
import type { ContainerRecord } from "./container_record.ts";

/** Seconds between the stop signal and SIGKILL when neither the caller nor the container says otherwise. */
const STOP_TIMEOUT_S = 10;

/** How a container is to be stopped when the one who does it has no wishes: `STOPSIGNAL` or --stop-signal, --stop-timeout. */
export function stopMannerOf({ config }: Pick<ContainerRecord, "config">): StopManner {
  return {
    signal: signalNumber(config.StopSignal || "SIGTERM") ?? SIGTERM,
    seconds: config.StopTimeout ?? STOP_TIMEOUT_S,
  };
}
