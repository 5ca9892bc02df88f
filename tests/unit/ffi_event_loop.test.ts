import { expect, it, onTestFinished } from "vitest";
import { EPOLLIN } from "../../ffi/constants.ts";
import { EventLoop } from "../../ffi/event_loop.ts";
import { kernel } from "../../ffi/kernel.ts";

it("EventLoop does not give the event of a closed descriptor to the next one with its number", () => {
  const loop = new EventLoop(kernel);
  onTestFinished(() => loop[Symbol.dispose]());
  const ends = [kernel.pipe2(0), kernel.pipe2(0)] as const;
  const heard: string[] = [];
  for (const [index, [read, write]] of ends.entries()) {
    kernel.write(write, new Uint8Array(1));
    onTestFinished(() => kernel.close(write));
    loop.add(read, EPOLLIN, () => {
      heard.push("first");
      loop.remove(read);
      kernel.close(read);
      const other = ends[1 - index]![0]; // there are two
      loop.remove(other);
      kernel.close(other);
      // both numbers are free now: an empty pipe takes them
      const [emptyRead, emptyWrite] = kernel.pipe2(0);
      for (const fd of [emptyRead, emptyWrite]) {
        loop.add(fd, fd === emptyRead ? EPOLLIN : 0, () => heard.push("stale"));
      }
      expect([emptyRead, emptyWrite]).toContain(other);
    });
  }
  loop.turn(1000);
  loop.turn(0);
  expect(heard).toEqual(["first"]);
});
