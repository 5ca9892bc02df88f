import { describe, expect, it } from "vitest";
import { prelink } from "../../scripts/prelink.ts";

const ET_EXEC = 2;
const typeOf = (file: Uint8Array) => new DataView(file.buffer).getUint16(16, true);

describe("prelink", () => {
  const original = Deno.readFileSync(Deno.execPath());

  it("makes a Deno that runs, keeps its size, and needs no relocation of its own address", async () => {
    const fixed = prelink(original);
    if (fixed === undefined) throw new Error("this Deno cannot be given a fixed address");
    expect(typeOf(fixed)).toBe(ET_EXEC);
    expect(fixed.length).toBe(original.length);
    const path = Deno.makeTempFileSync();
    try {
      Deno.writeFileSync(path, fixed);
      Deno.chmodSync(path, 0o700);
      // Calls into libraries, threads, thread-local storage, a symbol that FFI looks up, and an exception.
      const program = `
        const own = Deno.readTextFileSync("/proc/self/maps").split("\\n").find((l) => l.includes(Deno.execPath()));
        const c = Deno.dlopen("libc.so.6", { getpid: { parameters: [], result: "i32" } });
        const worker = new Worker("data:application/javascript,postMessage(Math.sin(1));self.close()", { type: "module" });
        worker.onmessage = ({ data }) => {
          let thrown = "";
          try { null.x } catch (error) { thrown = error.name }
          console.log(parseInt(own, 16), c.symbols.getpid() === Deno.pid, data === Math.sin(1), thrown);
        };`;
      const { stdout, stderr } = await new Deno.Command(path, { args: ["eval", "--ext=js", program] })
        .output();
      const text = new TextDecoder();
      expect(text.decode(stdout) || text.decode(stderr)).toBe(`${0x400000} true true TypeError\n`);
    } finally {
      Deno.removeSync(path);
    }
  });

  it("leaves what it does not know as it is", () => {
    const fixed = prelink(original);
    expect(fixed && prelink(fixed)).toBeUndefined();
    expect(prelink(new TextEncoder().encode("#!/bin/sh\n".repeat(20)))).toBeUndefined();
    const otherMachine = original.slice();
    new DataView(otherMachine.buffer).setUint16(18, 243, true);
    expect(prelink(otherMachine)).toBeUndefined();
  });
});
