import { expect, it } from "vitest";
import { Slices } from "../../image/slices.ts";

/** A clock that each step moves on by a millisecond, and a count of what was done between two pauses. */
function stage(rounds: number[]) {
  let time = 0;
  let steps = 0;
  const slices: number[] = [];
  const endSlice = () => {
    slices.push(steps);
    steps = 0;
  };
  const resume: (() => void)[] = [];
  const work = new Slices(function* () {
    for (let i = rounds.shift() ?? 0; i > 0; i--) {
      time++;
      steps++;
      yield;
    }
  }, {
    sliceMs: 3,
    now: () => time,
    pause: () => {
      endSlice();
      return new Promise((resolve) => resume.push(resolve));
    },
  });
  return { work, slices, endSlice, resume, steps: () => steps };
}

it("Slices has the thread for no longer than a slice", async () => {
  const { work, slices, endSlice, resume } = stage([10]);
  work.request();
  while (resume.length > 0) {
    resume.shift()?.();
    await new Promise((resolve) => setTimeout(resolve, 0));
  }
  await work.idle();
  endSlice();
  expect(slices).toEqual([3, 3, 3, 1]);
});

it("Slices.request() has little work done when it returns", () => {
  const { work, steps } = stage([2]);
  work.request();
  expect(steps()).toBe(2);
});

it("Slices.request() during a round, or right after one, leads to another one", async () => {
  const { work, slices, endSlice, resume, steps } = stage([4, 1, 2]);
  work.request();
  work.request();
  work.request();
  resume.shift()?.();
  await work.idle();
  endSlice();
  expect(slices).toEqual([3, 2]);
  work.request();
  expect(steps()).toBe(2);
  work.request();
  await work.idle();
  expect(steps()).toBe(2);
});

it("Slices goes on after a round that fails", async () => {
  const errors: unknown[] = [];
  let rounds = 0;
  const work = new Slices(function* () {
    if (++rounds === 1) throw new Error("no");
    yield;
  }, { onError: (error) => errors.push(error) });
  work.request();
  await work.idle();
  work.request();
  await work.idle();
  expect([rounds, errors.length]).toEqual([2, 1]);
});
