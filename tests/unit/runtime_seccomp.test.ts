import { describe, expect, it } from "vitest";
import { EngineError } from "../../base/errors.ts";
import { seccompFor } from "../../engine/seccomp_cache.ts";
import { NR } from "../../ffi/syscall_numbers.ts";
import { DEFAULT_CAPABILITIES } from "../../runtime/capabilities.ts";
import { Assembler, BPF, Label } from "../../runtime/seccomp/bpf.ts";
import {
  compileSeccomp,
  defaultProfile,
  parseSeccompProfile,
  type SeccompTarget,
} from "../../runtime/seccomp/mod.ts";
import { type FilterArch, syscallNames, syscallNumber } from "../../runtime/seccomp/syscall_table.ts";
import { runFilter } from "../support/bpf_interpreter.ts";
import { inChild } from "../support/ffi_child.ts";

const AUDIT_ARCH: Record<FilterArch, number> = {
  x86_64: 0xc000003e,
  x86: 0x40000003,
  aarch64: 0xc00000b7,
  arm: 0x40000028,
};
const X86: SeccompTarget = { arch: "x86_64", caps: DEFAULT_CAPABILITIES, kernel: [6, 1] };
const ARM: SeccompTarget = { ...X86, arch: "aarch64" };

/** "allow", "errno 38", "kill process" … */
function spell(value: number): string {
  const names: Record<number, string> = {
    0x7fff0000: "allow",
    0x7ffc0000: "log",
    0x7ff00000: "trace",
    0x00050000: "errno",
    0x00030000: "trap",
    0x00000000: "kill",
    0x80000000: "kill process",
  };
  const name = names[(value & 0xffff0000) >>> 0] ?? value.toString(16);
  return name === "errno" || name === "trace" ? `${name} ${value & 0xffff}` : name;
}

/** The fate of one call by name or number. */
function verdict(program: Uint8Array, arch: FilterArch, call: string | number, ...args: bigint[]): string {
  const nr = typeof call === "number" ? call : syscallNumber(arch, call);
  if (nr === undefined) throw new Error(`${arch} has no ${call}`);
  return spell(runFilter(program, { arch: AUDIT_ARCH[arch], nr, args }).value);
}

describe("syscall table", () => {
  it("agrees with the numbers that berth itself calls by", () => {
    const arch = Deno.build.arch;
    const ours = Object.entries(NR).map(([name, number]) => [name, number]);
    expect(ours.map(([name]) => [name, syscallNumber(arch, String(name))])).toEqual(ours);
  });

  it("gives no number twice, but for names of one call", () => {
    for (const arch of ["x86_64", "x86", "aarch64", "arm"] as const) {
      const byNumber = new Map<number, string[]>();
      for (const name of syscallNames()) {
        const number = syscallNumber(arch, name);
        if (number !== undefined) byNumber.set(number, [...byNumber.get(number) ?? [], name]);
      }
      const twice = [...byNumber.values()].filter((names) => names.length > 1);
      expect(twice).toEqual(arch === "arm" ? [["arm_sync_file_range", "sync_file_range2"]] : []);
    }
  });

  it("knows the well-known numbers of all four machines", () => {
    const of = (name: string) =>
      (["x86_64", "x86", "aarch64", "arm"] as const).map((arch) => syscallNumber(arch, name));
    expect(of("read")).toEqual([0, 3, 63, 3]);
    expect(of("clone3")).toEqual([435, 435, 435, 435]);
    expect(of("socketcall")).toEqual([undefined, 102, undefined, undefined]);
    expect(of("set_tls")).toEqual([undefined, undefined, undefined, 0xf0005]);
  });

  it("knows every call that the default profile names", () => {
    const known = new Set(syscallNames());
    expect(defaultProfile().syscalls.flatMap((rule) => rule.names).filter((name) => !known.has(name)))
      .toEqual(["riscv_hwprobe"].filter((name) => defaultProfile().syscalls[0]?.names.includes(name)));
  });
});

