/** One call as a seccomp filter sees it (struct seccomp_data). */
export interface FilterInput {
  readonly arch: number;
  readonly nr: number;
  readonly args?: readonly bigint[];
}

/**
 * Runs a seccomp filter as the kernel would and answers what it returns. Throws for everything that the kernel's
 * checker refuses: unknown opcodes, jumps out of the program, a path without an end.
 */
export function runFilter(program: Uint8Array, input: FilterInput): { value: number; steps: number } {
  const data = new DataView(new ArrayBuffer(64));
  data.setUint32(0, input.nr, true);
  data.setUint32(4, input.arch, true);
  for (const [index, arg] of (input.args ?? []).entries()) data.setBigUint64(16 + 8 * index, arg, true);
  const code = new DataView(program.buffer, program.byteOffset, program.byteLength);
  let accumulator = 0;
  let steps = 0;
  for (let pc = 0; pc * 8 < program.byteLength; pc++) {
    steps++;
    const k = code.getUint32(pc * 8 + 4, true);
    const jump = (taken: boolean): number => code.getUint8(pc * 8 + (taken ? 2 : 3));
    switch (code.getUint16(pc * 8, true)) {
      case 0x20:
        if (k % 4 !== 0) throw new Error(`unaligned load of ${k}`);
        accumulator = data.getUint32(k, true);
        break;
      case 0x54:
        accumulator = (accumulator & k) >>> 0;
        break;
      case 0x05:
        pc += k;
        break;
      case 0x15:
        pc += jump(accumulator === k);
        break;
      case 0x25:
        pc += jump(accumulator > k);
        break;
      case 0x35:
        pc += jump(accumulator >= k);
        break;
      case 0x06:
        return { value: k, steps };
      default:
        throw new Error(`unknown opcode at ${pc}`);
    }
  }
  throw new Error("ran off the end");
}
