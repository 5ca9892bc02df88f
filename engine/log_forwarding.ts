/** Which containers' logs are forwarded, and since when. The drivers are loaded when the first one is. */
import { EngineError, messageOf } from "../base/errors.ts";
import type { Container } from "./container.ts";
import type { ContainerRecord } from "./container_record.ts";
import type { EngineContext } from "./context.ts";
import type { LogSink } from "./log_drivers/driver.ts";
import type { LogForwarder } from "./log_drivers/forwarder.ts";
import { remoteLogDriver } from "./log_drivers/registry.ts";

const forwarders = new WeakMap<Container, LogForwarder>();

/** What a removal waits for the last lines of a container. */
const DRAIN_MS = 2_000;

const typeOf = ({ hostConfig }: ContainerRecord): string | undefined => hostConfig.LogConfig?.Type;

/**
 * A connection for a container that is about to start; undefined when its log stays here.
 *
 * @throws {EngineError} system, in Docker's words, when the server is not there.
 */
export async function openLogSink(record: ContainerRecord): Promise<LogSink | undefined> {
  const driver = remoteLogDriver(typeOf(record));
  if (driver === undefined) return undefined;
  try {
    return await driver.open(record, record.hostConfig.LogConfig?.Config ?? {});
  } catch (error) {
    throw new EngineError(
      "system",
      `failed to create task for container: failed to initialize logging driver: ${messageOf(error)}`,
      error instanceof EngineError && error.hint !== undefined
        ? { cause: error, hint: error.hint }
        : { cause: error },
    );
  }
}

/** Begins, or goes on, to forward the log of a container that runs or has run. @param sink from {@link openLogSink}. */
export async function forwardLog(
  ctx: Pick<EngineContext, "log">,
  container: Container,
  sink?: LogSink,
): Promise<void> {
  const driver = remoteLogDriver(typeOf(container.record));
  if (driver === undefined) return;
  const { LogForwarder } = await import("./log_drivers/forwarder.ts");
  const known = forwarders.get(container);
  if (known !== undefined) {
    sink?.close();
    return known.run();
  }
  const forwarder = new LogForwarder(container, driver, ctx.log, sink);
  forwarders.set(container, forwarder);
  const unwatch = container.watch(() => {
    if (!container.removed) return;
    unwatch();
    forwarder.close();
  });
  forwarder.run();
}

/** Gives the last lines of a container that is to be removed their time. */
export async function drainLog(container: Container): Promise<void> {
  await forwarders.get(container)?.drained(DRAIN_MS);
}
