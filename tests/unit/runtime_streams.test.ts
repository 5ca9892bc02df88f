import { expect, it } from "vitest";
import { EventLoop } from "../../ffi/event_loop.ts";
import { Recorder } from "../../ffi/recorder.ts";
import { type Syscalls, WOULD_BLOCK } from "../../ffi/syscalls.ts";
import { ProcessStreams } from "../../runtime/shim_streams.ts";

/** Streams of a process without a terminal whose pipes give as much at each read as `read` says. */
function streams(read: (buffer: Uint8Array, reads: number) => number) {
  const recorder = new Recorder();
  let reads = 0;
  recorder.answer("read", (_fd, buffer) => read(buffer, ++reads));
  const kernel: Syscalls = recorder.syscalls;
  const made = new ProcessStreams({ kernel, loop: new EventLoop(kernel), stdinOnce: false });
  made.openPipes(false);
  made.start(undefined);
  return { made, reads: () => reads };
}

it("ProcessStreams.drain() reads all that a full pipe holds", () => {
  const { made, reads } = streams((buffer, reads) => reads % 4 === 0 ? 0 : buffer.length);
  expect(made.drain()).toBe(true);
  expect(reads()).toBe(8);
});

it("ProcessStreams.drain() leaves it to somebody who goes on writing when the process has ended", () => {
  const { made } = streams((buffer, reads) => {
    if (reads > 1000) throw new Error("it does not end");
    return buffer.length;
  });
  expect(made.drain()).toBe(false);
  const silent = streams(() => WOULD_BLOCK);
  expect(silent.made.drain()).toBe(false);
  expect(silent.reads()).toBe(2);
});
