import { describe, expect, it, onTestFinished } from "vitest";
import * as c from "../../ffi/constants.ts";
import { SysError } from "../../ffi/errno.ts";
import { OwnedFd } from "../../ffi/fd.ts";
import { kernel as k } from "../../ffi/kernel.ts";
import { WOULD_BLOCK } from "../../ffi/syscalls.ts";

const encoder = new TextEncoder();
const text = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);

function scratch(): string {
  const directory = Deno.makeTempDirSync();
  onTestFinished(() => Deno.removeSync(directory, { recursive: true }));
  return directory;
}

function readAll(fd: number): string {
  let all = "";
  const buffer = new Uint8Array(4096);
  for (let length; (length = k.read(fd, buffer)) > 0;) all += text(buffer.subarray(0, length));
  return all;
}

/** errno name of what `run` throws. */
function failure(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    if (error instanceof SysError) return error.code;
    throw error;
  }
  return "ok";
}

describe("spawn() and wait()", () => {
  const sh = (script: string, options: Partial<Parameters<typeof k.spawn>[0]> = {}): number =>
    k.spawn({ path: "/bin/sh", args: ["sh", "-c", script], env: ["PATH=/usr/bin:/bin"], ...options });

  it("report the exit code", () => {
    const pid = sh("exit 42");
    expect(k.wait(pid, false)).toEqual({ pid, code: 42, signal: undefined });
    expect(failure(() => k.wait(pid, false))).toBe("ECHILD");
  });

  it("report the signal that ended a child, and nothing while it runs", () => {
    const pid = k.spawn({ path: "/bin/sleep", args: ["sleep", "60"], env: [] });
    expect(k.wait(pid, true)).toBeUndefined();
    k.kill(pid, 9);
    expect(k.wait(pid, false)).toEqual({ pid, code: undefined, signal: 9 });
  });

  it("pass arguments and the whole environment as they are", () => {
    const [r, w] = k.pipe2(0);
    const pid = k.spawn({
      path: "/bin/sh",
      args: [
        "sh",
        "-c",
        'printf "%s|" "$@"; echo; env | grep -v -e ^PWD -e ^_ -e ^SHLVL -e ^OLDPWD',
        "sh",
        "",
        "a b",
        "ü€😀",
      ],
      env: ["PATH=/usr/bin:/bin", "X=1=2"],
      fds: { 1: w },
    });
    k.close(w);
    expect(readAll(r).trimEnd().split("\n").sort()).toEqual(["PATH=/usr/bin:/bin", "X=1=2", "|a b|ü€😀|"]);
    k.close(r);
    k.wait(pid, false);
  });

  it("survive an argument list that is larger than the ring of strings", () => {
    const [r, w] = k.pipe2(0);
    const pid = k.spawn({
      path: "/bin/sh",
      args: ["sh", "-c", "echo ${#1}", "sh", "x".repeat(100_000)],
      env: [],
      fds: { 1: w },
    });
    k.close(w);
    expect(readAll(r)).toBe("100000\n");
    k.close(r);
    k.wait(pid, false);
  });

  it("give the child the descriptors asked for, exchanged ones too, and no close-on-exec ones", () => {
    using first = new OwnedFd(k.open(`${scratch()}/first`, c.O_RDWR | c.O_CREAT, 0o600));
    using second = new OwnedFd(k.open(`${scratch()}/second`, c.O_RDWR | c.O_CREAT, 0o600));
    const [r, w] = k.pipe2(0);
    const pid = sh(
      `for fd in ${first.fd} ${second.fd} ${r}; do readlink /proc/$$/fd/$fd || echo none; done`,
      {
        fds: { [first.fd]: second.fd, [second.fd]: first.fd, 1: w },
      },
    );
    k.close(w);
    const [at1, at2, at3] = readAll(r).trim().split("\n");
    expect([at1?.endsWith("/second"), at2?.endsWith("/first"), at3]).toEqual([true, true, "none"]);
    k.close(r);
    k.wait(pid, false);
  });

  it("start a new session when asked to", () => {
    const session = (setsid: boolean): string => {
      const [r, w] = k.pipe2(0);
      const pid = sh("set -- $(cat /proc/self/stat); echo $6 $$", { fds: { 1: w }, setsid });
      k.close(w);
      const [sid, own] = readAll(r).trim().split(" ");
      k.close(r);
      k.wait(pid, false);
      return sid === own ? "own" : "inherited";
    };
    expect([session(true), session(false)]).toEqual(["own", "inherited"]);
  });

  it("reset signals: SIGPIPE, which Deno ignores, is back; blockedSignals are blocked", () => {
    const status = (options: Partial<Parameters<typeof k.spawn>[0]>): Record<string, bigint> => {
      const [r, w] = k.pipe2(0);
      const pid = k.spawn({
        path: "/bin/cat",
        args: ["cat", "/proc/self/status"],
        env: [],
        fds: { 1: w },
        ...options,
      });
      k.close(w);
      const lines = [...readAll(r).matchAll(/^(Sig\w+):\s*([0-9a-f]+)$/gm)];
      k.close(r);
      k.wait(pid, false);
      return Object.fromEntries(lines.map(([, name, mask]) => [name, BigInt(`0x${mask}`)]));
    };
    expect(status({})).toMatchObject({ SigIgn: 0n, SigBlk: 0n });
    expect(status({ blockedSignals: [15, 64] })).toMatchObject({ SigBlk: (1n << 14n) | (1n << 63n) });
    expect((status({ resetSignals: false })["SigIgn"] ?? 0n) & (1n << 12n)).not.toBe(0n);
  });

  it("throw for a missing executable, with its path", () => {
    expect(() => k.spawn({ path: "/nonexistent", args: ["x"], env: [] }))
      .toThrow("fork/exec /nonexistent: no such file or directory");
  });
});

