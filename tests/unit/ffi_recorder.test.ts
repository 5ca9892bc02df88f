import { describe, expect, it } from "vitest";
import { Recorder } from "../../ffi/recorder.ts";

describe("Recorder", () => {
  it("writes down calls in order and invents descriptors", () => {
    const recorder = new Recorder();
    const sys = recorder.syscalls;
    sys.mkdir("/a", 0o755);
    expect(sys.open("/a/b", 0)).not.toBe(sys.open("/a/c", 0));
    expect(recorder.calls[0]).toEqual({ name: "mkdir", args: ["/a", 0o755] });
    expect(recorder.argsOf("open")).toEqual([["/a/b", 0], ["/a/c", 0]]);
  });

  it("fails the calls that are picked, and only those", () => {
    const recorder = new Recorder();
    recorder.fail("mount", "EPERM", (call) => call.args[1] === "/proc");
    const mount = (target: string) => recorder.syscalls.mount(null, target, null, 0, null);
    expect(() => mount("/sys")).not.toThrow();
    expect(() => mount("/proc")).toThrow("operation not permitted");
    expect(recorder.argsOf("mount")).toHaveLength(2);
  });

  it("answers what a script says, once or always", () => {
    const recorder = new Recorder();
    recorder.answerOnce("readlink", "first");
    recorder.answerOnce("readlink", "second");
    const read = () => recorder.syscalls.readlink("/x");
    expect([read(), read(), read()]).toEqual(["first", "second", ""]);
    recorder.answer("readlink", (path) => `${path}!`);
    expect([read(), read()]).toEqual(["/x!", "/x!"]);
  });
});
