/** Role `@netd`: argument is NetdMainOptions as JSON. Writes "ready" to stdout once it can be spoken to. */
import { messageOf } from "../../base/errors.ts";
import { note } from "../../base/note.ts";
import { EPOLLIN, O_APPEND, O_CREAT, O_RDWR, O_WRONLY, RLIMIT_NOFILE } from "../../ffi/constants.ts";
import { SysError } from "../../ffi/errno.ts";
import { EventLoop } from "../../ffi/event_loop.ts";
import { kernel } from "../../ffi/kernel.ts";
import { SIGHUP, SIGINT, SIGPIPE, SIGTERM } from "../../ffi/signals.ts";
import { SpliceRelay } from "../relay/splice_relay.ts";
import { ControlSocket } from "./control.ts";
import { BackgroundRemoval } from "./link_removal.ts";
import { Netd } from "./netd.ts";
import { REFUSED } from "./protocol.ts";
import { RootlessNamespace } from "./rootless_namespace.ts";
import { parts } from "./wiring.ts";

export interface NetdMainOptions {
  /** `<exec-root>/netd`, a directory of the user's own. */
  readonly dir: string;
  /** Of berth. */
  readonly version: string;
  /** Pid of the engine that starts it. */
  readonly starter: number;
}

/** An engine that starts over is back by then. */
const LONELY_MS = 5_000;

/** What the kernel answers when it has not got something, or does not let its users have it. */
const FOR_GOOD = [
  "EPERM",
  "EACCES",
  "ENOSYS",
  "ENOSPC",
  "EAFNOSUPPORT",
  "EPROTONOSUPPORT",
  "EOPNOTSUPP",
] as const;

function main(options: NetdMainOptions): void {
  // Only the engine's orders end it: not a logout, not a Ctrl-C meant for the engine.
  kernel.ignoreSignals([SIGHUP, SIGINT, SIGTERM, SIGPIPE]);
  kernel.chdir("/");
  kernel.umask(0o077);
  openLog(options.dir);
  const lock = kernel.open(`${options.dir}/lock`, O_RDWR | O_CREAT, 0o600);
  if (!kernel.flock(lock)) throw new Error(`another netd serves ${options.dir}`);
  raiseDescriptorLimit();
  const loop = new EventLoop(kernel);
  const host = new RootlessNamespace({ kernel, mountPoint: `${options.dir}/netns` });
  const removal = new BackgroundRemoval(loop, host.route, host.connect());
  let lonely: number | undefined;
  /** No engine is there, and none comes. */
  let abandoned = false;
  const abandon = (): void => {
    abandoned = !control.connected;
    if (!abandoned) return;
    netd.forgetEnded();
    if (netd.sandboxes === 0) loop.stop();
  };
  const expectEngine = (): void => {
    loop.cancel(lonely);
    lonely = loop.after(LONELY_MS, abandon);
  };
  const netd = new Netd({
    kernel,
    loop,
    host,
    removal,
    relay: new SpliceRelay(loop),
    version: options.version,
    parts,
    onEnded: () => {
      if (abandoned) abandon();
    },
  });
  try {
    kernel.unlink(`${options.dir}/ctl.sock`);
  } catch (error) {
    if (!(error instanceof SysError && error.is("ENOENT"))) throw error;
  }
  const control = new ControlSocket(kernel, loop, `${options.dir}/ctl.sock`, {
    onConnect: () => {
      abandoned = false;
      starter.forget();
      loop.cancel(lonely);
    },
    onDisconnect: expectEngine,
    onRequest: (request, answer) => {
      const { begun } = removal;
      const result = netd.handle(request);
      if (removal.begun === begun) answer(result);
      // links that the request has taken away are gone when it is answered
      else removal.afterwards(() => answer(result));
      // after the answer has been sent
      if (netd.ending) loop.after(1, () => loop.stop());
    },
  });
  expectEngine();
  // Killed, or stopped, before it could connect: nobody else knows of this process.
  const starter = watch(loop, options.starter, abandon);
  tell("ready");
  const nothing = kernel.open("/dev/null", O_RDWR);
  kernel.dup2(nothing, 0);
  kernel.dup2(nothing, 1);
  kernel.close(nothing);
  loop.run();
  // Containers that no engine has told of may be in one that was there before.
  if (netd.told || !host.found) host.unmount();
  control[Symbol.dispose]();
  kernel.unlink(`${options.dir}/ctl.sock`);
}

/** Calls `onEnd` when a process ends, or has ended: at the loop's next turn. */
function watch(
  loop: EventLoop,
  pid: number,
  onEnd: () => void,
): { readonly forget: () => void } {
  let fd: number | undefined;
  const forget = () => {
    if (fd === undefined) return;
    loop.remove(fd);
    kernel.close(fd);
    fd = undefined;
  };
  try {
    fd = kernel.pidfdOpen(pid, 0);
  } catch (error) {
    if (!(error instanceof SysError && error.is("ESRCH"))) throw error;
    loop.after(0, onEnd);
    return { forget };
  }
  loop.add(fd, EPOLLIN, () => {
    forget();
    onEnd();
  });
  return { forget };
}

/** A line for whoever has started it, if that is still there. */
function tell(line: string): void {
  try {
    kernel.write(1, new TextEncoder().encode(`${line}\n`));
  } catch (error) {
    if (!(error instanceof SysError && error.is("EPIPE"))) throw error;
  }
}

/** stderr is netd's own log. */
function openLog(dir: string): void {
  const log = kernel.open(`${dir}/log`, O_WRONLY | O_CREAT | O_APPEND, 0o600);
  kernel.dup2(log, 2);
  kernel.close(log);
}

/** Each relayed connection has two, and the hard limit is there to be used. */
function raiseDescriptorLimit(): void {
  const { soft, hard } = kernel.getrlimit(RLIMIT_NOFILE);
  if (soft < hard) kernel.setrlimit(RLIMIT_NOFILE, hard, hard);
}

try {
  main(JSON.parse(Deno.args[1] ?? "{}") as NetdMainOptions);
} catch (error) {
  note(error instanceof Error ? error.stack ?? error.message : `${error}`);
  const refused = error instanceof SysError && error.is(...FOR_GOOD);
  tell(`${refused ? REFUSED : ""}${messageOf(error)}`);
  Deno.exit(1);
}
Deno.exit(0);
