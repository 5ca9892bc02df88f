/** Texts that the runtime makes and reads: log strings, times, user and group files, paths, gzip. */
import { describe, expect, it } from "vitest";
import { kernel } from "../../ffi/kernel.ts";
import { formatTime, timestamp } from "../../runtime/clock.ts";
import { compressFile } from "../../runtime/gzip.ts";
import { InitFailure, inStage, toStartFailure } from "../../runtime/init_failure.ts";
import { lookupUser } from "../../runtime/init_user.ts";
import { escapeInto, jsonString } from "../../runtime/json_text.ts";
import { mountOptions, propagation } from "../../runtime/mount_flags.ts";
import { cleanPath } from "../../base/clean_path.ts";
import { SysError } from "../../ffi/errno.ts";

function escape(...bytes: number[]): string {
  const output = new Uint8Array(bytes.length * 6);
  const length = escapeInto(output, 0, Uint8Array.from(bytes), 0, bytes.length);
  return new TextDecoder("utf-8", { fatal: true }).decode(output.subarray(0, length));
}

describe("escapeInto()", () => {
  it.each([
    ["overlong two bytes", [0xc0, 0x80], "\\ufffd\\ufffd"],
    ["overlong three bytes", [0xe0, 0x80, 0x80], "\\ufffd\\ufffd\\ufffd"],
    ["overlong four bytes", [0xf0, 0x80, 0x80, 0x80], "\\ufffd\\ufffd\\ufffd\\ufffd"],
    ["a surrogate", [0xed, 0xa0, 0x80], "\\ufffd\\ufffd\\ufffd"],
    ["above U+10FFFF", [0xf4, 0x90, 0x80, 0x80], "\\ufffd\\ufffd\\ufffd\\ufffd"],
    ["a cut sequence", [0xe2, 0x82], "\\ufffd\\ufffd"],
    ["a cut sequence before a letter", [0xe2, 0x82, 0x41], "\\ufffd\\ufffdA"],
    ["a lone continuation", [0x80], "\\ufffd"],
    ["the last code point", [0xf4, 0x8f, 0xbf, 0xbf], "\u{10ffff}"],
    ["U+FFFD itself", [0xef, 0xbf, 0xbd], "\ufffd"],
    ["line separators", [0xe2, 0x80, 0xa8, 0xe2, 0x80, 0xa9], "\\u2028\\u2029"],
    ["a neighbour of theirs", [0xe2, 0x80, 0xaa], "\u202a"],
    ["delete", [0x7f], "\x7f"],
    ["escape", [0x1b], "\\u001b"],
    ["tab", [9], "\\u0009"],
  ])("writes %s as Go does", (_, bytes, expected) => {
    expect(escape(...bytes)).toBe(expected);
  });

  it("what it writes is JSON of the same text", () => {
    const text = 'a"b\\c\n\r\t\0 <é€🐳>';
    expect(JSON.parse(jsonString(text))).toBe(text);
  });
});

describe("formatTime()", () => {
  it.each([
    [0, "1970-01-01T00:00:00Z"],
    [1500, "1970-01-01T00:00:01.5Z"],
    [1_700_000_000_123.456, "2023-11-14T22:13:20.123456Z"],
    [1_700_000_000_120, "2023-11-14T22:13:20.12Z"],
    [999.9999, "1970-01-01T00:00:00.999999Z"],
  ])("of %d is %s", (ms, text) => {
    expect(formatTime(ms)).toBe(text);
  });

  it("timestamp() is now", () => {
    const before = Date.now();
    const now = Date.parse(timestamp());
    expect(now).toBeGreaterThanOrEqual(before - 3);
    expect(now).toBeLessThanOrEqual(Date.now() + 3);
  });
});

