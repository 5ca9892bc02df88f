import { messageOf } from "../base/errors.ts";
import { monotonicMicroseconds } from "../ffi/monotonic_clock.ts";
import { sendUnixDatagram } from "../ffi/unix_datagram.ts";
import type { Logger } from "./log.ts";

/** What a service manager is told, as sd_notify(3) writes it. */
export interface ServiceNotice {
  ready(status: string): void;
  reloading(): void;
  stopping(): void;
}

const VARIABLE = "NOTIFY_SOCKET";

/**
 * Takes `NOTIFY_SOCKET` out of the environment, so that neither shims nor containers speak for the engine. Without one nothing is
 * sent. systemd accepts the messages because the engine has the pid that systemd started (NotifyAccess=main).
 */
export function takeServiceNotice(log: () => Logger): ServiceNotice {
  const socket = Deno.env.get(VARIABLE) ?? "";
  Deno.env.delete(VARIABLE);
  const send = (...lines: string[]) => {
    if (!/^[@/]/.test(socket)) return;
    try {
      sendUnixDatagram(socket, new TextEncoder().encode(`${lines.join("\n")}\n`));
    } catch (error) {
      log().warn("cannot notify the service manager", { socket, error: messageOf(error) });
    }
  };
  return {
    ready: (status) => send("READY=1", `STATUS=${status}`, `MAINPID=${Deno.pid}`),
    // Type=notify-reload wants to know when the reload began, by CLOCK_MONOTONIC.
    reloading: () => send("RELOADING=1", `MONOTONIC_USEC=${monotonicMicroseconds()}`),
    stopping: () => send("STOPPING=1", "STATUS=Stopping; containers go on"),
  };
}
