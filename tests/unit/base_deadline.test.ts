import { describe, expect, it } from "vitest";
import { isDoneWithin, unlessAborted, withDeadline } from "../../base/deadline.ts";

const never = new Promise<string>(() => {});

describe("isDoneWithin()", () => {
  it("says whether the work is done in time, and hands its failure on", async () => {
    expect(await isDoneWithin(Promise.resolve(), 10_000)).toBe(true);
    expect(await isDoneWithin(never, 1)).toBe(false);
    await expect(isDoneWithin(Promise.reject(new Error("failed")), 10_000)).rejects.toThrow("failed");
  });

  it("takes any number of milliseconds: more than a timer's would be over at once", async () => {
    const soon = new Promise((resolve) => setTimeout(resolve, 20));
    expect(await isDoneWithin(soon, 2 ** 40)).toBe(true);
  });
});

describe("withDeadline()", () => {
  it("answers what the work comes to, or throws what is said of late work", async () => {
    const late = () => new Error("too late");
    expect(await withDeadline(Promise.resolve("done"), 10_000, late)).toBe("done");
    await expect(withDeadline(never, 1, late)).rejects.toThrow("too late");
  });

  it("lets work that fails later fail unheard", async () => {
    const work = Promise.withResolvers<void>();
    await expect(withDeadline(work.promise, 1, () => new Error("too late"))).rejects.toThrow("too late");
    work.reject(new Error("nobody hears this"));
    // an unhandled rejection would fail the run
    await new Promise((resolve) => setTimeout(resolve, 5));
  });
});

describe("unlessAborted()", () => {
  it("answers what the work comes to, unless the signal comes first or has come", async () => {
    const give = new AbortController();
    expect(await unlessAborted(Promise.resolve("done"), give.signal)).toBe("done");
    expect(await unlessAborted(Promise.resolve("done"), undefined)).toBe("done");
    const waiting = unlessAborted(never, give.signal);
    give.abort(new Error("called off"));
    await expect(waiting).rejects.toThrow("called off");
    await expect(unlessAborted(never, give.signal)).rejects.toThrow("called off");
  });
});
