import { afterEach, describe, expect, it } from "vitest";
import { checkLayers } from "../../scripts/check_layers.ts";

const trees: string[] = [];

/** Writes a source tree and returns what checkLayers() finds in it, as `file:line: message`. */
function check(files: Record<string, string>): string[] {
  const root = Deno.makeTempDirSync({ prefix: "berth-layers-" });
  trees.push(root);
  for (const [path, text] of Object.entries(files)) {
    Deno.mkdirSync(`${root}/${path}`.replace(/\/[^/]*$/, ""), { recursive: true });
    Deno.writeTextFileSync(`${root}/${path}`, text);
  }
  return checkLayers(root).map((v) => `${v.file}:${v.line}: ${v.message}`);
}

afterEach(() => {
  for (const tree of trees.splice(0)) Deno.removeSync(tree, { recursive: true });
});

describe("checkLayers()", () => {
  it("accepts imports that point downwards", () => {
    expect(check({
      "main.ts": `await import("./api/a.ts");\nawait import("./cli/mod.ts");\n`,
      "api/a.ts": `import { b } from "../engine/b.ts";\nexport const a = b;\n`,
      "engine/b.ts":
        `import { Hono } from "hono";\nimport { c } from "../ffi/c.ts";\nexport const b = [c, Hono];\n`,
      "ffi/c.ts": `export const c = () => Deno.dlopen("libc.so.6", {});\n`,
      "cli/mod.ts": `import { d } from "../base/d.ts";\nexport const runCli = d;\n`,
      "base/d.ts": `export const d = 1; // import { x } from "../api/a.ts"\n`,
    })).toEqual([]);
  });

  it("reports an import that points upwards, with file and line", () => {
    const found = check({
      "engine/b.ts": `\nimport {\n  a,\n} from "../api/a.ts";\nexport const b = a;\n`,
      "api/a.ts": `export const a = 1;\n`,
    });
    expect(found).toHaveLength(1);
    expect(found[0]).toMatch(/^engine\/b\.ts:2: .*engine\/ must not import api\//);
  });

  it("reports types, dynamic imports and re-exports that point upwards as well", () => {
    const found = check({
      "cli/a.ts": `import type { A } from "../api/a.ts";\nexport type B = A;\n`,
      "cli/b.ts": `export * from "../engine/b.ts";\n`,
      "ffi/c.ts": `export const c = () => import("../runtime/c.ts");\n`,
      "api/a.ts": `export type A = 1;\n`,
      "engine/b.ts": `export const b = 1;\n`,
      "runtime/c.ts": `export const c = 1;\n`,
    });
    expect(found.map((f) => f.split(" ")[0])).toEqual(["cli/a.ts:1:", "cli/b.ts:1:", "ffi/c.ts:1:"]);
  });

  it("reports files that import in a circle, but not a circle of types or of lazy imports", () => {
    const cycle = check({
      "engine/a.ts": `import { b } from "./b.ts";\nexport const a = b;\n`,
      "engine/b.ts": `import { a } from "./a.ts";\nexport const b = a;\n`,
    });
    expect(cycle).toEqual(["engine/a.ts:1: imports in a circle: engine/a.ts → engine/b.ts → engine/a.ts"]);
    expect(check({
      "engine/a.ts": `import { type B } from "./b.ts";\nexport type A = B;\n`,
      "engine/b.ts": `import type { A } from "./a.ts";\nexport type B = A | 1;\n`,
    })).toEqual([]);
    expect(check({
      "cli/a.ts": `export const commands = { b: () => import("./b.ts") };\n`,
      "cli/b.ts": `import { commands } from "./a.ts";\nexport const b = () => Object.keys(commands);\n`,
    })).toEqual([]);
  });

  it("lets rooms of one floor use each other in one direction only", () => {
    const files = {
      "image/a.ts": `import { b } from "../fs/b.ts";\nexport const a = b;\n`,
      "fs/b.ts": `export const b = 1;\n`,
    };
    expect(check(files)).toEqual([]);
    const found = check({
      ...files,
      "fs/c.ts": `import { d } from "../image/d.ts";\nexport const c = d;\n`,
      "image/d.ts": `export const d = 1;\n`,
    });
    expect(found).toHaveLength(1);
    expect(found[0]).toMatch(/rooms import in a circle: image → fs → image/);
  });

  it("reports Deno.dlopen outside ffi/", () => {
    expect(check({ "net/a.ts": `export const a = 1;\nDeno.dlopen("libc.so.6", {});\n` })).toEqual([
      "net/a.ts:2: Deno.dlopen outside ffi/",
    ]);
  });

  it("reports what makes a shim heavy, however deep", () => {
    const found = check({
      "runtime/shim_main.ts": `import "./deep.ts";\nimport "./other.ts";\n`,
      "runtime/deep.ts": `import { x } from "node:path";\nimport { z } from "zod/mini";\nexport { x, z };\n`,
      "runtime/other.ts":
        `import type { F } from "../fs/f.ts";\nimport { f } from "../fs/f.ts";\nexport type { F };\nf;\n`,
      "fs/f.ts": `export type F = 1;\nexport const f = 1;\n`,
    });
    expect(found.map((f) => f.split(": ").slice(0, 2).join(": "))).toEqual([
      "runtime/deep.ts:1: node:path",
      "runtime/deep.ts:2: zod/mini",
      "runtime/other.ts:2: ../fs/f.ts",
    ]);
  });

  it("reports an import of a file that does not exist", () => {
    expect(check({ "base/a.ts": `import "./gone.ts";\n` })[0]).toMatch(/no such file/);
  });

  it("accepts the repository as it is", () => {
    expect(checkLayers(new URL("../..", import.meta.url).pathname.replace(/\/$/, ""))).toEqual([]);
  });
});
