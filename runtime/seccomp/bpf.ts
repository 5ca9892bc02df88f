/** Classic BPF with labels: what a seccomp filter is written in (linux/filter.h, linux/bpf_common.h). */

/** Opcodes that filters use. */
export const BPF = {
  /** A = 32-bit word of struct seccomp_data at k. */
  LD: 0x20,
  /** A = A & k */
  AND: 0x54,
  JA: 0x05,
  JEQ: 0x15,
  JGT: 0x25,
  JGE: 0x35,
  RET: 0x06,
} as const;

/** BPF_MAXINSNS: more the kernel refuses. */
export const BPF_MAXINSNS = 4096;

export class Label {
  /** Index of the instruction it stands before; known after layout. */
  position = -1;
}

type Jump = typeof BPF.JEQ | typeof BPF.JGT | typeof BPF.JGE;

type Instruction =
  | { readonly kind: "plain"; readonly code: number; readonly k: number }
  | { readonly kind: "goto"; readonly target: Label }
  | {
    readonly kind: "jump";
    readonly code: Jump;
    readonly k: number;
    readonly yes: Label;
    readonly no: Label;
    /** Jumps of more than 255 instructions go by way of a JA right behind. */
    farYes: boolean;
    farNo: boolean;
  }
  | { readonly kind: "label"; readonly label: Label };

/** Collects instructions and lays them out; jumps go forward only, as the kernel demands. */
export class Assembler {
  readonly #code: Instruction[] = [];

  load(offset: number): void {
    this.#code.push({ kind: "plain", code: BPF.LD, k: offset });
  }

  and(mask: number): void {
    this.#code.push({ kind: "plain", code: BPF.AND, k: mask >>> 0 });
  }

  ret(value: number): void {
    this.#code.push({ kind: "plain", code: BPF.RET, k: value >>> 0 });
  }

  goto(target: Label): void {
    this.#code.push({ kind: "goto", target });
  }

  jump(code: Jump, k: number, yes: Label, no: Label): void {
    this.#code.push({ kind: "jump", code, k: k >>> 0, yes, no, farYes: false, farNo: false });
  }

  label(label: Label): void {
    this.#code.push({ kind: "label", label });
  }

  /** Length of an instruction in its present form. */
  static #size(instruction: Instruction): number {
    if (instruction.kind === "label") return 0;
    if (instruction.kind !== "jump") return 1;
    return 1 + Number(instruction.farYes) + Number(instruction.farNo);
  }

  #layout(): number {
    let position = 0;
    for (const instruction of this.#code) {
      if (instruction.kind === "label") instruction.label.position = position;
      position += Assembler.#size(instruction);
    }
    return position;
  }

  /** Lengthens the jumps that do not reach; true when there were any. */
  #relax(): boolean {
    let changed = false;
    let position = 0;
    for (const instruction of this.#code) {
      if (instruction.kind === "jump") {
        const after = position + 1;
        if (!instruction.farYes && instruction.yes.position - after > 255) {
          changed = instruction.farYes = true;
        }
        if (!instruction.farNo && instruction.no.position - after > 255) changed = instruction.farNo = true;
      }
      position += Assembler.#size(instruction);
    }
    return changed;
  }

  /** `struct sock_filter[]`, little-endian: code (16 bits), jt, jf (8 each), k (32). */
  assemble(): Uint8Array<ArrayBuffer> {
    let length = this.#layout();
    while (this.#relax()) length = this.#layout();
    const bytes = new Uint8Array(length * 8);
    const view = new DataView(bytes.buffer);
    let position = 0;
    const emit = (code: number, jt: number, jf: number, k: number): void => {
      view.setUint16(position * 8, code, true);
      view.setUint8(position * 8 + 2, jt);
      view.setUint8(position * 8 + 3, jf);
      view.setUint32(position * 8 + 4, k, true);
      position++;
    };
    const distance = (target: Label): number => {
      const offset = target.position - position - 1;
      if (offset < 0) throw new TypeError("BPF jump does not go forward");
      return offset;
    };
    for (const instruction of this.#code) {
      switch (instruction.kind) {
        case "label":
          break;
        case "plain":
          emit(instruction.code, 0, 0, instruction.k);
          break;
        case "goto":
          emit(BPF.JA, 0, 0, distance(instruction.target));
          break;
        case "jump": {
          const { farYes, farNo } = instruction;
          const jt = farYes ? 0 : distance(instruction.yes);
          const jf = farNo ? Number(farYes) : distance(instruction.no);
          emit(instruction.code, jt, jf, instruction.k);
          if (farYes) emit(BPF.JA, 0, 0, distance(instruction.yes));
          if (farNo) emit(BPF.JA, 0, 0, distance(instruction.no));
          break;
        }
      }
    }
    return bytes;
  }
}
