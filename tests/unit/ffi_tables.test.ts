import { describe, expect, it } from "vitest";
import * as constants from "../../ffi/constants.ts";
import { errnoName, SysError } from "../../ffi/errno.ts";
import { devMajor, devMinor, LAYOUT, LAYOUTS, makedev, SIZEOF } from "../../ffi/layout.ts";
import * as networkConstants from "../../ffi/network_constants.ts";
import { SOCKADDR_SIZE, SOCKADDR_STORAGE } from "../../ffi/socket_address.ts";
import { signalName, signalNumber } from "../../ffi/signals.ts";
import { numbersOf } from "../../ffi/syscall_numbers.ts";
import { kernel } from "../../ffi/kernel.ts";
import * as netlinkConstants from "../../net/netlink/constants.ts";
import * as netfilterConstants from "../../net/netlink/nf_constants.ts";
import { itWith, need } from "../support/needs.ts";

const hasCompiler = await new Deno.Command("sh", {
  args: ["-c", "command -v cc && test -e /usr/include/linux/openat2.h"],
  stdout: "null",
  stderr: "null",
}).output().then((output) => output.success);
const COMPILER = need(
  hasCompiler,
  "no C compiler with the kernel's headers: sudo apt-get install gcc libc6-dev",
);

/** Compiles and runs a C program that prints one number a line. */
async function numbersFromC(includes: string, expressions: readonly string[]): Promise<number[]> {
  const directory = await Deno.makeTempDir();
  try {
    const prints = expressions.map((text) => `printf("%lld\\n", (long long)(${text}));`).join("\n");
    await Deno.writeTextFile(
      `${directory}/a.c`,
      `#define _GNU_SOURCE\n#include <stddef.h>\n#include <stdio.h>\n${includes}\nint main(void){${prints}}`,
    );
    const compiled = await new Deno.Command("cc", {
      args: ["-o", `${directory}/a`, `${directory}/a.c`],
      stderr: "piped",
    }).output();
    if (!compiled.success) throw new Error(new TextDecoder().decode(compiled.stderr));
    const output = await new Deno.Command(`${directory}/a`).output();
    return new TextDecoder().decode(output.stdout).trim().split("\n").map(Number);
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
}

const include = (...names: string[]): string => names.map((name) => `#include <${name}>`).join("\n");

describe("struct layouts", () => {
  itWith(COMPILER)("are those of the C headers", async () => {
    const expected: Record<string, number> = {
      "sizeof(struct statfs)": SIZEOF.statfs,
      "sizeof(struct timespec)": SIZEOF.timespec,
      "sizeof(struct itimerspec)": SIZEOF.itimerspec,
      "sizeof(siginfo_t)": SIZEOF.siginfo,
      "offsetof(siginfo_t, si_pid)": 16,
      "offsetof(siginfo_t, si_status)": 24,
      "sizeof(struct signalfd_siginfo)": SIZEOF.signalfdSiginfo,
      "sizeof(struct msghdr)": SIZEOF.msghdr,
      "offsetof(struct msghdr, msg_control)": 32,
      "offsetof(struct msghdr, msg_flags)": 48,
      "sizeof(struct cmsghdr)": SIZEOF.cmsghdr,
      "sizeof(struct iovec)": SIZEOF.iovec,
      "sizeof(struct ucred)": SIZEOF.ucred,
      "sizeof(struct sockaddr_un)": SIZEOF.sockaddrUn,
      "sizeof(struct ifreq)": SIZEOF.ifreq,
      "sizeof(struct winsize)": SIZEOF.winsize,
      "sizeof(struct open_how)": SIZEOF.openHow,
      "sizeof(struct mount_attr)": SIZEOF.mountAttr,
      "sizeof(struct rlimit)": SIZEOF.rlimit,
      "sizeof(struct __user_cap_header_struct)": SIZEOF.capHeader,
      "sizeof(struct __user_cap_data_struct)": SIZEOF.capData,
      "sizeof(struct sock_fprog)": SIZEOF.sockFprog,
      "sizeof(struct sock_filter)": SIZEOF.sockFilter,
      "sizeof(posix_spawnattr_t)": SIZEOF.posixSpawnattr,
      "sizeof(posix_spawn_file_actions_t)": SIZEOF.posixSpawnFileActions,
      "offsetof(posix_spawnattr_t, __sd)": 8,
      "offsetof(posix_spawnattr_t, __ss)": 136,
      "sizeof(struct stat)": LAYOUT.stat.size,
      "offsetof(struct stat, st_nlink)": LAYOUT.stat.nlink,
      "offsetof(struct stat, st_mode)": LAYOUT.stat.mode,
      "offsetof(struct stat, st_uid)": LAYOUT.stat.uid,
      "offsetof(struct stat, st_rdev)": LAYOUT.stat.rdev,
      "offsetof(struct stat, st_size)": LAYOUT.stat.fileSize,
      "offsetof(struct stat, st_mtim)": LAYOUT.stat.mtime,
      "sizeof(struct epoll_event)": LAYOUT.epollEvent.size,
      "offsetof(struct epoll_event, data)": LAYOUT.epollEvent.data,
    };
    // deno-fmt-ignore
    const headers = include("linux/openat2.h", "sys/mount.h", "sys/vfs.h", "sys/stat.h", "time.h", "signal.h", "sys/signalfd.h",
      "sys/socket.h", "sys/un.h", "net/if.h", "sys/ioctl.h", "sys/resource.h", "linux/capability.h", "linux/filter.h", "spawn.h",
      "sys/epoll.h");
    const actual = await numbersFromC(headers, Object.keys(expected));
    expect(Object.fromEntries(Object.keys(expected).map((name, index) => [name, actual[index]]))).toEqual(
      expected,
    );
  });

  it("packs struct epoll_event on x86-64 only", () => {
    expect(LAYOUTS.x86_64.epollEvent).toEqual({ size: 12, data: 4 });
    expect(LAYOUTS.aarch64.epollEvent).toEqual({ size: 16, data: 8 });
    expect([LAYOUTS.x86_64.stat.size, LAYOUTS.aarch64.stat.size]).toEqual([144, 128]);
  });
});

describe("constants", () => {
  itWith(COMPILER)("are those of the C headers", async () => {
    // not in this machine's headers as macros of that name, or of another type
    const skipped = /^(.*_MAGIC|MOVE_MOUNT_BENEATH|RLIM_INFINITY|MOUNT_ATTR_.*|MS_NOSYMFOLLOW|O_LARGEFILE)$/;
    const names = Object.entries(constants).filter(([name, value]) =>
      typeof value === "number" && !skipped.test(name)
    )
      .map(([name]) => name);
    expect(names.length).toBeGreaterThan(200);
    // deno-fmt-ignore
    const headers = include("sched.h", "sys/mman.h", "linux/memfd.h", "linux/futex.h", "fcntl.h", "linux/openat2.h", "sys/mount.h", "sys/stat.h", "sys/prctl.h", "linux/seccomp.h",
      "sys/wait.h", "spawn.h", "sys/resource.h", "sys/epoll.h", "time.h", "signal.h", "sys/socket.h", "linux/sockios.h", "net/if.h",
      "sys/ioctl.h", "sys/file.h", "sys/xattr.h", "linux/close_range.h", "unistd.h") +
      // glibc's sched.h lacks the one, sys/mount.h the other
      "\n#define CLONE_NEWTIME 0x80\n#define MS_SILENT 32768" +
      "\n#ifndef CLONE_INTO_CGROUP\n#define CLONE_INTO_CGROUP 0x200000000ULL\n#endif" +
      // not in headers before 6.3
      "\n#define MFD_EXEC 16" +
      // linux/fs.h and glibc's sys/mount.h do not bear each other
      "\n#define FICLONE _IOW(0x94, 9, int)" +
      "\n#define FS_IOC_GETFLAGS _IOR('f', 1, long)\n#define FS_IOC_SETFLAGS _IOW('f', 2, long)\n#define FS_TOPDIR_FL 0x00020000";
    const actual = await numbersFromC(headers, names);
    const wrong = names.flatMap((name, index) => {
      const ours = (constants as Record<string, unknown>)[name];
      const theirs = actual[index] ?? NaN;
      return typeof ours === "number" && ours >>> 0 === theirs >>> 0
        ? []
        : [`${name}: ${ours} but ${theirs}`];
    });
    expect(wrong).toEqual([]);
  });
});

describe("network constants", () => {
  // deno-fmt-ignore
  const headers = include("sys/socket.h", "netinet/in.h", "netinet/tcp.h", "netinet/udp.h", "sys/ioctl.h", "linux/netlink.h", "linux/rtnetlink.h", "linux/if.h",
    "linux/if_link.h", "linux/if_bridge.h", "linux/veth.h", "linux/if_addr.h", "linux/fib_rules.h", "linux/neighbour.h", "linux/if_packet.h", "linux/if_tun.h",
    "linux/netfilter.h", "linux/netfilter/nfnetlink.h", "linux/netfilter/nf_tables.h") +
    // not in glibc's headers, or newer than them
    "\n#ifndef NLMSGERR_ATTR_MISS_TYPE\n#define NLMSGERR_ATTR_MISS_TYPE 5\n#endif" +
    // Linux 6.3
    "\n#ifndef IFLA_GSO_IPV4_MAX_SIZE\n#define IFLA_GSO_IPV4_MAX_SIZE 63\n#endif";

  itWith(COMPILER)("are those of the C headers", async () => {
    const all: Record<string, unknown> = { ...networkConstants, ...netlinkConstants, ...netfilterConstants };
    const names = Object.keys(all).filter((name) => typeof all[name] === "number");
    expect(names.length).toBeGreaterThan(200);
    const actual = await numbersFromC(headers, names);
    const wrong = names.flatMap((name, index) =>
      Number(all[name]) >>> 0 === (actual[index] ?? NaN) >>> 0
        ? []
        : [`${name}: ${all[name]} but ${actual[index]}`]
    );
    expect(wrong).toEqual([]);
  });

  itWith(COMPILER)("socket addresses and netlink's structs have the sizes of the C headers", async () => {
    // deno-fmt-ignore
    const expected: Record<string, number> = {
      "sizeof(struct sockaddr_in)": SOCKADDR_SIZE.inet, "sizeof(struct sockaddr_in6)": SOCKADDR_SIZE.inet6,
      "offsetof(struct sockaddr_in6, sin6_scope_id)": 24, "sizeof(struct sockaddr_nl)": SOCKADDR_SIZE.netlink,
      "sizeof(struct sockaddr_ll)": SOCKADDR_SIZE.packet, "offsetof(struct sockaddr_ll, sll_addr)": 12,
      "sizeof(struct sockaddr_storage)": SOCKADDR_STORAGE, "sizeof(struct in_pktinfo)": 12, "sizeof(struct in6_pktinfo)": 20,
      "sizeof(struct nlmsghdr)": 16, "sizeof(struct ifinfomsg)": 16, "sizeof(struct ifaddrmsg)": 8, "sizeof(struct rtmsg)": 12,
      "sizeof(struct fib_rule_hdr)": 12, "sizeof(struct ndmsg)": 12, "sizeof(struct nfgenmsg)": 4,
      "offsetof(struct rtnl_link_stats64, tx_dropped)": 56, "offsetof(struct ndmsg, ndm_flags)": 10,
    };
    const actual = await numbersFromC(headers, Object.keys(expected));
    expect(Object.fromEntries(Object.keys(expected).map((key, index) => [key, actual[index]]))).toEqual(
      expected,
    );
  });
});

describe("system call numbers", () => {
  it("give every call a number on both machines, none twice", () => {
    for (const arch of ["x86_64", "aarch64"] as const) {
      const numbers = Object.values(numbersOf(arch));
      expect(numbers.every((number) => Number.isInteger(number) && number >= 0)).toBe(true);
      expect(new Set(numbers).size).toBe(numbers.length);
    }
  });
});

describe("makedev()", () => {
  it("is what stat answers for device nodes", () => {
    expect(kernel.stat("/dev/null", true).rdev).toBe(makedev(1, 3));
    expect(makedev(259, 1_000_000)).toBe(kernelEncoding(259, 1_000_000));
    expect([devMajor(makedev(259, 1_000_000)), devMinor(makedev(259, 1_000_000))]).toEqual([259, 1_000_000]);
  });
});

/** new_encode_dev of the kernel, written the other way round. */
function kernelEncoding(major: number, minor: number): bigint {
  return BigInt((minor & 0xff) + major * 256) + (BigInt(minor >>> 8) << 20n);
}

describe("signals", () => {
  it("are found by every spelling docker kill takes", () => {
    for (const text of ["9", "KILL", "SIGKILL", "sigkill", "kill"]) expect(signalNumber(text)).toBe(9);
    expect(signalNumber("SIGRTMIN+3")).toBe(37);
    expect(signalNumber("RTMAX-1")).toBe(63);
    expect(signalNumber("SIGRTMIN")).toBe(34);
    for (const text of ["0", "65", "SIGNOPE", "", "RTMIN+31", "toString", "-1"]) {
      expect(signalNumber(text)).toBeUndefined();
    }
  });

  it("have names", () => {
    expect([15, 34, 37, 64, 32].map(signalName)).toEqual([
      "SIGTERM",
      "SIGRTMIN",
      "SIGRTMIN+3",
      "SIGRTMAX",
      "SIG32",
    ]);
  });
});

describe("SysError", () => {
  it("reads like a Go PathError and knows its name", () => {
    const error = new SysError("mkdir", 13, "/x");
    expect(error.message).toBe("mkdir /x: permission denied");
    expect([error.code, error.is("EPERM", "EACCES"), errnoName(4095)]).toEqual(["EACCES", true, "E4095"]);
  });
});
