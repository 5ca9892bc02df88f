/**
 * Gives a position-independent executable a fixed address, with its relative relocations applied.
 *
 * The dynamic linker adds the load address to every pointer in an executable's data each time it starts: in Deno 2.9
 * 159,000 pointers, which is 2.5 ms and 2.7 MB of memory that no two processes share. Done once here, those pages stay
 * those of the file. What it costs: the executable's own code is at the same address in every process (its libraries,
 * heap and stack are not), as with most programs written in Go.
 *
 * Layouts and numbers are from the System V ABI, chapters 4 and 5, and its supplements for x86-64 and AArch64.
 */

/** Where linkers put programs of a fixed address on both architectures, a multiple of the largest page there is. */
const BASE = 0x400000n;

const ET_EXEC = 2, ET_DYN = 3;
const PT_LOAD = 1, PT_DYNAMIC = 2, PT_GNU_STACK = 0x6474e551;
const SHT_DYNSYM = 11, SHF_ALLOC = 2n;
const SHN_UNDEF = 0, SHN_ABS = 0xfff1, STT_TLS = 6;
const DT_PLTRELSZ = 2n, DT_PLTGOT = 3n, DT_RELA = 7n, DT_RELASZ = 8n, DT_JMPREL = 23n, DT_RELR = 36n;
const DT_RELACOUNT = 0x6ffffff9n, DT_FLAGS_1 = 0x6ffffffbn, DF_1_PIE = 0x08000000n;
/** Entries of the dynamic section that are addresses: hash, strings, symbols, init and fini, versions. */
const DT_ADDRESSES = [3n, 4n, 5n, 6n, 12n, 13n, 23n, 25n, 26n, 32n, 0x6ffffef5n]
  .concat([0x6ffffff0n, 0x6ffffffcn, 0x6ffffffen]);

/**
 * By e_machine: the relocation that adds the load address, and those that mean the same wherever the executable is
 * (addresses of a library's symbols, offsets of thread-local storage).
 */
const RELOCATIONS: Readonly<Record<number, { relative: number; independent: readonly number[] }>> = {
  62: { relative: 8, independent: [1, 6, 7, 16, 17, 18] },
  183: { relative: 1027, independent: [257, 1025, 1026, 1028, 1029, 1030] },
};

const RELA_SIZE = 24;

/**
 * Returns the executable at its fixed address; undefined when it is one already, or has anything that is not
 * known here. `file` is not changed.
 */
export function prelink(file: Uint8Array): Uint8Array | undefined {
  const bytes = file.slice();
  const view = new DataView(bytes.buffer);
  const u16 = (at: number) => view.getUint16(at, true);
  const u32 = (at: number) => view.getUint32(at, true);
  const u64 = (at: number) => view.getBigUint64(at, true);
  const set = (at: number, value: bigint) => view.setBigUint64(at, value, true);
  const move = (at: number) => set(at, u64(at) + BASE);

  const magic = [0x7f, 0x45, 0x4c, 0x46, /* 64 bits */ 2, /* little-endian */ 1];
  const known = RELOCATIONS[u16(18)];
  if (!magic.every((byte, i) => bytes[i] === byte) || u16(16) !== ET_DYN || known === undefined) {
    return undefined;
  }

  const segments = Array.from({ length: u16(56) }, (_, i) => {
    const at = Number(u64(32)) + i * 56;
    return { at, type: u32(at), offset: u64(at + 8), address: u64(at + 16), size: u64(at + 32) };
  });
  /** Where in the file the byte at an address comes from. */
  const place = (address: bigint): number => {
    const segment = segments.find((s) =>
      s.type === PT_LOAD && s.address <= address && address < s.address + s.size
    );
    if (segment === undefined) throw new Error(`address ${address.toString(16)} is in no segment`);
    return Number(address - segment.address + segment.offset);
  };

  const dynamic = new Map<bigint, { at: number; value: bigint }>();
  const section = segments.find((s) => s.type === PT_DYNAMIC);
  if (section === undefined) return undefined;
  for (let at = Number(section.offset); u64(at) !== 0n; at += 16) {
    dynamic.set(u64(at), { at: at + 8, value: u64(at + 8) });
  }
  const table = (address: bigint, size: bigint): number[] => {
    const [start, bytes] = [dynamic.get(address), dynamic.get(size)];
    if (start === undefined || bytes === undefined) return [];
    const first = place(start.value);
    return Array.from({ length: Number(bytes.value) / RELA_SIZE }, (_, i) => first + i * RELA_SIZE);
  };
  const relocations = table(DT_RELA, DT_RELASZ);
  const calls = table(DT_JMPREL, DT_PLTRELSZ);
  const kind = (at: number) => u32(at + 8);
  const rest = relocations.filter((at) => kind(at) !== known.relative);
  // The relative ones come first, as DT_RELACOUNT promises: those that stay are then one piece.
  const relative = relocations.slice(0, relocations.length - rest.length);
  if (
    relative.length === 0 || dynamic.has(DT_RELR) || relative.some((at) => kind(at) !== known.relative) ||
    [...rest, ...calls].some((at) => !known.independent.includes(kind(at)))
  ) return undefined;

  for (const at of relative) set(place(u64(at)), u64(at + 16) + BASE);
  for (const at of calls) {
    // Until the function is first called this is the address of the code that looks it up.
    const slot = place(u64(at));
    if (u64(slot) !== 0n) move(slot);
  }
  for (const at of [...rest, ...calls]) move(at);
  const table0 = dynamic.get(DT_PLTGOT);
  if (table0 !== undefined && u64(place(table0.value)) !== 0n) move(place(table0.value));

  for (let i = 0, at = Number(u64(40)); i < u16(60); i++, at += 64) {
    if (u32(at + 4) === SHT_DYNSYM) {
      const start = Number(u64(at + 24)), end = start + Number(u64(at + 32));
      for (let symbol = start; symbol < end; symbol += 24) {
        const section = u16(symbol + 6), type = (bytes[symbol + 4] ?? 0) & 0xf;
        if (section !== SHN_UNDEF && section !== SHN_ABS && type !== STT_TLS) move(symbol + 8);
      }
    }
    if ((u64(at + 8) & SHF_ALLOC) !== 0n) move(at + 16);
  }
  for (const [tag, { at, value }] of dynamic) {
    if (DT_ADDRESSES.includes(tag)) move(at);
    else if (tag === DT_RELA) set(at, value + BASE + BigInt(relative.length * RELA_SIZE));
    else if (tag === DT_RELASZ) set(at, BigInt(rest.length * RELA_SIZE));
    else if (tag === DT_RELACOUNT) set(at, 0n);
    else if (tag === DT_FLAGS_1) set(at, value & ~DF_1_PIE);
  }
  for (const { at, type } of segments) {
    if (type === PT_GNU_STACK) continue;
    move(at + 16);
    move(at + 24);
  }
  view.setUint16(16, ET_EXEC, true);
  move(24);
  return bytes;
}
