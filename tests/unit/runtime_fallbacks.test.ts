/** What the runtime does when the kernel refuses: by a recorder, because no test machine refuses everything. */
import { describe, expect, it } from "vitest";
import { MS_BIND, MS_RDONLY, PR_CAPBSET_DROP } from "../../ffi/constants.ts";
import { ERRNO, SysError } from "../../ffi/errno.ts";
import { Recorder } from "../../ffi/recorder.ts";
import type { Stat } from "../../ffi/syscalls.ts";
import { obey } from "../../runtime/init.ts";
import { applyMounts, openMountSources } from "../../runtime/init_mounts.ts";
import { prepareProcess } from "../../runtime/init_process.ts";
import { rehearse } from "../../runtime/init_rehearsal.ts";
import { applySysctls } from "../../runtime/init_sysctl.ts";
import { LogWriter } from "../../runtime/shim_log.ts";
import { enterNamespaces } from "../../runtime/shim_namespaces.ts";
import type { MountSpec } from "../../runtime/spec.ts";
import { containerSpec, processSpec } from "../support/container_spec.ts";

const DIRECTORY: Stat = {
  dev: 0n,
  ino: 1n,
  mode: 0o040755,
  nlink: 1,
  uid: 0,
  gid: 0,
  rdev: 0n,
  size: 0,
  mtimeSec: 0,
  mtimeNsec: 0,
};

function mounting(mount: MountSpec, overrides: Parameters<typeof containerSpec>[2] = {}) {
  const recorder = new Recorder();
  recorder.answer("fstat", () => DIRECTORY);
  const run = () => {
    const kernel = recorder.syscalls;
    const spec = containerSpec("/", [], { ...overrides, mounts: [mount] });
    applyMounts(kernel, 3, spec, openMountSources(kernel, spec.mounts));
  };
  return { recorder, run };
}

/** Descriptors that were made and not closed. */
function leaked(recorder: Recorder): number {
  const made = recorder.calls.filter(({ name }) => ["open", "openat2", "openTree"].includes(name)).length;
  return made - recorder.argsOf("close").length;
}

describe("applyMounts()", () => {
  it("gives terminals to the user's own group where the group tty is not mapped", () => {
    const { recorder, run } = mounting({
      type: "devpts",
      target: "/dev/pts",
      flags: [],
      data: "newinstance,gid=5,mode=0620",
    });
    recorder.fail("mount", "EINVAL", ({ args }) => args[4]?.includes("gid=") === true);
    run();
    expect(recorder.argsOf("mount").map((args) => args[4])).toEqual([
      "newinstance,gid=5,mode=0620",
      "newinstance,mode=0620",
    ]);
  });

  it("takes the surrounding /proc only for a container that shares its processes", () => {
    const shared = { kind: "host" } as const;
    const refused = mounting({ type: "proc", target: "/proc", flags: [] });
    refused.recorder.fail("mount", "EPERM");
    expect(refused.run).toThrow("systempaths=unconfined");
    expect(leaked(refused.recorder)).toBe(0);
    const { namespaces } = containerSpec("/", []);
    const { recorder, run } = mounting({ type: "proc", target: "/proc", flags: [] }, {
      namespaces: { ...namespaces, pid: shared },
    });
    recorder.fail("mount", "EPERM");
    run();
    expect(recorder.argsOf("open")[0]?.[0]).toBe("/proc");
    expect(recorder.argsOf("moveMount").length).toBe(1);
  });

  it("takes the host's directory, read-only, where an overlay of it is refused", () => {
    const { recorder, run } = mounting({
      type: "overlay",
      target: "/usr",
      flags: [],
      overlay: { lower: ["/usr", "/x"], upper: "/u", work: "/w", options: [] },
    });
    recorder.fail("mount", "EPERM", ({ args }) => args[2] === "overlay");
    run();
    expect(recorder.argsOf("mountSetattr").some(([, , , attr]) => attr.set === MS_RDONLY)).toBe(true);
    expect(recorder.argsOf("moveMount").length).toBe(1);
    expect(leaked(recorder)).toBe(0);
  });

  it("names overlay layers by descriptor, so that one page of options holds hundreds", () => {
    const { recorder, run } = mounting({
      type: "overlay",
      target: "/usr",
      flags: ["nodev"],
      overlay: {
        lower: Array.from({ length: 400 }, (_, i) => `/${"x".repeat(200)}/${i}`),
        options: ["userxattr"],
      },
    });
    run();
    const data = recorder.argsOf("mount")[0]?.[4] ?? "";
    expect(data).toMatch(/^lowerdir=\d+(:\d+){399},userxattr$/);
    expect(data.length).toBeLessThan(4096);
    expect(leaked(recorder)).toBe(0);
  });

  it("goes on without what may be missing, and names what may not", () => {
    const mqueue = { type: "mqueue", target: "/dev/mqueue", flags: [] } as const;
    const optional = mounting({ ...mqueue, onError: "ignore" });
    optional.recorder.fail("mount", "EPERM");
    optional.run();
    const required = mounting(mqueue);
    required.recorder.fail("mount", "EPERM");
    expect(required.run).toThrow(
      /^error mounting "mqueue" to rootfs at "\/dev\/mqueue": .*operation not permitted$/,
    );
  });

  it("a bind mount is never asked to allow more than its source", () => {
    const { recorder, run } = mounting({
      type: "bind",
      source: "/h",
      target: "/x",
      flags: ["bind", "rw", "suid", "dev", "exec"],
    });
    run();
    expect(recorder.argsOf("mount").filter((args) => (args[3] & MS_BIND) !== 0)).toEqual([]);
    expect(recorder.argsOf("mountSetattr").every(([, , , attr]) => attr.clear === undefined)).toBe(true);
  });
});