describe("paths", () => {
  it("with a NUL are refused before any call", () => {
    expect(() => k.mkdir("/tmp/a\0b", 0o755)).toThrow(TypeError);
    expect(() => k.spawn({ path: "/bin/true", args: ["a\0b"], env: [] })).toThrow(TypeError);
  });

  it("openat2() with RESOLVE_BENEATH refuses to leave the directory", () => {
    const directory = scratch();
    k.symlink("/etc", `${directory}/out`);
    k.mkdir(`${directory}/in`, 0o755);
    using root = new OwnedFd(k.open(directory, c.O_PATH | c.O_DIRECTORY));
    const open = (path: string) => {
      using _ = new OwnedFd(k.openat2(root.fd, path, c.O_RDONLY, 0, c.RESOLVE_BENEATH));
    };
    expect(failure(() => open("in"))).toBe("ok");
    expect(failure(() => open("out/passwd"))).toBe("EXDEV");
    expect(failure(() => open("../x"))).toBe("EXDEV");
    expect(failure(() => open("in/../in"))).toBe("ok");
  });

  it("openat2() makes files with their mode", () => {
    using root = new OwnedFd(k.open(scratch(), c.O_PATH | c.O_DIRECTORY));
    using file = new OwnedFd(
      k.openat2(
        root.fd,
        "f",
        c.O_RDWR | c.O_CREAT | c.O_EXCL,
        0o600,
        c.RESOLVE_IN_ROOT | c.RESOLVE_NO_SYMLINKS,
      ),
    );
    expect(k.fstat(file.fd).mode).toBe(c.S_IFREG | 0o600);
  });

  it("stat(), links, rename, utimes, chmod and removal agree with Deno's view", () => {
    const directory = scratch();
    k.mkdir(`${directory}/d`, 0o700);
    Deno.writeTextFileSync(`${directory}/f`, "12345");
    k.chmod(`${directory}/f`, 0o4755);
    k.link(`${directory}/f`, `${directory}/g`);
    k.symlink("f", `${directory}/s`);
    k.lutimes(`${directory}/f`, [1, 2], [1_700_000_000, 123_456_789]);
    const stat = k.stat(`${directory}/s`, true);
    const deno = Deno.statSync(`${directory}/f`);
    expect(stat).toMatchObject({
      mode: 0o104755,
      nlink: 2,
      size: 5,
      mtimeSec: 1_700_000_000,
      mtimeNsec: 123_456_789,
    });
    expect([Number(stat.ino), Number(stat.dev), stat.uid]).toEqual([deno.ino, deno.dev, deno.uid]);
    expect(k.stat(`${directory}/s`, false).mode & c.S_IFMT).toBe(c.S_IFLNK);
    expect(k.readlink(`${directory}/s`)).toBe("f");
    k.rename(`${directory}/g`, `${directory}/d/h`);
    k.unlink(`${directory}/d/h`);
    k.rmdir(`${directory}/d`);
    expect(failure(() => k.stat(`${directory}/d`, true))).toBe("ENOENT");
    expect(failure(() => k.rmdir(`${directory}/f`))).toBe("ENOTDIR");
  });

  it("mknod() makes fifos, and lchown() leaves a symlink's target alone", () => {
    const directory = scratch();
    k.mknod(`${directory}/p`, c.S_IFIFO | 0o600, 0n);
    expect(k.stat(`${directory}/p`, true).mode).toBe(c.S_IFIFO | 0o600);
    k.lchown(`${directory}/p`, Deno.uid() ?? 0, Deno.gid() ?? 0);
  });

  it("extended attributes are bytes, and a missing one is undefined", () => {
    const file = `${scratch()}/f`;
    Deno.writeTextFileSync(file, "");
    const value = Uint8Array.from({ length: 2000 }, (_, index) => index & 255);
    expect(k.lgetxattr(file, "user.berth")).toBeUndefined();
    k.lsetxattr(file, "user.berth", value);
    k.lsetxattr(file, "user.empty", new Uint8Array());
    expect(k.lgetxattr(file, "user.berth")).toEqual(value);
    expect(k.lgetxattr(file, "user.empty")).toEqual(new Uint8Array());
    expect(k.llistxattr(file).filter((name) => name.startsWith("user.")).sort()).toEqual([
      "user.berth",
      "user.empty",
    ]);
    expect(failure(() => k.lsetxattr(file, "user.berth", value, c.XATTR_CREATE))).toBe("EEXIST");
    k.lremovexattr(file, "user.berth");
    expect(k.lgetxattr(file, "user.berth")).toBeUndefined();
    expect(failure(() => k.lgetxattr(`${file}x`, "user.berth"))).toBe("ENOENT");
  });

  it("statfs() knows proc by its magic number", () => {
    expect(k.statfs("/proc").type).toBe(c.PROC_SUPER_MAGIC);
    expect(k.statfs("/").blocks).toBeGreaterThan(0n);
  });
});

