/**
 * Assembles WebAssembly's text format: the part of it that berth's own modules are written in. A module is a memory and functions, instructions
 * are folded, each in parentheses.
 *
 *     deno run -R scripts/assemble_wat.ts runtime/log_entries.wat
 */

type Expression = string | readonly Expression[];

const TYPES: Record<string, number> = { i32: 0x7f, i64: 0x7e, v128: 0x7b };

/** Instructions without immediates. Numbers of the WebAssembly specification 2.0, section 5.4. */
const PLAIN: Record<string, readonly number[]> = {
  unreachable: [0x00],
  return: [0x0f],
  select: [0x1b],
  "i32.eqz": [0x45],
  "i32.eq": [0x46],
  "i32.ne": [0x47],
  "i32.lt_u": [0x49],
  "i32.gt_u": [0x4b],
  "i32.ge_u": [0x4f],
  "i32.ctz": [0x68],
  "i32.add": [0x6a],
  "i32.sub": [0x6b],
  "i32.and": [0x71],
  "i32.or": [0x72],
  "i32.shl": [0x74],
  "i32.shr_u": [0x76],
  "i8x16.eq": [0xfd, 0x23],
  "i8x16.lt_s": [0xfd, 0x25],
  "v128.or": [0xfd, 0x50],
  "i8x16.bitmask": [0xfd, 0x64],
};

/** Loads and stores. Their alignment is only a hint: none is given. */
const MEMORY: Record<string, readonly number[]> = {
  "i32.load": [0x28],
  "i32.load8_u": [0x2d],
  "i32.store": [0x36],
  "i64.store": [0x37],
  "i32.store8": [0x3a],
  "i32.store16": [0x3b],
  "v128.load": [0xfd, 0x00],
  "v128.store": [0xfd, 0x0b],
};

const LOCAL: Record<string, number> = { "local.get": 0x20, "local.set": 0x21 };
const BRANCH: Record<string, number> = { br: 0x0c, br_if: 0x0d };
const NO_RESULT = 0x40, BLOCK = 0x02, LOOP = 0x03, IF = 0x04, ELSE = 0x05, END = 0x0b;

