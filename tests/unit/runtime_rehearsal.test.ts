/** A warm shim's rehearsal, on a stub that is slow: an order that comes meanwhile is for the same stub. */
import { expect, it } from "vitest";
import { EventLoop } from "../../ffi/event_loop.ts";
import { kernel } from "../../ffi/kernel.ts";
import { SIGSTOP } from "../../ffi/signals.ts";
import { InitProcess } from "../../runtime/shim_init_process.ts";

it("InitProcess.rehearse() lets nothing else be done while a call of its own is under way", () => {
  using loop = new EventLoop(kernel);
  const init = new InitProcess(kernel, loop);
  let ended = false;
  init.onExit = () => ended = true;
  let disturbed = false;
  loop.after(0, () => disturbed = true);
  try {
    kernel.kill(init.pid, SIGSTOP);
    // Three times as long as a call may take that is not slow.
    const goOn = new Deno.Command("sh", { args: ["-c", `sleep 0.06; kill -CONT ${init.pid}`] }).spawn();
    init.rehearse();
    expect(disturbed).toBe(false);
    void goOn.status;
  } finally {
    init.dismiss();
    while (!ended) loop.turn(1000);
  }
});