describe("prepareProcess()", () => {
  function becoming(overrides: Parameters<typeof processSpec>[1]) {
    const recorder = new Recorder();
    recorder.answer("prctl", (option) => {
      if (option === PR_CAPBSET_DROP) throw new SysError("prctl", ERRNO.EINVAL);
      return 0;
    });
    recorder.answer("stat", () => ({ ...DIRECTORY, mode: 0o100755 }));
    recorder.fail("open", "ENOENT");
    recorder.answer("getcwd", () => "/");
    let seen: string[] = [];
    const setup = {
      stdio: [20, 21, 22],
      prefix: [],
      first: true,
      giveTerminal: () => {},
      appear: () => {
        seen = recorder.calls.map(({ name }) => name);
      },
    };
    const run = () => prepareProcess(recorder.syscalls, processSpec(["/x"], overrides), setup);
    return { recorder, run, beforeItAppears: () => seen };
  }

  it("loads the filter as its last call, after user and limits", () => {
    const { recorder, run } = becoming({ seccomp: btoa("12345678"), user: "5" });
    expect(run()).toMatchObject({ path: "/x", args: ["/x"] });
    const names = recorder.calls.map(({ name }) => name);
    expect(names.at(-1)).toBe("seccompSetFilter");
    const order = ["setgroups", "setresgid", "setresuid", "capset", "cloexecFrom", "setrlimit"];
    expect(names.filter((name) => order.includes(name))).toEqual(order);
    expect(recorder.argsOf("seccompSetFilter")[0]?.[1]).toBe(0);
  });

  it("loads the filter with the profile's flags", () => {
    const { recorder, run } = becoming({ seccomp: btoa("12345678"), seccompFlags: 6 });
    run();
    expect(recorder.argsOf("seccompSetFilter")[0]?.[1]).toBe(6);
  });

  it("has given up its rights before the container can see it", () => {
    const { run, beforeItAppears } = becoming({ user: "5" });
    run();
    expect(beforeItAppears()).toEqual(expect.arrayContaining(["setresuid", "capset"]));
  });

  it("keeps CAP_SYS_ADMIN for the filter only when nothing else permits it, and no other right", () => {
    const all = 0xffff_ffff_ffff_ffffn;
    const kept = (overrides: Parameters<typeof processSpec>[1]) => {
      const { recorder, run } = becoming({ user: "5", ...overrides });
      recorder.answer("capget", () => ({ effective: 0n, permitted: all, inheritable: 0n }));
      run();
      const sets = recorder.argsOf("capset")[0]?.[0];
      return [sets?.effective, sets?.permitted];
    };
    expect(kept({ seccomp: btoa("12345678") })).toEqual([1n << 21n, 1n << 21n]);
    expect(kept({ seccomp: btoa("12345678"), noNewPrivileges: true })).toEqual([0n, 0n]);
    expect(kept({})).toEqual([0n, 0n]);
  });

  it("asks the kernel whether the program may be executed, and where that is not known the file's mode", () => {
    const failing = (errno: keyof typeof ERRNO, mode: number) => {
      const { recorder, run } = becoming({ user: "5" });
      recorder.answer("stat", () => ({ ...DIRECTORY, mode, uid: 5 }));
      recorder.fail("checkExecutable", errno);
      return run;
    };
    expect(failing("EACCES", 0o100755)).toThrow('exec: "/x": permission denied');
    expect(failing("ENOSYS", 0o100700)()).toMatchObject({ path: "/x" });
    expect(failing("ENOSYS", 0o100055)).toThrow('exec: "/x": permission denied');
    expect(failing("ELOOP", 0o100755)).toThrow('exec: "/x": too many levels of symbolic links');
  });

  it("goes on without setgroups where there is a single id and no other group", () => {
    const { recorder, run } = becoming({});
    recorder.fail("setgroups", "EPERM");
    expect(run()).toMatchObject({ path: "/x" });
    const other = becoming({ additionalGroups: ["7"] });
    other.recorder.fail("setgroups", "EPERM");
    expect(other.run).toThrow("switching to uid 0, gid 0");
  });
});