describe("default profile", () => {
  const program = compileSeccomp(defaultProfile(), X86);
  const admin = compileSeccomp(defaultProfile(), { ...X86, caps: ["CAP_SYS_ADMIN"] });
  const check = (call: string | number, ...args: bigint[]) => verdict(program, "x86_64", call, ...args);

  it("names 361 calls that are allowed always", () => {
    expect(new Set(defaultProfile().syscalls[0]?.names).size).toBe(361);
  });

  it("allows ordinary calls and refuses the kernel's private parts", () => {
    for (
      const call of [
        "read",
        "write",
        "openat",
        "execve",
        "futex",
        "ptrace",
        "chroot",
        "openat2",
        "faccessat2",
      ]
    ) {
      expect([call, check(call)]).toEqual([call, "allow"]);
    }
    // deno-fmt-ignore
    for (const call of ["keyctl", "add_key", "request_key", "mount", "umount2", "unshare", "setns", "bpf", "kexec_load", "reboot", "swapon",
      "init_module", "open_by_handle_at", "perf_event_open", "userfaultfd", "move_pages", "vhangup", "acct", "fsopen", "sethostname"]) {
      expect([call, check(call)]).toEqual([call, "errno 1"]);
    }
  });

  it("looks at the flags of clone", () => {
    const SIGCHLD = 17n;
    expect(check("clone", SIGCHLD)).toBe("allow");
    expect(check("clone", 0x3d0f00n)).toBe("allow");
    for (
      const flag of [0x20000n, 0x2000000n, 0x4000000n, 0x8000000n, 0x10000000n, 0x20000000n, 0x40000000n]
    ) {
      expect([flag, check("clone", flag | SIGCHLD)]).toEqual([flag, "errno 1"]);
    }
    expect(verdict(admin, "x86_64", "clone", 0x10000000n)).toBe("allow");
  });

  it("answers clone3 with ENOSYS unless the container has CAP_SYS_ADMIN", () => {
    expect(check("clone3")).toBe("errno 38");
    expect(verdict(admin, "x86_64", "clone3")).toBe("allow");
    expect(verdict(admin, "x86_64", "mount")).toBe("allow");
  });

  it("refuses AF_ALG and AF_VSOCK, also when the upper half of the argument is set", () => {
    for (const family of [1n, 2n, 10n, 16n, 37n, 39n, 41n, 45n]) {
      expect(check("socket", family)).toBe("allow");
    }
    for (const family of [38n, 40n, 38n | 1n << 32n, 40n | 7n << 40n]) {
      expect(check("socket", family)).toBe("errno 1");
    }
  });

  it("allows the five personalities only", () => {
    for (const persona of [0n, 8n, 0x20000n, 0x20008n, 0xffffffffn, 0xffffffffffffffffn]) {
      expect(check("personality", persona)).toBe("allow");
    }
    for (const persona of [1n, 0x40000n, 0x20009n]) expect(check("personality", persona)).toBe("errno 1");
  });

  it("allows more with a capability, and less on an old kernel", () => {
    const boot = compileSeccomp(defaultProfile(), { ...X86, caps: ["CAP_SYS_BOOT"] });
    expect([verdict(boot, "x86_64", "reboot"), verdict(boot, "x86_64", "chroot")]).toEqual([
      "allow",
      "errno 1",
    ]);
    const old = compileSeccomp(defaultProfile(), { ...X86, kernel: [4, 7] });
    expect(verdict(old, "x86_64", "ptrace")).toBe("errno 1");
  });

  it("answers calls newer than the profile with ENOSYS, and x32 ones too", () => {
    expect(check(2000)).toBe("errno 38");
    expect(check(0x40000000)).toBe("errno 38");
    expect(check(0x40000000 | 1)).toBe("errno 38");
    expect(check(0xffffffff)).toBe("errno 38");
    expect(check(400)).toBe("errno 1");
  });

  it("judges 32-bit programs by their own numbers and kills unknown machines", () => {
    expect(verdict(program, "x86", "read")).toBe("allow");
    expect(verdict(program, "x86", "mount")).toBe("errno 1");
    expect(verdict(program, "x86", "socket", 38n)).toBe("errno 1");
    expect(verdict(program, "x86", "modify_ldt")).toBe("allow");
    expect(verdict(program, "aarch64", "read")).toBe("kill process");
    const arm = compileSeccomp(defaultProfile(), ARM);
    expect(verdict(arm, "aarch64", "openat")).toBe("allow");
    expect(verdict(arm, "aarch64", "keyctl")).toBe("errno 1");
    expect(verdict(arm, "aarch64", "clone", 0x10000000n)).toBe("errno 1");
    expect(verdict(arm, "arm", "set_tls")).toBe("allow");
    expect(verdict(arm, "arm", 2000)).toBe("errno 38");
    expect(verdict(arm, "x86_64", "read")).toBe("kill process");
  });

  it("stays small, and short on every path", () => {
    expect(program.length / 8).toBeLessThan(700);
    const longest = Math.max(
      ...syscallNames().map((name) => syscallNumber("x86_64", name) ?? 0).map((nr) =>
        runFilter(program, { arch: AUDIT_ARCH.x86_64, nr }).steps
      ),
    );
    expect(longest).toBeLessThan(30);
  });
});