describe("lookupUser()", () => {
  const passwd =
    "# a comment\n\nroot:x:0:0::/root:/bin/sh\n  app:x:10:20::/home/app:/bin/sh\nbad line\ntwin:x:10:30::/t:/\n";
  const group = "root:x:0:\nwheel:x:5:root,app\naudio:x:6:other,app\n";
  const of = (spec: string, additional: string[] = []) => lookupUser(spec, additional, passwd, group);

  it.each([
    ["", { uid: 0, gid: 0, groups: [0, 5], home: "/root" }],
    ["app", { uid: 10, gid: 20, groups: [20, 5, 6], home: "/home/app" }],
    ["10", { uid: 10, gid: 20, groups: [20, 5, 6], home: "/home/app" }],
    ["app:audio", { uid: 10, gid: 6, groups: [6], home: "/home/app" }],
    ["app:77", { uid: 10, gid: 77, groups: [77], home: "/home/app" }],
    [":77", { uid: 0, gid: 77, groups: [77], home: "/root" }],
    ["99", { uid: 99, gid: 0, groups: [0], home: "/" }],
    ["99:wheel", { uid: 99, gid: 5, groups: [5], home: "/" }],
    ["app:", { uid: 10, gid: 20, groups: [20, 5, 6], home: "/home/app" }],
  ])("%j", (spec, user) => {
    expect(of(spec)).toEqual(user);
  });

  it("takes additional groups by name or number, once each", () => {
    expect(of("99", ["audio", "123", "6"]).groups).toEqual([0, 6, 123]);
  });

  it.each([
    ["nosuch", [], "unable to find user nosuch: no matching entries in passwd file"],
    ["app:nosuch", [], "unable to find group nosuch: no matching entries in group file"],
    ["app", ["nosuch"], "Unable to find group nosuch"],
    ["2147483648", [], "uids and gids must be in range 0-2147483647"],
    ["1:-5", [], "uids and gids must be in range 0-2147483647"],
  ])("%j refuses", (spec, additional, message) => {
    expect(() => of(spec, additional)).toThrow(message);
  });

  it("without files root and numbers work, names do not", () => {
    expect(lookupUser("", [], "", "")).toEqual({ uid: 0, gid: 0, groups: [0], home: "/" });
    expect(lookupUser("5:6", [], "", "").gid).toBe(6);
    expect(() => lookupUser("root", [], "", "")).toThrow("unable to find user root");
  });
});

describe("mount options", () => {
  it("are refused when unknown, names of Object's members included", () => {
    expect(() => mountOptions(["ro", "toString"])).toThrow("invalid mount option toString");
    expect(() => propagation("rfancy")).toThrow("invalid mount propagation rfancy");
  });

  it("add up", () => {
    expect(mountOptions(["ro", "nosuid", "rw", "noatime"])).toEqual({
      ms: 1 | 2 | 1024,
      set: 1 | 2 | 0x10,
      clear: 0x70,
    });
  });
});

describe("cleanPath()", () => {
  it.each([["/a/../../b//./c/", "/b/c"], ["/..", "/"], ["", "."], ["..", ".."], ["a/../..", ".."], [
    "a/",
    "a",
  ]])("%j is %j", (path, clean) => {
    expect(cleanPath(path)).toBe(clean);
  });
});

describe("inStage()", () => {
  it("keeps errno and names the innermost stage", () => {
    const failing = () =>
      inStage("outer", "", () =>
        inStage("inner", "doing x", () => {
          throw new SysError("open", 13, "/x");
        }));
    expect(failing).toThrow(InitFailure);
    try {
      failing();
    } catch (error) {
      expect(toStartFailure(error)).toEqual({
        stage: "inner",
        errno: 13,
        message: "doing x: open /x: permission denied",
      });
    }
  });
});

describe("compressFile()", () => {
  it.each([
    ["nothing", new Uint8Array(0)],
    ["one byte", Uint8Array.of(0)],
    ["a long run", new Uint8Array(1_000_000).fill(65)],
    ["noise", crypto.getRandomValues(new Uint8Array(65_000))],
    [
      "log lines",
      new TextEncoder().encode(
        Array.from({ length: 20_000 }, (_, i) => `{"log":"line ${i}\\n","time":"${i * 7}"}`).join("\n"),
      ),
    ],
    ["all bytes and distances", Uint8Array.from({ length: 300_000 }, (_, i) => (i * i >> 7) & 255)],
  ])("gzip reads back %s", async (_, bytes) => {
    const path = await Deno.makeTempFile();
    await Deno.writeFile(path, bytes);
    compressFile(kernel, path, `${path}.gz`);
    const stream = (await Deno.open(`${path}.gz`)).readable.pipeThrough(new DecompressionStream("gzip"));
    const back = await new Response(stream).bytes();
    expect(back.length).toBe(bytes.length);
    expect(back.every((byte, index) => byte === bytes[index])).toBe(true);
    await expect(Deno.stat(path)).rejects.toThrow(Deno.errors.NotFound);
    await Deno.remove(`${path}.gz`);
  });
});
