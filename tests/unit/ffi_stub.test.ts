/** Calls made by a stub process: the kernel's answers, what is shared, and how it ends. */
import { describe, expect, it } from "vitest";
import { CLONE_NEWUTS, O_CLOEXEC, O_DIRECTORY, O_RDONLY, O_RDWR } from "../../ffi/constants.ts";
import { ERRNO, SysError } from "../../ffi/errno.ts";
import { kernel } from "../../ffi/kernel.ts";
import { descriptorCalls } from "../../ffi/kernel_descriptor.ts";
import type { Machine } from "../../ffi/machine.ts";
import { STUB_SOCKET, StubProcess } from "../../ffi/stub_process.ts";
import { NR } from "../../ffi/syscall_numbers.ts";
import { waitFor } from "../support/processes.ts";

function withStub<T>(use: (stub: StubProcess) => T, onSlow: () => void = () => {}): T {
  const stub = new StubProcess({ stderr: 2, onSlow });
  try {
    return use(stub);
  } finally {
    stub[Symbol.dispose]();
    // Some tests have done so themselves.
    if (errnoOf(() => kernel.kill(stub.pid, 9)) === "none") kernel.wait(stub.pid, false);
  }
}

function errnoOf(action: () => unknown): string {
  try {
    action();
    return "none";
  } catch (error) {
    if (!(error instanceof SysError)) throw error;
    return Object.entries(ERRNO).find(([, number]) => number === error.errno)?.[0] ?? String(error.errno);
  }
}

