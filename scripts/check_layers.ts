/**
 * Checks the shape of the house: imports point downwards, nothing imports in circles, libraries are opened in
 * ffi/ only, and what a shim or a container's init loads stays small. Prints `file:line: what is wrong`.
 *
 *     deno run -A scripts/check_layers.ts [root]
 */

/** The rooms, and which rooms each may import besides itself. */
const ROOMS: Record<string, readonly string[]> = {
  base: [],
  ffi: ["base"],
  image: ["image/registry", "fs", "net", "runtime", "cgroups", "ffi", "base"],
  // How registries are spoken to: for the engine's pulls and pushes, and for what the command line asks them itself.
  "image/registry": ["base"],
  fs: ["image", "net", "runtime", "cgroups", "ffi", "base"],
  net: ["image", "fs", "runtime", "cgroups", "ffi", "base"],
  runtime: ["image", "fs", "net", "cgroups", "ffi", "base"],
  cgroups: ["image", "fs", "net", "runtime", "ffi", "base"],
  engine: ["image", "image/registry", "fs", "net", "runtime", "cgroups", "ffi", "base"],
  api: ["engine", "image", "image/registry", "fs", "net", "runtime", "cgroups", "ffi", "base"],
  // Starts the engine inside its namespaces, and is gone.
  bootstrap: ["ffi", "base"],
  // The command line knows the engine by HTTP alone; ffi is for the terminal, registries are for `manifest`.
  cli: ["image/registry", "ffi", "base"],
  // What other people's programs load: it starts the executable, and knows nothing of what is inside.
  lib: [],
};

/** Rooms of which only types may be imported: that leaves no trace at run time. */
const TYPES_OF: Record<string, readonly string[]> = { bootstrap: ["engine"] };

/** Programs that are to stay small, and the only rooms they may load: one for each container, and one for all networks. */
const SMALL_ENTRIES: Record<string, readonly string[]> = {
  "runtime/shim_main.ts": ["runtime", "ffi", "base"],
  "net/netd/main.ts": ["net", "ffi", "base"],
};

interface Import {
  from: string;
  line: number;
  specifier: string;
  /** Path below the root; absent for packages. */
  target?: string;
  typeOnly: boolean;
  /** `import("…")`: loaded when it is needed. */
  lazy: boolean;
}

export interface Violation {
  file: string;
  line: number;
  message: string;
}

/** Checks the tree below `root` and returns what breaks the rules, in order of file and line. */
export function checkLayers(root: string): Violation[] {
  const files = new Map<string, Import[]>();
  const violations: Violation[] = [];
  for (const file of sourceFiles(root)) {
    const text = Deno.readTextFileSync(`${root}/${file}`);
    const code = blankComments(text);
    files.set(file, findImports(file, code));
    if (roomOf(file) !== "ffi") {
      for (const match of code.matchAll(/\bDeno\s*\.\s*dlopen\b/g)) {
        violations.push({ file, line: lineAt(code, match.index), message: "Deno.dlopen outside ffi/" });
      }
    }
  }
  for (const [file, imports] of files) {
    for (const one of imports) violations.push(...checkImport(root, file, one));
  }
  violations.push(...findRoomCycles(files), ...findFileCycles(files));
  for (const [entry, rooms] of Object.entries(SMALL_ENTRIES)) {
    violations.push(...checkSmall(entry, rooms, files));
  }
  return violations.sort((a, b) => a.file.localeCompare(b.file) || a.line - b.line);
}