describe("parseSeccompProfile() and compileSeccomp()", () => {
  const compiled = (profile: unknown, target = X86): Uint8Array =>
    compileSeccomp(
      parseSeccompProfile(typeof profile === "string" ? profile : JSON.stringify(profile)),
      target,
    );
  const one = (op: string, value: string, valueTwo = "0"): Uint8Array =>
    compiled(`{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{"names":["lseek"],"action":"SCMP_ACT_ALLOW",
      "args":[{"index":1,"value":${value},"valueTwo":${valueTwo},"op":"SCMP_CMP_${op}"}]}]}`);

  it("compare all 64 bits, every operator on both sides of its limit", () => {
    const pivot = 0x1_8000_0000n;
    const around = [
      0n,
      0x8000_0000n,
      pivot - 1n,
      pivot,
      pivot + 1n,
      0x2_0000_0000n,
      0x1_0000_0000n,
      (1n << 64n) - 1n,
    ];
    const expected: Record<string, (value: bigint) => boolean> = {
      NE: (v) => v !== pivot,
      LT: (v) => v < pivot,
      LE: (v) => v <= pivot,
      EQ: (v) => v === pivot,
      GE: (v) => v >= pivot,
      GT: (v) => v > pivot,
    };
    for (const [op, holds] of Object.entries(expected)) {
      const program = one(op, String(pivot));
      for (const value of around) {
        expect([op, value, verdict(program, "x86_64", "lseek", 0n, value)])
          .toEqual([op, value, holds(value) ? "allow" : "errno 1"]);
      }
    }
  });

  it("compare under a mask, in both halves", () => {
    const program = one("MASKED_EQ", String(0xff_0000_00f0n), String(0x12_0000_0030n));
    const check = (value: bigint) => verdict(program, "x86_64", "lseek", 0n, value);
    expect(check(0x12_0000_0030n)).toBe("allow");
    expect(check(0xff12_ffff_ff3fn)).toBe("allow");
    expect(check(0x13_0000_0030n)).toBe("errno 1");
    expect(check(0x12_0000_0040n)).toBe("errno 1");
  });

  it("keep numbers exact that a double cannot hold", () => {
    const program = one("EQ", "18446744073709551615");
    expect(verdict(program, "x86_64", "lseek", 0n, 0xffff_ffff_ffff_ffffn)).toBe("allow");
    expect(verdict(program, "x86_64", "lseek", 0n, 0xffff_ffff_ffff_f000n)).toBe("errno 1");
  });

  it("know every action", () => {
    const actions = {
      read: ["KILL", "kill"],
      write: ["KILL_THREAD", "kill"],
      open: ["KILL_PROCESS", "kill process"],
      close: ["TRAP", "trap"],
      stat: ["LOG", "log"],
      fstat: ["TRACE", "trace 1"],
      lstat: ["ERRNO", "errno 13"],
      getpid: ["ALLOW", "allow"],
    };
    const program = compiled({
      defaultAction: "SCMP_ACT_KILL_PROCESS",
      syscalls: Object.entries(actions).map(([name, [action]]) => ({
        names: [name],
        action: `SCMP_ACT_${action}`,
        ...(action === "ERRNO" ? { errnoRet: 13 } : {}),
      })),
    });
    for (const [name, [, fate]] of Object.entries(actions)) {
      expect([name, verdict(program, "x86_64", name)]).toEqual([name, fate]);
    }
    expect(verdict(program, "x86_64", "lseek")).toBe("kill process");
  });

  it("let new calls through when the default is to allow, and refuse what is listed", () => {
    const program = compiled({
      defaultAction: "SCMP_ACT_ALLOW",
      syscalls: [{ name: "chmod", action: "SCMP_ACT_ERRNO" }],
    });
    expect(verdict(program, "x86_64", "chmod")).toBe("errno 1");
    expect(verdict(program, "x86_64", 2000)).toBe("allow");
    // a profile without an architecture list speaks of the native one only
    expect(verdict(program, "x86", "read")).toBe("kill process");
  });

  it("take the unconditional rule over one with tests, and two tests of one argument as alternatives", () => {
    const program = compiled({
      defaultAction: "SCMP_ACT_ERRNO",
      architectures: ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
      syscalls: [
        { names: ["lseek"], action: "SCMP_ACT_KILL", args: [{ index: 0, value: 1, op: "SCMP_CMP_EQ" }] },
        { names: ["lseek", "no_such_call"], action: "SCMP_ACT_ALLOW" },
        {
          names: ["dup2"],
          action: "SCMP_ACT_ALLOW",
          args: [{ index: 0, value: 1, op: "SCMP_CMP_EQ" }, { index: 0, value: 2, op: "SCMP_CMP_EQ" }],
        },
        {
          names: ["dup3"],
          action: "SCMP_ACT_ALLOW",
          args: [{ index: 0, value: 1, op: "SCMP_CMP_EQ" }, { index: 1, value: 2, op: "SCMP_CMP_NE" }],
        },
      ],
    });
    expect(verdict(program, "x86_64", "lseek", 1n)).toBe("allow");
    expect([1n, 2n, 3n].map((fd) => verdict(program, "x86_64", "dup2", fd))).toEqual([
      "allow",
      "allow",
      "errno 1",
    ]);
    expect(verdict(program, "x86_64", "dup3", 1n, 3n)).toBe("allow");
    expect(verdict(program, "x86_64", "dup3", 1n, 2n)).toBe("errno 1");
    expect(verdict(program, "x86", "dup2", 2n)).toBe("allow");
  });

  it("honour conditions on capability, machine and kernel", () => {
    const rule = (name: string, part: object) => ({ names: [name], action: "SCMP_ACT_ALLOW", ...part });
    const program = compiled({
      defaultAction: "SCMP_ACT_ERRNO",
      syscalls: [
        rule("read", { includes: { caps: ["CAP_CHOWN", "CAP_SYS_ADMIN"] } }),
        rule("write", { includes: { caps: ["CAP_CHOWN", "CAP_KILL"] } }),
        rule("open", { excludes: { caps: ["CAP_CHOWN", "CAP_SYS_ADMIN"] } }),
        rule("close", { includes: { arches: ["arm64"] } }),
        rule("stat", { includes: { arches: ["amd64"], minKernel: "6.1" } }),
        rule("fstat", { includes: { minKernel: "6.2" } }),
        rule("lstat", { excludes: { minKernel: "5.19" } }),
        rule("poll", { excludes: { arches: ["arm64"] } }),
      ],
    });
    const allowed = ["read", "write", "open", "close", "stat", "fstat", "lstat", "poll"]
      .filter((name) => verdict(program, "x86_64", name) === "allow");
    expect(allowed).toEqual(["write", "stat", "poll"]);
  });

  it("make no filter of an empty profile", () => {
    expect(compiled("{}")).toHaveLength(0);
  });

  it("refuse bad profiles in Docker's words", () => {
    const refusal = (json: string): string => {
      try {
        compiled(json);
      } catch (error) {
        if (error instanceof EngineError && error.kind === "invalid") return error.message;
        throw error;
      }
      return "accepted";
    };
    expect(refusal("{")).toMatch(/^Decoding seccomp profile failed: /);
    expect(refusal("[]")).toMatch(/^Decoding seccomp profile failed: .*array/);
    expect(refusal('{"defaultAction": 1}')).toMatch(
      /^Decoding seccomp profile failed: json: cannot unmarshal number .*string$/,
    );
    expect(refusal('{"defaultAction":"NOPE"}')).toBe("string NOPE is not a valid action for seccomp");
    expect(refusal('{"syscalls":[{"names":["read"],"action":"SCMP_ACT_ALLOW"}]}'))
      .toBe("string  is not a valid action for seccomp");
    const rule = (text: string) =>
      `{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"action":"SCMP_ACT_ERRNO",${text}}]}`;
    expect(refusal(rule('"name":"read","names":["write"]'))).toMatch(
      /^both 'name' and 'names' are specified/,
    );
    expect(refusal(rule('"names":["read"],"args":[{"index":6,"op":"SCMP_CMP_EQ"}]'))).toMatch(/index 6/);
    expect(refusal(rule('"names":["read"],"args":[{"index":0,"op":"EQ"}]')))
      .toBe("string EQ is not a valid operator for seccomp");
    expect(refusal(rule('"names":["read"],"args":[{"index":0,"value":-1,"op":"SCMP_CMP_EQ"}]'))).toMatch(
      /uint64/,
    );
    expect(refusal(rule('"names":["read"],"includes":{"minKernel":"6"}'))).toMatch(/kernel version/);
    expect(refusal('{"defaultAction":"SCMP_ACT_ALLOW","architectures":["SCMP_ARCH_Z80"]}'))
      .toBe("string SCMP_ARCH_Z80 is not a valid arch for seccomp");
    expect(
      refusal(
        '{"defaultAction":"SCMP_ACT_ALLOW","architectures":["SCMP_ARCH_X86"],"archMap":[{"architecture":"SCMP_ARCH_X86"}]}',
      ),
    )
      .toMatch(/^both 'architectures' and 'archMap'/);
    const huge = Array.from(
      { length: 1500 },
      (_, value) =>
        `{"names":["lseek"],"action":"SCMP_ACT_ERRNO","args":[{"index":1,"value":${value},"op":"SCMP_CMP_EQ"}]}`,
    );
    expect(refusal(`{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[${huge.join(",")}]}`)).toMatch(/too large/);
  });
});