describe("obey(), for an exec", () => {
  /** Which cgroups the process was to go to, when `refused` may not be entered and the container's first process is in `first`. */
  function entering(first: string, refused: Record<string, keyof typeof ERRNO>) {
    const recorder = new Recorder();
    recorder.answer("open", (path) => path === "/proc/7/cgroup" ? 50 : 51);
    let told = false;
    recorder.answer("read", (fd, buffer) => {
      if (fd !== 50 || told) return 0;
      told = true;
      return new TextEncoder().encodeInto(`1:name=systemd:/x\n0::${first}\n`, buffer).written;
    });
    recorder.answer("getcwd", () => "/");
    recorder.answer("stat", () => ({ ...DIRECTORY, mode: 0o100755 }));
    const born: string[] = [];
    const order = {
      kind: "exec",
      process: processSpec(["/x"]),
      pid: 7,
      namespaces: containerSpec("/", []).namespaces,
      cgroupPath: "/sys/fs/cgroup/user/berth-1.scope",
      oomScoreAdj: 0,
    } as const;
    const run = () =>
      obey(recorder.syscalls, order, {
        stdio: [20, 21, 22],
        giveTerminal: () => {},
        entered: () => {},
        appear: () => {},
        procOf: () => -1,
        forkInto(cgroup) {
          born.push(cgroup);
          const errno = refused[cgroup];
          if (errno !== undefined) throw new SysError("clone3", ERRNO[errno]);
        },
      });
    return { recorder, run, born };
  }
  const own = "/sys/fs/cgroup/user/berth-1.scope";

  it("enters the container's cgroup, by a write on an older kernel", () => {
    const newer = entering("/user/berth-1.scope", {});
    newer.run();
    expect(newer.born).toEqual([own]);
    const older = entering("/user/berth-1.scope", { [own]: "ENOSYS" });
    older.run();
    expect(older.recorder.argsOf("open").map(([path]) => path)).toContain(`${own}/cgroup.procs`);
  });

  it("follows the first process of a container that has handed controllers on to cgroups of its own", () => {
    const { run, born } = entering("/user/berth-1.scope/init.scope/a", { [own]: "EBUSY" });
    run();
    expect(born).toEqual([own, `${own}/init.scope/a`]);
    // Whoever is in another hierarchy, or in the container's cgroup itself, shows no way.
    for (const first of ["/user/berth-1.scope", "/", "/user/berth-1.scopes/x"]) {
      expect(entering(first, { [own]: "EBUSY" }).run).toThrow("clone3: device or resource busy");
    }
    expect(entering("/user/berth-1.scope/a", { [own]: "EACCES" }).run).toThrow("clone3: permission denied");
  });
});

describe("rehearse()", () => {
  it("goes through a whole start, and asks the kernel for nothing that it could do", () => {
    const recorder = new Recorder();
    expect(rehearse(recorder.syscalls)).toEqual({ root: undefined, process: undefined });
    const refused = (arg: unknown) =>
      arg === -1 || arg === "" || (arg instanceof Uint8Array && arg.length === 0);
    const accepted = recorder.calls.filter(({ args }) => !(args as unknown[]).some(refused)).map(({ name }) =>
      name
    );
    expect(accepted).toEqual(["capget"]);
  });
});

describe("LogWriter", () => {
  const log = { driver: "json-file", path: "/l", maxSize: 0, maxFile: 1, compress: false } as const;

  it("takes back half an entry that a full disk has left", () => {
    const recorder = new Recorder();
    const writer = new LogWriter(recorder.syscalls, log);
    let whole = "";
    recorder.answer("write", (fd, data) => {
      if (fd !== 100) return data.length;
      whole = new TextDecoder().decode(data);
      return data.length - 5;
    });
    writer.write(1, new TextEncoder().encode("one\ntwo\nthree\n"));
    const kept = recorder.argsOf("ftruncate")[0]?.[1] ?? 0;
    expect(whole.slice(0, kept).split("\n").map((line) => line.slice(0, 14))).toEqual([
      '{"log":"one\\n"',
      '{"log":"two\\n"',
      "",
    ]);
  });

  it("writes once for each piece of output", () => {
    const recorder = new Recorder();
    const writer = new LogWriter(recorder.syscalls, log);
    writer.write(1, new TextEncoder().encode("line\n".repeat(500)));
    expect(recorder.argsOf("write").length).toBe(1);
  });
});