describe("descriptors", () => {
  it("a pipe carries bytes, answers WOULD_BLOCK when nonblocking and empty, 0 at the end", () => {
    const [r, w] = k.pipe2(c.O_NONBLOCK);
    const buffer = new Uint8Array(10);
    expect(k.read(r, buffer)).toBe(WOULD_BLOCK);
    expect(k.write(w, encoder.encode("xhello").subarray(1))).toBe(5);
    expect([k.read(r, buffer.subarray(2)), text(buffer.subarray(2, 7))]).toEqual([5, "hello"]);
    const chunk = new Uint8Array(65536);
    while (k.write(w, chunk) !== WOULD_BLOCK);
    k.close(r);
    expect(failure(() => k.write(w, chunk))).toBe("EPIPE");
    k.close(w);
    expect(failure(() => k.close(w))).toBe("EBADF");
  });

  it("splice() moves bytes between pipes", () => {
    const [r1, w1] = k.pipe2(0);
    const [r2, w2] = k.pipe2(0);
    k.write(w1, encoder.encode("data"));
    expect(k.splice(r1, w2, 4096, c.SPLICE_F_NONBLOCK)).toBe(4);
    expect(k.splice(r1, w2, 4096, c.SPLICE_F_NONBLOCK)).toBe(WOULD_BLOCK);
    const buffer = new Uint8Array(8);
    expect(k.read(r2, buffer)).toBe(4);
    for (const fd of [r1, w1, r2, w2]) k.close(fd);
  });

  it("close-on-exec and nonblocking can be set and taken back", () => {
    const flags = (fd: number): number =>
      parseInt(/flags:\s*(\d+)/.exec(Deno.readTextFileSync(`/proc/self/fdinfo/${fd}`))?.[1] ?? "", 8);
    using file = new OwnedFd(k.open("/dev/null", c.O_RDWR));
    expect(flags(file.fd) & c.O_CLOEXEC).not.toBe(0);
    k.setCloexec(file.fd, false);
    k.setNonblocking(file.fd, true);
    expect(flags(file.fd) & (c.O_CLOEXEC | c.O_NONBLOCK)).toBe(c.O_NONBLOCK);
    using copy = new OwnedFd(k.dupCloexec(file.fd, 200));
    expect(copy.fd).toBeGreaterThanOrEqual(200);
    expect(flags(copy.fd) & c.O_CLOEXEC).not.toBe(0);
    k.dup2(copy.fd, copy.fd);
    expect(flags(copy.fd) & c.O_CLOEXEC).toBe(0);
  });

  it("flock() is exclusive between open files", () => {
    const file = `${scratch()}/lock`;
    using first = new OwnedFd(k.open(file, c.O_RDWR | c.O_CREAT, 0o600));
    using second = new OwnedFd(k.open(file, c.O_RDWR));
    expect([k.flock(first.fd), k.flock(second.fd)]).toEqual([true, false]);
    first.close();
    expect(k.flock(second.fd)).toBe(true);
  });

  it("OwnedFd closes once, and not at all after release", () => {
    const closed: number[] = [];
    const sys = { close: (fd: number) => void closed.push(fd) };
    {
      using kept = new OwnedFd(5, sys);
      using given = new OwnedFd(6, sys);
      expect([kept.fd, given.release()]).toEqual([5, 6]);
      kept.close();
      expect(() => kept.fd).toThrow(TypeError);
    }
    expect(closed).toEqual([5]);
  });
});