describe("StubProcess", () => {
  it("makes calls in its own process, with structs, strings and large data both ways", () => {
    withStub(({ calls, pid }) => {
      expect(calls.getpid()).toBe(pid);
      expect(pid).not.toBe(Deno.pid);
      expect(calls.stat("/etc/passwd", true)).toEqual(kernel.stat("/etc/passwd", true));
      expect(errnoOf(() => calls.stat("/nowhere", true))).toBe("ENOENT");
      const directory = calls.open("/etc", O_RDONLY);
      expect(calls.readDirectory(directory).toSorted()).toEqual(
        [...Deno.readDirSync("/etc")].map(({ name }) => name).toSorted(),
      );
      const path = Deno.makeTempFileSync();
      const data = crypto.getRandomValues(new Uint8Array(60_000));
      const file = calls.open(path, O_RDWR);
      expect(calls.write(file, data)).toBe(data.length);
      expect(Deno.readFileSync(path)).toEqual(data);
      const back = new Uint8Array(data.length);
      const again = calls.open(path, O_RDONLY);
      expect(calls.read(again, back)).toBe(data.length);
      expect(back).toEqual(data);
      Deno.removeSync(path);
      for (let round = 0; round < 2000; round++) calls.stat("/" + "etc/../".repeat(round % 50), true);
    });
  });

  it("changes only itself", () => {
    withStub(({ calls, pid }) => {
      calls.chdir("/etc");
      expect([calls.getcwd(), Deno.cwd()]).not.toContain(undefined);
      expect(calls.getcwd()).toBe("/etc");
      expect(Deno.cwd()).not.toBe("/etc");
      const status = Deno.readTextFileSync(`/proc/${pid}/status`);
      expect(status).toMatch(/^SigIgn:\t0{16}$/m);
      expect(status).toMatch(/^SigBlk:\t0{16}$/m);
      // Those that the test's own parent has left open are above.
      const opened = [...Deno.readDirSync(`/proc/${pid}/fd`)].map(({ name }) => name).filter((name) =>
        name.length === 1
      );
      expect(opened.toSorted()).toEqual(["0", "1", "2", "3", "4"]);
      expect(Deno.readTextFileSync(`/proc/${pid}/environ`)).toBe("");
    });
  });

  it("passes descriptors", () => {
    withStub((stub) => {
      const [read, write] = kernel.pipe2(0);
      kernel.sendmsg(stub.socket, new Uint8Array(1), [write]);
      const [theirs = -1] = stub.calls.recvmsg(STUB_SOCKET, new Uint8Array(1)).fds;
      stub.calls.write(theirs, new TextEncoder().encode("from there"));
      const buffer = new Uint8Array(100);
      expect(new TextDecoder().decode(buffer.subarray(0, kernel.read(read, buffer)))).toBe("from there");
      stub.calls.sendmsg(STUB_SOCKET, new Uint8Array(1), [theirs]);
      expect(kernel.recvmsg(stub.socket, new Uint8Array(1)).fds.length).toBe(1);
      kernel.close(read);
      kernel.close(write);
    });
  });

  it("marks its own descriptors close-on-exec where close_range is refused, not those of the caller", () => {
    withStub((stub) => {
      const machine: Machine = {
        ...stub.machine,
        raw: (nr, ...args) => nr === NR.close_range ? -ERRNO.EPERM : stub.machine.raw(nr, ...args),
      };
      const high = 900;
      stub.calls.dup2(STUB_SOCKET, high);
      const flags = () =>
        /^flags:\t(\d+)$/m.exec(Deno.readTextFileSync(`/proc/${stub.pid}/fdinfo/${high}`))?.[1];
      const closes = () => (parseInt(flags() ?? "", 8) & O_CLOEXEC) !== 0;
      expect(closes()).toBe(false);
      descriptorCalls(machine).cloexecFrom(3);
      expect(closes()).toBe(true);
    });
  });

  it("goes on in its child after fork(), which is ours", () => {
    withStub((stub) => {
      const before = stub.pid;
      for (let round = 0; round < 20; round++) stub.fork();
      expect(stub.pid).not.toBe(before);
      expect(stub.calls.getpid()).toBe(stub.pid);
      expect(stub.calls.getppid()).toBe(Deno.pid);
      expect(errnoOf(() => kernel.kill(before, 0))).toBe("ESRCH");
    });
  });

  it("stays as it was when it cannot go on in a cgroup", () => {
    withStub((stub) => {
      const before = stub.pid;
      const directory = stub.calls.open("/etc", O_DIRECTORY);
      // EBADF is said of a directory that is no cgroup: all else has been understood.
      expect(["EBADF", "ENOSYS"]).toContain(errnoOf(() => stub.forkInto(directory)));
      expect(stub.pid).toBe(before);
      expect(stub.calls.getpid()).toBe(before);
    });
  });

  it("becomes a program, or says why not", async () => {
    const [read, write] = kernel.pipe2(0);
    const stub = new StubProcess({ stderr: 2, onSlow: () => {} });
    stub.execve("/nowhere", ["x"], []);
    await waitFor(() => outcome(stub) !== undefined, 5000, () => "waited for the failure");
    expect(seen).toEqual({ kind: "failed", errno: ERRNO.ENOENT });
    kernel.sendmsg(stub.socket, new Uint8Array(1), [write]);
    const [theirs = -1] = stub.calls.recvmsg(STUB_SOCKET, new Uint8Array(1)).fds;
    stub.calls.dup2(theirs, 1);
    stub.calls.cloexecFrom(3);
    const long = "v".repeat(100_000);
    stub.execve("/bin/sh", ["sh", "-c", "echo $0 ${#X} ${#1}; ls /proc/$$/fd | tr -d '\\n'", "zero", long], [
      `X=${long}`,
    ]);
    await waitFor(() => outcome(stub) !== undefined, 5000, () => "waited for the program");
    expect(seen).toEqual({ kind: "running" });
    kernel.close(write);
    let text = "";
    const buffer = new Uint8Array(1000);
    for (let count = kernel.read(read, buffer); count > 0; count = kernel.read(read, buffer)) {
      text += new TextDecoder().decode(buffer.subarray(0, count));
    }
    kernel.close(read);
    expect(kernel.wait(stub.pid, false)?.code).toBe(0);
    stub[Symbol.dispose]();
    expect(text).toMatch(/^zero 100000 100000\n012/);
  });

  it("throws when the process has been killed, also in the middle of a call", () => {
    withStub((stub) => {
      kernel.kill(stub.pid, 9);
      expect(errnoOf(() => stub.calls.getpid())).toBe("ESRCH");
    });
    let slow = 0;
    const [read] = kernel.pipe2(0);
    const killer: { stub?: StubProcess } = {};
    withStub((stub) => {
      killer.stub = stub;
      kernel.sendmsg(stub.socket, new Uint8Array(1), [read]);
      const [theirs = -1] = stub.calls.recvmsg(STUB_SOCKET, new Uint8Array(1)).fds;
      expect(errnoOf(() => stub.calls.read(theirs, new Uint8Array(1)))).toBe("ESRCH");
    }, () => {
      if (++slow === 3 && killer.stub !== undefined) kernel.kill(killer.stub.pid, 9);
    });
    expect(slow).toBeGreaterThanOrEqual(3);
  });

  it("may be disposed of while it waits", () => {
    const [read] = kernel.pipe2(0);
    const held: { stub?: StubProcess } = {};
    withStub((stub) => {
      held.stub = stub;
      kernel.sendmsg(stub.socket, new Uint8Array(1), [read]);
      const [theirs = -1] = stub.calls.recvmsg(STUB_SOCKET, new Uint8Array(1)).fds;
      expect(errnoOf(() => stub.calls.read(theirs, new Uint8Array(1)))).toBe("ESRCH");
    }, () => held.stub?.[Symbol.dispose]());
  });

  it("leaves nobody bound to one processor when another is told much meanwhile", () => {
    const processors = (process: number | "thread-self") =>
      /^Cpus_allowed_list:\t(.*)$/m.exec(Deno.readTextFileSync(`/proc/${process}/status`))?.[1];
    const before = processors("thread-self");
    withStub((first) =>
      withStub((second) => {
        first.together(() => second.together(() => second.calls.getpid()));
        expect([first.pid, second.pid, "thread-self" as const].map(processors)).toEqual([
          before,
          before,
          before,
        ]);
      })
    );
  });

  it("refuses arguments that are longer than the kernel would take", () => {
    withStub((stub) => {
      expect(errnoOf(() => stub.execve("/bin/true", ["x".repeat(9_000_000)], []))).toBe("E2BIG");
      expect(errnoOf(() => stub.calls.unshare(CLONE_NEWUTS | 1))).toBe("EINVAL");
    });
  });

  let seen: unknown;
  function outcome(stub: StubProcess): unknown {
    try {
      kernel.setNonblocking(stub.socket, true);
      return seen = stub.execveOutcome();
    } finally {
      kernel.setNonblocking(stub.socket, false);
    }
  }
});
