import { expect, it, onTestFinished } from "vitest";
import { EPOLLET, EPOLLIN } from "../../ffi/constants.ts";
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

it("EventLoop runs timers in the order of their times, and none that was cancelled", () => {
  using loop = new EventLoop(kernel);
  const heard: number[] = [];
  const ids: number[] = [];
  for (let i = 0; i < 500; i++) {
    ids.push(loop.after(20 * ((i * 7919) % 13), () => heard.push((i * 7919) % 13)));
  }
  for (let i = 0; i < 500; i++) if (i % 3 !== 0) loop.cancel(ids[i]);
  loop.after(300, () => {
    heard.push(14);
    // added while timers run: the next turn's
    loop.after(0, () => {
      heard.push(15);
      loop.stop();
    });
  });
  loop.run();
  expect(heard).toEqual(heard.toSorted((a, b) => a - b));
  expect(heard.length).toBe(167 + 2);
});

it("EventLoop runs what is for soon after other descriptors' events, without sleeping", () => {
  using loop = new EventLoop(kernel);
  const heard: string[] = [];
  const [read, write] = kernel.pipe2(0);
  onTestFinished(() => kernel.close(write));
  loop.add(read, EPOLLIN, () => heard.push("event"));
  loop.soon(() => {
    heard.push("soon");
    loop.soon(() => heard.push("later"));
  });
  kernel.write(write, new Uint8Array(1));
  // would sleep for ever if it did
  loop.turn(-1);
  expect(heard).toEqual(["event", "soon"]);
  kernel.read(read, new Uint8Array(1));
  loop.turn(-1);
  expect(heard).toEqual(["event", "soon", "later"]);
});

it("EventLoop loses no edge-triggered event when a handler takes a turn itself", () => {
  using loop = new EventLoop(kernel);
  const heard: number[] = [];
  for (let index = 0; index < 4; index++) {
    const [read, write] = kernel.pipe2(0);
    onTestFinished(() => kernel.close(write));
    loop.add(read, EPOLLIN | EPOLLET, () => {
      heard.push(index);
      if (index === 0) loop.turn(0);
    });
    kernel.write(write, new Uint8Array(1));
  }
  loop.turn(0);
  loop.turn(0);
  expect(heard.toSorted()).toEqual([0, 1, 2, 3]);
});
