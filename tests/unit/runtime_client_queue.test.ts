import { afterEach, beforeEach, expect, test } from "vitest";
import { kernel } from "../../ffi/kernel.ts";
import { SOCK_STREAM } from "../../ffi/constants.ts";
import { type Syscalls, WOULD_BLOCK } from "../../ffi/syscalls.ts";
import { ClientQueue } from "../../runtime/shim_client_queue.ts";

let dir: string;
let near: number;
let far: number;
beforeEach(() => {
  dir = Deno.makeTempDirSync();
  [near, far] = kernel.socketpair(SOCK_STREAM);
  kernel.setNonblocking(near, true);
  kernel.setNonblocking(far, true);
});
afterEach(() => {
  kernel.close(near);
  kernel.close(far);
  Deno.removeSync(dir, { recursive: true });
});

const BLOCK = 50_000;
const block = (n: number) => new Uint8Array(BLOCK).fill(n % 251);

/** Everything that waits, as the client gets it: the first byte of each block. */
function takeAll(queue: ClientQueue): number[] {
  const blocks: number[] = [];
  const buffer = new Uint8Array(BLOCK);
  for (let filled = 0;;) {
    const count = kernel.read(far, buffer.subarray(filled));
    if (count === WOULD_BLOCK) {
      if (queue.size === 0) break;
      expect(queue.flush()).toBe(true);
      continue;
    }
    filled += count;
    if (filled < BLOCK) continue;
    expect(new Set(buffer).size).toBe(1);
    blocks.push(buffer[0] ?? -1);
    filled = 0;
  }
  return blocks;
}

const numbers = (count: number) => Array.from({ length: count }, (_, n) => n % 251);

test("ClientQueue is full when much waits in memory, and not with a file", () => {
  const queue = new ClientQueue(kernel, near);
  let pushed = 0;
  while (!queue.full) queue.push(block(pushed++));
  expect(queue.relieved).toBe(false);
  queue.spill(dir);
  expect([queue.full, queue.relieved]).toEqual([false, true]);
  while (pushed < 200) queue.push(block(pushed++));
  expect(queue.full).toBe(false);
  expect(queue.size).toBeGreaterThan(9_000_000);
  // nobody else can read it, and nothing is left behind
  expect([...Deno.readDirSync(dir)]).toEqual([]);
  expect(takeAll(queue)).toEqual(numbers(200));
  // once all is taken memory does again
  while (!queue.full) queue.push(block(0));
  queue.close();
});

test("ClientQueue keeps the order when the disk is full, and asks the process to wait then", () => {
  let room = 400_000;
  const limited: Syscalls = Object.create(kernel);
  limited.write = (fd, data) => {
    if (fd === near) return kernel.write(fd, data);
    const part = data.subarray(0, Math.min(room, data.length));
    room -= part.length;
    return kernel.write(fd, part);
  };
  const queue = new ClientQueue(limited, near);
  let pushed = 0;
  while (!queue.full) queue.push(block(pushed++));
  queue.spill(dir);
  while (!queue.full) queue.push(block(pushed++));
  expect(queue.relieved).toBe(false);
  // what a process leaves in its pipes at its end comes all the same
  for (let more = 0; more < 4; more++) queue.push(block(pushed++));
  expect(takeAll(queue)).toEqual(numbers(pushed));
  expect(queue.relieved).toBe(true);
  queue.close();
});

test("ClientQueue without a place for a file goes on waiting in memory", () => {
  const queue = new ClientQueue(kernel, near);
  let pushed = 0;
  while (!queue.full) queue.push(block(pushed++));
  queue.spill(`${dir}/nowhere`);
  expect(queue.full).toBe(true);
  expect(takeAll(queue)).toEqual(numbers(pushed));
  queue.close();
});