describe("epoll, timers and process descriptors", () => {
  it("report what is ready, per descriptor, until it is taken out", () => {
    using ep = new OwnedFd(k.epollCreate());
    const [r, w] = k.pipe2(0);
    k.epollAdd(ep.fd, r, c.EPOLLIN);
    expect(k.epollWait(ep.fd, 0)).toEqual([]);
    k.write(w, encoder.encode("x"));
    expect(k.epollWait(ep.fd, -1)).toEqual([{ fd: r, events: c.EPOLLIN }]);
    k.epollModify(ep.fd, r, 0);
    expect(k.epollWait(ep.fd, 0)).toEqual([]);
    k.close(w);
    expect(k.epollWait(ep.fd, -1)).toEqual([{ fd: r, events: c.EPOLLHUP }]);
    k.epollDelete(ep.fd, r);
    expect(k.epollWait(ep.fd, 0)).toEqual([]);
    k.close(r);
  });

  it("a timer fires once and can be disarmed", () => {
    using ep = new OwnedFd(k.epollCreate());
    using timer = new OwnedFd(k.timerfdCreate());
    k.epollAdd(ep.fd, timer.fd, c.EPOLLIN);
    k.timerfdSet(timer.fd, 0.5);
    expect(k.epollWait(ep.fd, 5000)).toEqual([{ fd: timer.fd, events: c.EPOLLIN }]);
    const count = new Uint8Array(8);
    expect([k.read(timer.fd, count), count[0], k.read(timer.fd, count)]).toEqual([8, 1, WOULD_BLOCK]);
    k.timerfdSet(timer.fd, 1);
    k.timerfdSet(timer.fd, 0);
    expect(k.epollWait(ep.fd, 20)).toEqual([]);
  });

  it("a pidfd becomes readable when its process ends, and takes signals", () => {
    const pid = k.spawn({ path: "/bin/sleep", args: ["sleep", "60"], env: [] });
    using ep = new OwnedFd(k.epollCreate());
    using pidfd = new OwnedFd(k.pidfdOpen(pid, 0));
    k.epollAdd(ep.fd, pidfd.fd, c.EPOLLIN);
    expect(k.epollWait(ep.fd, 0)).toEqual([]);
    k.pidfdSendSignal(pidfd.fd, 15);
    expect(k.epollWait(ep.fd, 10_000)).toHaveLength(1);
    expect(k.wait(pid, true)).toEqual({ pid, code: undefined, signal: 15 });
    expect(failure(() => k.pidfdSendSignal(pidfd.fd, 15))).toBe("ESRCH");
  });
});

