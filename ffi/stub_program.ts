/**
 * The stub: a program of some 280 bytes that makes system calls for another process (stub_process.ts). Written in assembly,
 * because what it does has to be done by a process that is nothing else: no runtime, no libraries, no file of its own.
 */
import { ARCH, type Arch } from "./arch.ts";

/** `stub/<machine>.s` assembled (as, then objcopy -O binary), in hexadecimal. */
// deno-fmt-ignore
export const STUB_CODE: Readonly<Record<Arch, string>> = {
  x86_64:
    "b809000000bf00000010be00008000ba0300000041ba1100000041b8030000004531c90f05bb000000104839d80f85bc" +
    "000000b89d000000bf01000000be090000000f05b82d000000bf04000000488d7358ba0100000041ba420000004531c0" +
    "4531c90f054885c00f8481000000b8010000008743048b1383fa01740fb8ca0000004889df31f64531d20f0531c08743" +
    "04833b0175d8448b6350488b4310488b7b18488b7320488b53284c8b53304c8b43384c8b4b400f054183fc0174297738" +
    "48894348b8020000008703837b0800749db8ca0000004889dfbe01000000ba010000000f05eb874885c07ed489430cb8" +
    "e700000031ff0f0548894348b801000000bf04000000488d7348ba080000000f05488b4348eba9",
  aarch64:
    "c81b80d20000a2d20110a0d2620080d2230280d2640080d2050080d2010000d41300a2d21f0013ebc1060054e81480d2" +
    "200080d2210180d2010000d4e81980d2800080d261620191220080d2430880d2040080d2050080d2010000d4200500b4" +
    "20008052600600b9bf3b03d5620240b95f040071c0000054480c80d2e00313aa010080d2030080d2010000d47f0600b9" +
    "60fedf881f04007141feff54755240b9680a40f9608641a9628e42a9649643a9010000d4bf060071e001005488020054" +
    "602600f9bf3b03d541008052610200b9bf3b03d5610a40b941fcff34480c80d2e00313aa210080d2220080d2010000d4" +
    "dcffff171f0000f14dfeff54600e00b9c80b80d2000080d2010000d4602600f9080880d2800080d261220191020180d2" +
    "010000d4602640f9e6ffff17",
};

/** Where the stub maps the memory that it shares, by its source. Low, so that it exists whatever the size of the address space. */
export const STUB_MEMORY = 0x1000_0000;
export const STUB_MEMORY_SIZE = 0x80_0000;

/** Where the program itself is loaded. */
const LOAD_ADDRESS = 0x40_0000;
const HEADER_SIZE = 64;
const PROGRAM_HEADER_SIZE = 56;
/** e_machine: EM_X86_64, EM_AARCH64. */
const ELF_MACHINE: Readonly<Record<Arch, number>> = { x86_64: 62, aarch64: 183 };
const PT_LOAD = 1;
const PT_GNU_STACK = 0x6474e551;
const PF_X = 1, PF_W = 2, PF_R = 4;

/** The stub as an executable: an ELF header, one segment with the code, and the wish for a stack that is not executable (elf(5)). */
export function stubProgram(arch: Arch = ARCH): Uint8Array<ArrayBuffer> {
  const code = Uint8Array.fromHex(STUB_CODE[arch]);
  const start = HEADER_SIZE + 2 * PROGRAM_HEADER_SIZE;
  const file = new Uint8Array(start + code.length);
  const view = new DataView(file.buffer);
  // ELF64, little-endian, version 1
  file.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]);
  view.setUint16(16, 2, true); // ET_EXEC
  view.setUint16(18, ELF_MACHINE[arch], true);
  view.setUint32(20, 1, true);
  view.setBigUint64(24, BigInt(LOAD_ADDRESS + start), true); // entry
  view.setBigUint64(32, BigInt(HEADER_SIZE), true); // program headers
  view.setUint16(52, HEADER_SIZE, true);
  view.setUint16(54, PROGRAM_HEADER_SIZE, true);
  view.setUint16(56, 2, true);
  view.setUint16(58, 64, true); // size of a section header, of which there is none
  programHeader(view, HEADER_SIZE, {
    type: PT_LOAD,
    flags: PF_R | PF_X,
    address: LOAD_ADDRESS,
    size: file.length,
  });
  programHeader(view, HEADER_SIZE + PROGRAM_HEADER_SIZE, {
    type: PT_GNU_STACK,
    flags: PF_R | PF_W,
    address: 0,
    size: 0,
  });
  file.set(code, start);
  return file;
}

function programHeader(
  view: DataView,
  at: number,
  segment: { type: number; flags: number; address: number; size: number },
): void {
  view.setUint32(at, segment.type, true);
  view.setUint32(at + 4, segment.flags, true);
  view.setBigUint64(at + 16, BigInt(segment.address), true);
  view.setBigUint64(at + 24, BigInt(segment.address), true);
  view.setBigUint64(at + 32, BigInt(segment.size), true);
  view.setBigUint64(at + 40, BigInt(segment.size), true);
  view.setBigUint64(at + 48, 0x1000n, true);
}