/** @throws {Error} at what is no module, or not written in the part of the format that is known here. */
export function assembleWat(text: string): Uint8Array<ArrayBuffer> {
  const [keyword, ...fields] = list(parse(text));
  if (keyword !== "module") throw new Error("no module");
  const types: number[][] = [],
    functions: number[][] = [],
    memories: number[][] = [],
    exports: number[][] = [];
  const codes: number[][] = [];
  for (const field of fields) {
    const [kind, exported, ...rest] = list(field);
    const name = word(list(exported)[1]).slice(1, -1);
    if (kind === "memory") {
      exports.push([...sized([...new TextEncoder().encode(name)]), 0x02, ...unsigned(memories.length)]);
      memories.push([0x00, ...unsigned(number(rest[0]))]);
    } else if (kind === "func") {
      exports.push([...sized([...new TextEncoder().encode(name)]), 0x00, ...unsigned(functions.length)]);
      const { type, code } = functionOf(rest);
      functions.push(unsigned(types.length));
      types.push(type);
      codes.push(sized(code));
    } else throw new Error(`unknown field ${kind}`);
  }
  const section = (id: number, items: number[][]) => [id, ...sized(vector(items))];
  return Uint8Array.from([
    ...[0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
    ...section(1, types),
    ...section(3, functions),
    ...section(5, memories),
    ...section(7, exports),
    ...section(10, codes),
  ]);
}

function functionOf(fields: readonly Expression[]): { type: number[]; code: number[] } {
  const parameters: number[] = [], results: number[] = [], locals: number[] = [];
  const names = new Map<string, number>();
  const body: number[] = [];
  for (const field of fields) {
    const [keyword, ...rest] = list(field);
    if (keyword === "result") results.push(...rest.map(valueType));
    else if (keyword === "param" || keyword === "local") {
      names.set(word(rest[0]), names.size);
      (keyword === "param" ? parameters : locals).push(valueType(rest[1]));
    } else body.push(...instruction(field, names, []));
  }
  const type = [0x60, ...sizedItems(parameters), ...sizedItems(results)];
  return { type, code: [...vector(locals.map((of) => [1, of])), ...body, END] };
}

/** @param labels of the blocks around it, the innermost first; undefined for one that cannot be branched to. */
function instruction(
  expression: Expression,
  names: ReadonlyMap<string, number>,
  labels: readonly (string | undefined)[],
): number[] {
  const [head, ...rest] = list(expression);
  const name = word(head);
  const all = (operands: readonly Expression[], inside = labels) =>
    operands.flatMap((operand) => instruction(operand, names, inside));
  const plain = PLAIN[name];
  if (plain !== undefined) return [...all(rest), ...plain];
  const memory = MEMORY[name];
  if (memory !== undefined) {
    const offset = typeof rest[0] === "string" ? /^offset=(\d+)$/.exec(rest[0])?.[1] : undefined;
    return [
      ...all(offset === undefined ? rest : rest.slice(1)),
      ...memory,
      0,
      ...unsigned(Number(offset ?? 0)),
    ];
  }
  const local = LOCAL[name];
  if (local !== undefined) {
    const index = names.get(word(rest[0]));
    if (index === undefined) throw new Error(`no local ${rest[0]}`);
    return [...all(rest.slice(1)), local, ...unsigned(index)];
  }
  const branch = BRANCH[name];
  if (branch !== undefined) {
    const depth = labels.indexOf(word(rest[0]));
    if (depth < 0) throw new Error(`no block ${rest[0]}`);
    return [...all(rest.slice(1)), branch, ...unsigned(depth)];
  }
  switch (name) {
    case "i32.const":
      return [0x41, ...signed(BigInt.asIntN(32, BigInt(word(rest[0]))))];
    case "i64.const":
      return [0x42, ...signed(BigInt.asIntN(64, BigInt(word(rest[0]))))];
    case "v128.const": {
      if (rest[0] !== "i32x4" || rest.length !== 5) {
        throw new Error("v128.const wants i32x4 and four numbers");
      }
      return [0xfd, 0x0c, ...rest.slice(1).flatMap((lane) => littleEndian(number(lane)))];
    }
    case "block":
    case "loop":
      return [
        name === "block" ? BLOCK : LOOP,
        NO_RESULT,
        ...all(rest.slice(1), [word(rest[0]), ...labels]),
        END,
      ];
    case "if": {
      const inside = [undefined, ...labels];
      const [condition, ...branches] = rest;
      const [yes, no] = ["then", "else"].map((keyword) =>
        branches.map(list).find(([first]) => first === keyword)?.slice(1)
      );
      return [
        ...all(condition === undefined ? [] : [condition]),
        ...[IF, NO_RESULT],
        ...all(yes ?? [], inside),
        ...no === undefined ? [] : [ELSE, ...all(no, inside)],
        END,
      ];
    }
  }
  throw new Error(`unknown instruction ${name}`);
}

/** Words and lists of them; comments begin with two semicolons. */
function parse(text: string): Expression {
  const open: Expression[][] = [[]];
  for (const [token] of text.replace(/;;.*/g, "").matchAll(/"[^"]*"|[()]|[^\s()"]+/g)) {
    if (token === "(") open.push([]);
    else if (token === ")") {
      const closed = open.pop() ?? [];
      if (open.length === 0) throw new Error("unexpected )");
      open.at(-1)?.push(closed);
    } else open.at(-1)?.push(token);
  }
  const [module, ...more] = open[0] ?? [];
  if (open.length !== 1 || module === undefined || more.length > 0) throw new Error("not one expression");
  return module;
}

function list(expression: Expression | undefined): readonly Expression[] {
  if (expression === undefined || typeof expression === "string") throw new Error(`no list: ${expression}`);
  return expression;
}

function word(expression: Expression | undefined): string {
  if (typeof expression !== "string") throw new Error(`no word: ${JSON.stringify(expression)}`);
  return expression;
}

function number(expression: Expression | undefined): number {
  const value = Number(word(expression));
  if (!Number.isInteger(value)) throw new Error(`no number: ${expression}`);
  return value;
}

function valueType(expression: Expression | undefined): number {
  const type = TYPES[word(expression)];
  if (type === undefined) throw new Error(`unknown type ${expression}`);
  return type;
}

/** LEB128. */
function unsigned(value: number): number[] {
  return value < 0x80 ? [value] : [value & 0x7f | 0x80, ...unsigned(value >>> 7)];
}

function signed(value: bigint): number[] {
  const low = Number(value & 0x7fn);
  const rest = value >> 7n;
  const done = rest === 0n && (low & 0x40) === 0 || rest === -1n && (low & 0x40) !== 0;
  return done ? [low] : [low | 0x80, ...signed(rest)];
}

const littleEndian = (value: number): number[] => [0, 8, 16, 24].map((shift) => value >>> shift & 0xff);
const sized = (bytes: readonly number[]): number[] => [...unsigned(bytes.length), ...bytes];
const sizedItems = sized;
const vector = (
  items: readonly (readonly number[])[],
): number[] => [...unsigned(items.length), ...items.flat()];

if (import.meta.main) console.log(assembleWat(await Deno.readTextFile(Deno.args[0] ?? "")).toHex());
