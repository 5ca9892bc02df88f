import type { RemoteLogDriver } from "./driver.ts";
import { fluentdDriver } from "./fluentd.ts";
import { gelfDriver } from "./gelf.ts";
import { journaldDriver } from "./journald.ts";
import { splunkDriver } from "./splunk.ts";
import { syslogDriver } from "./syslog.ts";

/** Drivers by the names that `--log-driver` takes. */
export const REMOTE_LOG_DRIVERS: Readonly<Record<string, RemoteLogDriver>> = {
  fluentd: fluentdDriver,
  gelf: gelfDriver,
  journald: journaldDriver,
  splunk: splunkDriver,
  syslog: syslogDriver,
};

/** undefined for those that keep a container's log on this machine, or nowhere. */
export function remoteLogDriver(type: string | undefined): RemoteLogDriver | undefined {
  return type !== undefined && Object.hasOwn(REMOTE_LOG_DRIVERS, type) ? REMOTE_LOG_DRIVERS[type] : undefined;
}
