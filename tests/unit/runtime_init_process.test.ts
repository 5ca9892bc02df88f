/** A stub on its way to a program, and what comes in between. */
import { expect, it } from "vitest";
import { EventLoop } from "../../ffi/event_loop.ts";
import { kernel } from "../../ffi/kernel.ts";
import { SIGKILL, SIGSTOP } from "../../ffi/signals.ts";
import { InitProcess, type LaunchResult } from "../../runtime/shim_init_process.ts";
import { containerSpec } from "../support/container_spec.ts";

/** Runs `use` on a new process, and waits for its end afterwards. */
function withInit(use: (init: InitProcess, loop: EventLoop) => void): void {
  using loop = new EventLoop(kernel);
  const init = new InitProcess(kernel, loop);
  let ended = false;
  init.onExit = () => ended = true;
  try {
    use(init, loop);
  } finally {
    init.dismiss();
    while (!ended) loop.turn(1000);
  }
}

it("InitProcess.rehearse() lets nothing else be done while a call of its own is under way", () => {
  withInit((init, loop) => {
    let disturbed = false;
    // As an order that comes meanwhile, for the same stub.
    loop.after(0, () => disturbed = true);
    kernel.kill(init.pid, SIGSTOP);
    // Three times as long as a call may take that is not slow.
    const goOn = new Deno.Command("sh", { args: ["-c", `sleep 0.06; kill -CONT ${init.pid}`] }).spawn();
    init.rehearse();
    expect(disturbed).toBe(false);
    void goOn.status;
  });
});

it("InitProcess.launch() says that the process was killed, whichever step it was at", () => {
  const cgroupPath = Deno.makeTempDirSync();
  // Nobody reads from it: to open it takes for ever.
  kernel.mknod(`${cgroupPath}/cgroup.procs`, 0o010600, 0n);
  withInit((init, loop) => {
    loop.after(0, () => kernel.kill(init.pid, SIGKILL));
    const order = {
      kind: "container",
      spec: containerSpec("/", ["true"], { cgroupPath }),
      mountPoint: "/",
      oomScoreAdj: 1000,
    } as const;
    let result: LaunchResult | undefined;
    init.launch(order, [], (how) => result = how);
    while (result === undefined) loop.turn(1000);
    expect(result).toEqual({
      ok: false,
      error: { stage: "init", errno: 0, message: "init has ended before the command was started" },
    });
  });
  Deno.removeSync(cgroupPath, { recursive: true });
});
