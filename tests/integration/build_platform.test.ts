/** Commands of other processors: by an emulator that the engine has the kernel start, or not at all. */
import { describe, expect, it } from "vitest";
import { buildEngine } from "../support/build_engine.ts";
import { BUSYBOX, describeWith, itWith, need, program } from "../support/needs.ts";
import { usersToTest } from "../support/users.ts";

/** A program for arm64 that writes "arm64\n" and ends: the kernel's calls by hand, for there is no compiler. */
function arm64Program(): Uint8Array {
  const code = [
    0xd2800020, // mov x0, 1
    0x100000e1, // adr x1, the text
    0xd28000c2, // mov x2, 6
    0xd2800808, // mov x8, write
    0xd4000001, // svc 0
    0xd2800000, // mov x0, 0
    0xd2800ba8, // mov x8, exit
    0xd4000001, // svc 0
  ];
  const text = new TextEncoder().encode("arm64\n");
  const start = 64 + 56;
  const bytes = new Uint8Array(start + code.length * 4 + text.length);
  const view = new DataView(bytes.buffer);
  bytes.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]);
  const base = 0x400000n;
  for (const [at, value] of [[16, 2], [18, 183], [52, 64], [54, 56], [56, 1]] as const) {
    view.setUint16(at, value, true);
  }
  view.setUint32(20, 1, true);
  view.setBigUint64(24, base + BigInt(start), true);
  view.setBigUint64(32, 64n, true);
  // one loadable segment, to be read and executed: the whole file
  view.setUint32(64, 1, true);
  view.setUint32(68, 5, true);
  for (
    const [at, value] of [[80, base], [88, base], [96, bytes.length], [104, bytes.length], [
      112,
      4096,
    ]] as const
  ) {
    view.setBigUint64(at, BigInt(value), true);
  }
  code.forEach((word, index) => view.setUint32(start + index * 4, word, true));
  bytes.set(text, start + code.length * 4);
  return bytes;
}

const AMD64 = need(
  Deno.build.arch === "x86_64",
  "the other processor is arm64: this machine must not be one",
);
const EMULATOR = program("qemu-aarch64-static", "qemu-user-static");

describe.each(usersToTest())("builds for another processor, $name", (user) => {
  describeWith(BUSYBOX, AMD64)("with berth build", () => {
    const fixture = buildEngine(user, "build-platform");
    const context = (lines: readonly string[]) => {
      const path = fixture.dockerfile(lines);
      Deno.writeFileSync(`${path}/program`, arm64Program());
      Deno.chmodSync(`${path}/program`, 0o755);
      return path;
    };

    itWith(EMULATOR)(
      "run by an emulator that is in no image, while the machine's own programs run as ever",
      async () => {
        const path = context([
          "FROM --platform=linux/arm64 scratch AS other",
          "COPY program /",
          'RUN ["/program"]',
          "FROM busybox",
          "COPY --from=other /program /",
          "RUN uname -m",
        ]);
        const output = await fixture.berth(["build", "--progress=plain", "-t", "both", path]);
        expect(output).toMatch(/^#\d+ [\d.]+ arm64$/m);
        expect(output).toMatch(/^#\d+ [\d.]+ x86_64$/m);
        expect(await fixture.berth(["run", "--rm", "both", "ls", "/usr/bin"])).not.toContain("qemu");
      },
    );

    it("are refused with what is missing, where there is no emulator", async () => {
      const path = context(["FROM scratch", "COPY program /", 'RUN ["/program"]']);
      // a name that no emulator of ours has
      const { code, stderr } = await fixture.engine.berth(["build", "--platform=linux/ppc64", path]);
      expect(code).toBe(1);
      expect(stderr).toContain("cannot run programs for linux/ppc64 on this machine (linux/amd64)");
      expect(stderr).toContain("qemu-user-static");
    });
  });
});