function checkImport(root: string, file: string, { line, specifier, target, typeOnly }: Import): Violation[] {
  if (target === undefined) {
    if (/^(https?|jsr):/.test(specifier)) {
      return [{ file, line, message: `${specifier}: only packages from deno.json and node: modules` }];
    }
    return [];
  }
  const here = roomOf(file);
  const there = roomOf(target);
  if (!exists(`${root}/${target}`)) return [{ file, line, message: `${specifier}: no such file` }];
  if (here === undefined || here === there) return [];
  if (there === undefined) {
    return [{ file, line, message: `${here}/ must not import ${target}: it is in no room below it` }];
  }
  if (ROOMS[here]?.includes(there) || (typeOnly && TYPES_OF[here]?.includes(there))) return [];
  return [{ file, line, message: `${here}/ must not import ${there}/: imports point downwards only` }];
}

/** The rooms of one floor may use each other, in one direction. */
function findRoomCycles(files: Map<string, Import[]>): Violation[] {
  const edges = new Map<string, Import>();
  for (const imports of files.values()) {
    for (const one of imports) {
      const here = roomOf(one.from);
      const there = one.target === undefined ? undefined : roomOf(one.target);
      if (here === undefined || there === undefined || here === there) continue;
      if (!edges.has(`${here} ${there}`)) edges.set(`${here} ${there}`, one);
    }
  }
  const next = (room: string) =>
    [...edges.keys()].filter((e) => e.startsWith(`${room} `)).map((e) => e.slice(room.length + 1));
  return cycles(Object.keys(ROOMS), next).map((path) => {
    const edge = edges.get(`${path[0]} ${path[1] ?? path[0]}`);
    return {
      file: edge?.from ?? "",
      line: edge?.line ?? 0,
      message: `rooms import in a circle: ${[...path, path[0]].join(" → ")}`,
    };
  });
}

/** Type-only imports leave no trace at run time, lazy ones wait until everything is loaded: both may point back. */
function findFileCycles(files: Map<string, Import[]>): Violation[] {
  const next = (file: string) =>
    (files.get(file) ?? []).filter((i) => !i.typeOnly && !i.lazy).flatMap((i) =>
      i.target === undefined ? [] : [i.target]
    );
  return cycles([...files.keys()], next).map((path) => {
    const first = path[0] ?? "";
    const line = files.get(first)?.find((i) => i.target === (path[1] ?? first))?.line ?? 0;
    return { file: first, line, message: `imports in a circle: ${[...path, first].join(" → ")}` };
  });
}

function checkSmall(entry: string, rooms: readonly string[], files: Map<string, Import[]>): Violation[] {
  const violations: Violation[] = [];
  const seen = new Set<string>();
  const visit = (file: string) => {
    if (seen.has(file)) return;
    seen.add(file);
    for (const one of files.get(file) ?? []) {
      if (one.typeOnly) continue;
      const room = one.target === undefined ? undefined : roomOf(one.target);
      if (one.target === undefined || room === undefined || !rooms.includes(room)) {
        const why = `${entry} loads this file, and must load nothing but ${rooms.join(", ")}`;
        violations.push({ file, line: one.line, message: `${one.specifier}: ${why}` });
      } else {
        visit(one.target);
      }
    }
  };
  visit(entry);
  return violations;
}

/** One cycle for each way back to a node that is still on the path (depth-first). */
function cycles(nodes: string[], next: (node: string) => string[]): string[][] {
  const found: string[][] = [];
  const done = new Set<string>();
  const path: string[] = [];
  const visit = (node: string) => {
    const at = path.indexOf(node);
    if (at >= 0) {
      found.push(path.slice(at));
      return;
    }
    if (done.has(node)) return;
    path.push(node);
    for (const target of next(node)) visit(target);
    path.pop();
    done.add(node);
  };
  for (const node of nodes) visit(node);
  return found;
}

