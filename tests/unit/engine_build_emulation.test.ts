import { expect, it } from "vitest";
import { entryOf, isNative } from "../../engine/build/emulation.ts";

it("entryOf() writes what Debian's package has for arm64, and the bytes of a big-endian processor in its order", () => {
  expect(entryOf({ name: "aarch64", machine: 183, bits: 64, program: "/usr/bin/qemu-aarch64-static" })).toBe(
    ":qemu-aarch64:M::" +
      "\\x7f\\x45\\x4c\\x46\\x02\\x01\\x01\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x02\\x00\\xb7\\x00:" +
      "\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\x00\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xfe\\xff\\xff\\xff:" +
      "/usr/bin/qemu-aarch64-static:F",
  );
  const s390x = entryOf({ name: "s390x", machine: 22, bits: 64, bigEndian: true, program: "/q" });
  expect(s390x).toContain("\\x00\\x02\\x00\\x16:");
  expect(s390x).toContain("\\xff\\xfe\\xff\\xff:/q:F");
});

it("isNative() knows this processor: an entry for it would have the machine's own programs emulated", () => {
  expect(isNative(Deno.build.arch === "x86_64" ? "amd64" : "arm64")).toBe(true);
  expect(isNative("s390x")).toBe(false);
});