describe("seccompFor()", () => {
  const facts = { machine: "x86_64", kernel: "6.1.0" };
  const flagsOf = (flags: readonly string[] | undefined) =>
    seccompFor(facts, JSON.stringify({ defaultAction: "SCMP_ACT_ALLOW", flags }), []).seccompFlags;

  it("loads a filter with the profile's flags, without the brake on speculation when it names none", () => {
    expect(seccompFor(facts, undefined, []).seccompFlags).toBe(4);
    expect([flagsOf(undefined), flagsOf([])]).toEqual([4, 4]);
    expect(flagsOf(["SECCOMP_FILTER_FLAG_LOG"])).toBe(2);
    expect(flagsOf(["SECCOMP_FILTER_FLAG_TSYNC", "SECCOMP_FILTER_FLAG_SPEC_ALLOW"])).toBe(4);
    expect(() => flagsOf(["SECCOMP_FILTER_FLAG_X"])).toThrow('seccomp flag "SECCOMP_FILTER_FLAG_X"');
  });

  it("makes no filter of a profile that says nothing: the kernel would refuse an empty one", () => {
    expect(seccompFor(facts, "{}", [])).toEqual({});
  });
});

describe("Assembler", () => {
  it("reaches labels further than 255 instructions away, on both branches", () => {
    const asm = new Assembler();
    const yes = new Label();
    const no = new Label();
    asm.load(0);
    asm.jump(BPF.JEQ, 7, yes, no);
    for (let index = 0; index < 300; index++) asm.ret(1);
    asm.label(no);
    asm.ret(2);
    for (let index = 0; index < 300; index++) asm.ret(1);
    asm.label(yes);
    asm.ret(3);
    const program = asm.assemble();
    expect(runFilter(program, { arch: 0, nr: 7 }).value).toBe(3);
    expect(runFilter(program, { arch: 0, nr: 8 }).value).toBe(2);
  });
});