/** `import … from`, `export … from`, `import "…"`, `import("…")`, `new URL("….ts", import.meta.url)`, `workerUrl("…")`. */
function findImports(file: string, code: string): Import[] {
  const found: Import[] = [];
  const add = (
    index: number,
    specifier: string,
    typeOnly: boolean,
    lazy = false,
    target = resolve(file, specifier),
  ) => {
    const line = lineAt(code, index);
    found.push({ from: file, line, specifier, typeOnly, lazy, ...(target === undefined ? {} : { target }) });
  };
  const statement = /^[ \t]*(?:import|export)\b((?:[^"'`;()=]|=>)*?)\bfrom\s*["']([^"']+)["']/gm;
  for (const m of code.matchAll(statement)) {
    const names = m[1] ?? "";
    const listed = /^\s*\{([\s\S]*)\}\s*$/.exec(names)?.[1];
    const allTypes = listed !== undefined && listed.trim() !== "" &&
      listed.split(",").every((n) => n.trim() === "" || /^type\s/.test(n.trim()));
    add(m.index, m[2] ?? "", /^\s*type\s/.test(names) || allTypes);
  }
  for (const m of code.matchAll(/^[ \t]*import\s*["']([^"']+)["']/gm)) add(m.index, m[1] ?? "", false);
  for (const m of code.matchAll(/\b(?:type\s[^\n]*|typeof\s+)?import\(\s*["']([^"']+)["']/g)) {
    add(m.index, m[1] ?? "", /^type/.test(m[0]), true);
  }
  for (const m of code.matchAll(/\bnew URL\(\s*["']([^"']+\.ts)["']\s*,\s*import\.meta\.url/g)) {
    add(m.index, m[1] ?? "", false);
  }
  for (const m of code.matchAll(/\bworkerUrl\(\s*["']([^"']+)["']/g)) {
    // A worker is a program of its own: what it loads is not loaded by who starts it.
    add(m.index, m[1] ?? "", true, true, m[1]);
  }
  return found;
}

/** Replaces comments by blanks, and keeps the line numbers. Strings and templates are left alone. */
function blankComments(text: string): string {
  const token = /\/\/[^\n]*|\/\*[\s\S]*?\*\/|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'|`(?:\\[\s\S]|[^`\\])*`/g;
  return text.replace(token, (t) => t.startsWith("//") || t.startsWith("/*") ? t.replace(/[^\n]/g, " ") : t);
}

function resolve(file: string, specifier: string): string | undefined {
  if (!specifier.startsWith(".")) return undefined;
  const parts = file.split("/").slice(0, -1);
  for (const part of specifier.split("/")) {
    if (part === "..") parts.pop();
    else if (part !== ".") parts.push(part);
  }
  return parts.join("/");
}

function* sourceFiles(root: string, below = ""): Generator<string> {
  const entries = [...Deno.readDirSync(`${root}/${below}`)].sort((a, b) => a.name.localeCompare(b.name));
  for (const entry of entries) {
    const path = below === "" ? entry.name : `${below}/${entry.name}`;
    if (entry.isDirectory && (below !== "" || entry.name in ROOMS)) yield* sourceFiles(root, path);
    else if (entry.isFile && entry.name.endsWith(".ts") && (below !== "" || entry.name === "main.ts")) {
      yield path;
    }
  }
}

/** The room a file is in; undefined for main.ts and everything that is no part of the program. */
function roomOf(file: string): string | undefined {
  const parts = file.split("/").slice(0, -1);
  // The innermost: a room may have a room of its own.
  for (; parts.length > 0; parts.pop()) if (parts.join("/") in ROOMS) return parts.join("/");
  return undefined;
}

function lineAt(text: string, index: number): number {
  // A match of `^[ \t]*` may begin at the end of the line before.
  return text.slice(0, index).split("\n").length;
}

function exists(path: string): boolean {
  try {
    return Deno.statSync(path).isFile;
  } catch {
    return false;
  }
}

if (import.meta.main) {
  const root = Deno.args[0] ?? new URL("..", import.meta.url).pathname.replace(/\/$/, "");
  const violations = checkLayers(root);
  for (const { file, line, message } of violations) console.error(`${file}:${line}: ${message}`);
  if (violations.length > 0) Deno.exit(1);
  console.log("layers: imports point downwards, no cycles");
}