describe("LogWriter, much at once", () => {
  const ATTRIBUTES = { label: 'a$&"b' };
  const logged = (data: Uint8Array, piece: number, maxSize: number): string => {
    const recorder = new Recorder();
    let text = "";
    recorder.answer("write", (_, bytes) => {
      text += new TextDecoder("utf-8", { fatal: true }).decode(bytes);
      return bytes.length;
    });
    // each rotation opens another file
    recorder.answer("open", () => (text += "|", 100));
    const spec = { driver: "json-file", path: "/l", maxSize, maxFile: 1, compress: false } as const;
    const writer = new LogWriter(recorder.syscalls, { ...spec, attrs: ATTRIBUTES });
    for (let at = 0; at < data.length; at += piece) writer.write(1, data.subarray(at, at + piece));
    writer.end();
    return text.replaceAll(/"time":"[^"]*"/g, '"time":""');
  };
  const encoder = new TextEncoder();
  const repeated = (line: string, bytes = 150_000) =>
    encoder.encode(line.repeat(Math.ceil(bytes / line.length)));

  it.each<[string, Uint8Array]>([
    ["plain lines", repeated("an ordinary line with $1 and $$ and \x7f\n")],
    ["JSON", repeated('{"level":"info","msg":"a \\"quoted\\" word","path":"C:\\\\x"}\n')],
    ["backslashes, tabs and DEL", repeated("a\\tb\tc\x7f\\n\n")],
    ["tabs, bells and markup", repeated("\t<a href=&>\b\f\v\x1b[31m\u0007\r\n")],
    ["markup and tabs", repeated("\t<a href=&>\x1b[31m\u0007\r\n")],
    ["other scripts", repeated("Grüße, 日本語, 😀 und \ufeff\n")],
    ["separators that Go escapes", repeated("a\u2028b\u2029c\n")],
    ["a replacement character", repeated("a\ufffdb\n")],
    ["no UTF-8", repeated("plain text\n").map((byte, i) => i % 997 === 0 ? 0xff : byte)],
    ["empty lines", repeated("\n", 30_000)],
    ["very short lines", repeated("y\n", 70_000)],
    ["lines that are too long", repeated(`${"x".repeat(40_000)}\nshort\n`)],
    ["lines that are just not too long", repeated(`${"x".repeat(16_383)}\n`)],
    ["lines that are just too long", repeated(`${"x".repeat(16_384)}\n`)],
    ["no end of a line", repeated("x")],
  ])("%s: the same entries as in small pieces", (_, data) => {
    const small = logged(data, 1000, 0);
    expect(logged(data, 65_536, 0) === small).toBe(true);
    expect(logged(data, data.length, 0) === small).toBe(true);
    expect(small.length).toBeGreaterThan(data.length);
    const rotated = logged(data, 1000, 50_000);
    expect(rotated.split("|").length).toBeGreaterThan(3);
    // times have changing lengths, so files may end one entry earlier or later
    expect(logged(data, 65_536, 50_000).replaceAll("|", "") === small.replaceAll("|", "")).toBe(true);
    expect(rotated.replaceAll("|", "") === small.replaceAll("|", "")).toBe(true);
  });
});

describe("enterNamespaces()", () => {
  it("opens all that it joins before it leaves the first one", () => {
    const recorder = new Recorder();
    const path = (name: string) => ({ kind: "path", path: `/proc/7/ns/${name}` }) as const;
    enterNamespaces(recorder.syscalls, {
      pid: path("pid"),
      net: path("net"),
      ipc: { kind: "private" },
      uts: { kind: "host" },
    });
    expect(recorder.calls.map(({ name }) => name)).toEqual([
      "open",
      "open",
      "setns",
      "close",
      "setns",
      "close",
      "unshare",
    ]);
  });
});

describe("applySysctls()", () => {
  it.each(["net.ipv4.ip_forward", "kernel.shmmax", "kernel.domainname"])(
    "%s is refused in the host's namespace",
    (name) => {
      const { namespaces } = containerSpec("/", []);
      const host = { kind: "host" } as const;
      const spec = containerSpec("/", [], {
        sysctls: { [name]: "1" },
        namespaces: { ...namespaces, net: host, ipc: host, uts: host },
      });
      expect(() => applySysctls(new Recorder().syscalls, 3, spec)).toThrow(
        "is not in a separate kernel namespace",
      );
    },
  );

  it("keeps the dots of an interface name that is written with slashes", () => {
    const recorder = new Recorder();
    applySysctls(
      recorder.syscalls,
      3,
      containerSpec("/", [], { sysctls: { "net/ipv4/conf/eth0.1/forwarding": "1" } }),
    );
    expect(recorder.argsOf("openat2")[0]?.[1]).toBe("/proc/sys/net/ipv4/conf/eth0.1/forwarding");
  });
});