describe("the kernel", () => {
  it("takes the program and enforces it", async () => {
    const filter = compileSeccomp(defaultProfile(), {
      arch: Deno.build.arch,
      caps: DEFAULT_CAPABILITIES,
      kernel: [6, 1],
    });
    expect(filter.length / 8).toBeLessThan(4096);
    const result = await inChild(`
      const program = Uint8Array.from(atob(${
      JSON.stringify(btoa(String.fromCharCode(...filter)))
    }), (byte) => byte.charCodeAt(0));
      k.prctl(c.PR_SET_NO_NEW_PRIVS, 1);
      k.seccompSetFilter(program, 4);
      return {
        mode: status("Seccomp"),
        mount: code(() => k.mount("none", "/proc", "proc", 0, null)),
        unshare: code(() => k.unshare(c.CLONE_NEWUSER)),
        uts: code(() => k.sethostname("x")),
        stat: code(() => k.stat("/", true)),
        unshareCommand: run("/usr/bin/unshare", "-U", "true").out,
        family: raw(${syscallNumber(Deno.build.arch, "socket")}, 38, 5, 0),
        keyctl: raw(${syscallNumber(Deno.build.arch, "keyctl")}, 0, 0, 0, 0, 0),
        clone3: raw(435, 0, 0),
        future: raw(2000),
        child: run("/bin/sh", "-c", "echo alive; exit 3"),
      };
    `) as Record<string, unknown>;
    expect(result).toMatchObject({ mode: "2", mount: "EPERM", unshare: "EPERM", uts: "EPERM", stat: "ok" });
    expect(result).toMatchObject({ family: -1, keyctl: -1, clone3: -38, future: -38 });
    expect(result["unshareCommand"]).toMatch(/unshare failed: Operation not permitted/);
    expect(result["child"]).toEqual({ code: 3, out: "alive" });
  });
});