describe("unix sockets", () => {
  it("socketpair() and SCM_RIGHTS: descriptors arrive close-on-exec with their message", () => {
    const [a, b] = k.socketpair(c.SOCK_SEQPACKET);
    const [r, w] = k.pipe2(0);
    expect(k.sendmsg(a, encoder.encode("spec"), [r, w])).toBe(4);
    const buffer = new Uint8Array(100);
    const { length, fds } = k.recvmsg(b, buffer);
    expect([length, text(buffer.subarray(0, length)), fds.length]).toEqual([4, "spec", 2]);
    k.write(fds[1] ?? -1, encoder.encode("through"));
    k.read(r, buffer);
    expect(text(buffer.subarray(0, 7))).toBe("through");
    expect(Deno.readTextFileSync(`/proc/self/fdinfo/${fds[0]}`)).toMatch(/flags:\s*02000000/);
    k.setNonblocking(b, true);
    expect(k.recvmsg(b, buffer)).toEqual({ length: WOULD_BLOCK, fds: [] });
    k.close(a);
    expect(k.recvmsg(b, buffer)).toEqual({ length: 0, fds: [] });
    for (const fd of [b, r, w, ...fds]) k.close(fd);
  });

  it("recvmsg() refuses a message that does not fit", () => {
    const [a, b] = k.socketpair(c.SOCK_SEQPACKET);
    k.sendmsg(a, new Uint8Array(100), [a]);
    expect(failure(() => k.recvmsg(b, new Uint8Array(10)))).toBe("EMSGSIZE");
    k.close(a);
    k.close(b);
  });

  it("a listener has its mode from the start and tells who connects", () => {
    const directory = scratch();
    const path = `${directory}/${"x".repeat(90)}/${"y".repeat(70)}.sock`;
    k.mkdir(`${directory}/${"x".repeat(90)}`, 0o700);
    using listener = new OwnedFd(k.unixListen(path, 8, 0o660));
    expect(k.stat(path, false).mode).toBe(c.S_IFSOCK | 0o660);
    expect(k.accept(listener.fd)).toBe(WOULD_BLOCK);
    using client = new OwnedFd(k.unixConnect(path));
    using server = new OwnedFd(k.accept(listener.fd));
    expect(k.peerCredentials(server.fd)).toEqual({ pid: Deno.pid, uid: Deno.uid(), gid: Deno.gid() });
    const buffer = new Uint8Array(4);
    expect(k.read(server.fd, buffer)).toBe(WOULD_BLOCK);
    k.write(client.fd, encoder.encode("ping"));
    k.shutdown(client.fd, c.SHUT_WR);
    expect([k.read(server.fd, buffer), k.read(server.fd, buffer)]).toEqual([4, 0]);
    expect(failure(() => k.unixConnect(`${directory}/none`))).toBe("ENOENT");
    expect(failure(() => k.unixListen(path, 8, 0o660))).toBe("EADDRINUSE");
  });
});

describe("terminals", () => {
  it("a new master is unlocked and keeps a window size", () => {
    const master = k.open("/dev/ptmx", c.O_RDWR | c.O_NOCTTY);
    k.unlockPty(master);
    k.setWindowSize(master, { rows: 41, cols: 132 });
    const slave = k.openPtyPeer(master);
    expect(k.getWindowSize(slave)).toEqual({ rows: 41, cols: 132 });
    k.write(slave, encoder.encode("a\n"));
    const buffer = new Uint8Array(10);
    expect(text(buffer.subarray(0, k.read(master, buffer)))).toBe("a\r\n");
    k.close(slave);
    k.close(master);
    expect(failure(() => k.getWindowSize(0) && k.getWindowSize(k.epollCreate()))).toMatch(/ENOTTY/);
  });
});

describe("limits", () => {
  it("getrlimit() is what /proc says", () => {
    const line = /Max open files\s+(\d+)\s+(\d+)/.exec(Deno.readTextFileSync("/proc/self/limits"));
    expect(k.getrlimit(c.RLIMIT_NOFILE)).toEqual({
      soft: BigInt(line?.[1] ?? 0),
      hard: BigInt(line?.[2] ?? 0),
    });
  });
});
