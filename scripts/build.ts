/**
 * Makes dist/berth, one executable file that needs neither the source tree nor node_modules.
 *
 *     scripts/deno run -A scripts/build.ts [--package=compiled|self-extracting] [--root=DIR] [--out=FILE]
 *
 * First berth is bundled: main.ts, each role that it loads lazily, and each Worker's entry. Then either
 * `deno compile` embeds the bundle into Deno's own runtime (its base binary comes from $DENORT_BIN or is downloaded),
 * or, where that cannot be had, a header for sh and a compressed archive of Deno and bundle become one file.
 */

import { gzipSync } from "node:zlib";
import { createHash } from "node:crypto";
import { denoFlags, INTERNAL_ROLES, PACKED_DENO_FLAGS, ROLE_FLAGS } from "../base/self.ts";
import { type Packaging, VERSION } from "../base/version.ts";
import { prelink } from "./prelink.ts";
import { type ArchiveFile, tarFiles } from "./tar.ts";

const HERE = new URL("..", import.meta.url).pathname.replace(/\/$/, "");

interface Options {
  root: string;
  out: string;
  /** Absent: compiled when that is possible. */
  package?: Exclude<Packaging, "source">;
}

/** Options of `deno compile` that are as in PACKED_DENO_FLAGS; V8's flags are fixed for all roles. */
const COMPILE_FLAGS = ["-A", "--no-check", "--no-config", "--no-lock", "--no-remote", "--no-npm"];

async function build(options: Options): Promise<void> {
  await buildLibrary(options);
  const wanted = options.package;
  if (wanted !== "self-extracting") {
    const reason = await compile(options);
    if (reason === undefined) return;
    if (wanted === "compiled") throw new Error(`cannot compile: ${reason}`);
    console.log(`    deno compile is not possible here (${reason}): making a self-extracting file`);
  }
  await selfExtracting(options);
}

/** Beside the executable: lib/engine.js for programs that start engines of their own, with its types. */
async function buildLibrary({ root, out }: Options): Promise<void> {
  const source = `${root}/lib/engine.ts`;
  if (!exists(source)) return;
  const dir = `${out.replace(/[^/]*$/, "")}lib`;
  const flags = ["--format=esm", "--platform=node", "--target=es2022", "--log-level=warning"];
  await run(esbuildPath(), [source, ...flags, `--outfile=${dir}/engine.js`], { cwd: root });
  Deno.copyFileSync(`${root}/lib/engine_types.d.ts`, `${dir}/engine.d.ts`);
}

/**
 * Bundles into a new directory, and returns it. Each module that main.ts loads lazily becomes one file, so that a role
 * reads two files and nothing of another role; chunks shared by all would be up to twenty files, which costs a command
 * 3 ms. Within a file, what is imported lazily is still run only when it is needed.
 */
async function bundle(options: Options, packaging: Packaging): Promise<string> {
  const { root } = options;
  const out = `${options.out}.${packaging}`;
  await removeIfThere(out);
  const main = Deno.readTextFileSync(`${root}/main.ts`);
  const roles = [...main.matchAll(/\bimport\("\.\/([^"]+\.ts)"\)/g)].map((m) => m[1] ?? "");
  const git = await gitFacts(root);
  const defines = { BERTH_PACKAGING: packaging, BERTH_GIT_COMMIT: git.commit, BERTH_BUILD_TIME: git.date };
  const flags = [
    "--bundle",
    "--format=esm",
    "--platform=neutral",
    "--main-fields=module,main",
    "--target=esnext",
    "--external:node:*",
    "--minify-syntax",
    "--minify-whitespace",
    "--legal-comments=none",
    `--outdir=${out}`,
    "--log-level=warning",
    ...Object.entries(defines).map(([name, value]) => `--define:${name}=${JSON.stringify(value)}`),
  ];
  const where = { cwd: root, env: { NODE_PATH: `${HERE}/node_modules` } };
  const entries = [
    ...roles.map((path) => `${roleName(path)}=${path}`),
    ...[...findWorkers(root)].map((path) => `${workerName(path)}=${path}`),
  ];
  if (entries.length > 0) await run(esbuildPath(), [...flags, ...entries], where);
  await run(esbuildPath(), [...flags, "main.ts", ...roles.map((path) => `--external:./${path}`)], where);
  let bundled = Deno.readTextFileSync(`${out}/main.js`);
  for (const path of roles) bundled = bundled.replaceAll(`"./${path}"`, `"./${roleName(path)}.js"`);
  if (packaging === "self-extracting") {
    // Deno reads every file that a literal import() names before it runs the first line: 1 MB for a command that needs
    // none of it, 4 ms and memory in each shim. It cannot see through a call. (`deno compile` must see them.)
    bundled = bundled.replaceAll(/\bimport\(("\.\/[^"]+")\)/g, "import(String($1))");
    if (exists(`${root}/${CLI}`)) {
      const clients = [CLI, ...singleCommands(root).map((name) => `${SINGLE}/${name}.ts`)];
      const named = clients.map((path) => `${roleName(path)}=${path}`);
      await run(esbuildPath(), [...flags, ...named, "--external:./main.ts"], where);
      for (const path of clients) {
        const file = `${out}/${roleName(path)}.js`;
        const text = Deno.readTextFileSync(file);
        Deno.writeTextFileSync(
          file,
          text.replace('import("./main.ts")', `import(String("./${roleName(CLI)}.js"))`),
        );
      }
    }
  }
  Deno.writeTextFileSync(`${out}/main.js`, bundled);
  return out;
}

/** The command line's own entry in a self-extracting file: one file less to find than by way of main.js. */
const CLI = "cli/main.ts";

/** Commands that have an entry of their own, read in place of the whole command line. */
const SINGLE = "cli/single";

function singleCommands(root: string): string[] {
  if (!exists(`${root}/${CLI}`)) return [];
  return [...Deno.readDirSync(`${root}/${SINGLE}`)].map((entry) => entry.name.replace(/\.ts$/, "")).sort();
}

/** File name without ending of a module that main.ts loads. */
function roleName(source: string): string {
  return source.replaceAll("/", "_").replace(/\.ts$/, "");
}

/** File name without ending of a Worker's entry: workerUrl() in base/self.ts looks for it beside the other files. */
function workerName(source: string): string {
  return source.slice(source.lastIndexOf("/") + 1).replace(/\.ts$/, "");
}

/** Makes a compiled executable, or returns why that is not possible. */
async function compile(options: Options): Promise<string | undefined> {
  const base = Deno.env.get("DENORT_BIN");
  if (base === undefined && !await canDownload()) {
    return "its base binary cannot be downloaded, and DENORT_BIN is not set";
  }
  const dir = await bundle(options, "compiled");
  const next = `${options.out}.next`;
  try {
    const workers = [...findWorkers(options.root)].flatMap((
      w,
    ) => ["--include", `${dir}/${workerName(w)}.js`]);
    const flags = [...COMPILE_FLAGS, "--v8-flags=--optimize-for-size", ...workers, "--output", next];
    await run(Deno.execPath(), ["compile", "--quiet", ...flags, `${dir}/main.js`], { timeout: 300_000 });
    // A wrong base binary makes a file that is no berth.
    const out = await run(next, ["--version"], { timeout: 20_000 });
    if (!out.toLowerCase().includes("berth")) return `the result says ${JSON.stringify(out.trim())}`;
    await Deno.rename(next, options.out);
    await report(options.out, "compiled");
    return undefined;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  } finally {
    await removeIfThere(dir);
    await removeIfThere(next);
  }
}

/** Whether the server that `deno compile` downloads from answers at all. */
async function canDownload(): Promise<boolean> {
  const url = `https://dl.deno.land/release/v${Deno.version.deno}/denort-${Deno.build.target}.zip`;
  try {
    const answer = await fetch(url, { method: "HEAD", signal: AbortSignal.timeout(5_000) });
    return answer.ok;
  } catch {
    return false;
  }
}

async function selfExtracting(options: Options): Promise<void> {
  const dir = await bundle(options, "self-extracting");
  const names = [...Deno.readDirSync(dir)].map((e) => e.name).sort();
  const files: ArchiveFile[] = names.map((name) => ({
    name,
    data: Deno.readFileSync(`${dir}/${name}`),
    mode: 0o400,
  }));
  files.push({ name: "LICENSES.txt", data: new TextEncoder().encode(licenses()), mode: 0o400 });
  await removeIfThere(dir);

  // Two gzip members are one stream: the large one is compressed once for each version of Deno.
  const deno = compressedDeno();
  const rest = gzipSync(tarFiles(files, { end: true }), { level: 9 });
  const hash = createHash("sha256").update(deno.bytes).update(rest).digest("hex").slice(0, 16);
  const unpacked = deno.size + files.reduce((sum, f) => sum + f.data.length, 0);
  const header = headerText({
    VERSION,
    HASH: hash,
    ARCH: Deno.build.arch,
    FILES: ["deno", ...names].join(" "),
    MEGABYTES: String(Math.ceil(unpacked / 1e6)),
    DENO_FLAGS: PACKED_DENO_FLAGS.join(" "),
    ROLES: INTERNAL_ROLES.map((role) => roleCase(`@${role}`, role, "main.js")).join("\n"),
    SINGLE: singleCommands(options.root).map((name) =>
      roleCase(name, "single", `${roleName(`${SINGLE}/${name}.ts`)}.js`)
    ).join("\n"),
    CLI_ENTRY: names.includes(`${roleName(CLI)}.js`) ? `${roleName(CLI)}.js` : "main.js",
  }, deno.bytes.length + rest.length);

  const next = `${options.out}.next`;
  using file = Deno.openSync(next, { write: true, create: true, truncate: true, mode: 0o755 });
  for (const part of [header, deno.bytes, rest]) {
    for (let at = 0; at < part.length;) at += file.writeSync(part.subarray(at));
  }
  Deno.chmodSync(next, 0o755);
  Deno.renameSync(next, options.out);
  await report(options.out, "self-extracting");
}

/** The header's line for a first argument. */
function roleCase(word: string, role: string, entry: string): string {
  const flags = ROLE_FLAGS[role] ?? { v8: "", cache: "cli" };
  return `    ${word}) flags='${denoFlags(flags).join(" ")}' deno_dir=${flags.cache} entry=${entry} ;;`;
}

/** The header with every `@NAME@` filled in. Its own length is one of the values. */
function headerText(values: Record<string, string>, payload: number): Uint8Array {
  const template = Deno.readTextFileSync(`${HERE}/scripts/self_extracting.sh`);
  const fill = (header: number) => {
    const all: Record<string, string> = {
      ...values,
      HEADER: String(header),
      TOTAL: String(header + payload),
    };
    return new TextEncoder().encode(template.replace(/@([A-Z_]+)@/g, (_, name: string) => {
      const value = all[name];
      if (value === undefined) throw new Error(`self_extracting.sh asks for an unknown value: ${name}`);
      return value;
    }));
  };
  let text = fill(0);
  while (fill(text.length).length !== text.length) text = fill(text.length);
  return fill(text.length);
}

/** Deno's executable as a compressed archive without end, kept in .cache/ for the next build. */
function compressedDeno(): { bytes: Uint8Array; size: number } {
  const path = Deno.execPath();
  const size = Deno.statSync(path).size;
  // What is made of Deno depends on how it is made.
  const how = createHash("sha256").update(Deno.readFileSync(`${HERE}/scripts/prelink.ts`)).digest("hex")
    .slice(0, 8);
  const cached = `${HERE}/.cache/deno-${Deno.version.deno}-${Deno.build.target}-${size}-${how}.tar.gz`;
  try {
    return { bytes: Deno.readFileSync(cached), size };
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
  Deno.mkdirSync(`${HERE}/.cache`, { recursive: true });
  const data = prelinkedDeno(path);
  const bytes = gzipSync(tarFiles([{ name: "deno", data, mode: 0o500 }], { end: false }), { level: 9 });
  Deno.writeFileSync(`${cached}.${Deno.pid}`, bytes);
  Deno.renameSync(`${cached}.${Deno.pid}`, cached);
  return { bytes, size };
}

/** Deno's executable at a fixed address, which starts faster; as it is when that does not work with it. */
function prelinkedDeno(path: string): Uint8Array {
  const original = Deno.readFileSync(path);
  const data = prelink(original);
  if (data === undefined) return original;
  const trial = Deno.makeTempFileSync({ dir: `${HERE}/.cache` });
  try {
    Deno.writeFileSync(trial, data, { mode: 0o700 });
    Deno.chmodSync(trial, 0o700);
    const { success } = new Deno.Command(trial, { args: ["eval", "0"], stdout: "null", stderr: "null" })
      .outputSync();
    if (success) return data;
  } finally {
    Deno.removeSync(trial);
  }
  console.log("    this Deno does not run at a fixed address: it is taken as it is");
  return original;
}

/** The licences of what is inside, which must travel with it. */
function licenses(): string {
  const parts = [`berth\n\n${Deno.readTextFileSync(`${HERE}/LICENSE`)}`];
  for (const name of ["deno", "hono", "zod"]) {
    const dir = `${HERE}/node_modules/${name}`;
    const file = [...Deno.readDirSync(dir)].find((e) => /^licen[cs]e(\.|$)/i.test(e.name));
    if (file !== undefined) parts.push(`${name}\n\n${Deno.readTextFileSync(`${dir}/${file.name}`)}`);
  }
  return parts.join("\n\n----------------------------------------\n\n");
}

/** Workers are programs of their own: `<room>/…_worker.ts`, see workerUrl() in base/self.ts. */
function* findWorkers(root: string, below = ""): Generator<string> {
  const skip = ["node_modules", "dist", "tests", "bench", "scripts", "docs", "coverage"];
  for (const entry of Deno.readDirSync(`${root}/${below}`)) {
    const path = `${below}${entry.name}`;
    if (entry.isDirectory && !skip.includes(entry.name) && !entry.name.startsWith(".")) {
      yield* findWorkers(root, `${path}/`);
    } else if (entry.isFile && entry.name.endsWith("_worker.ts")) yield path;
  }
}

function esbuildPath(): string {
  const platform = { x86_64: "linux-x64", aarch64: "linux-arm64" }[Deno.build.arch];
  return `${HERE}/node_modules/@esbuild/${platform}/bin/esbuild`;
}

/** Commit and its date. A tree without git, or of somebody else, has none: that is no error. */
async function gitFacts(root: string): Promise<{ commit: string; date: string }> {
  try {
    const commit = (await run("git", ["rev-parse", "--short=12", "HEAD"], { cwd: root })).trim();
    const dirty =
      (await run("git", ["status", "--porcelain", "--untracked-files=no"], { cwd: root })).trim() !== "";
    const date = (await run("git", ["log", "-1", "--format=%cI"], { cwd: root })).trim();
    return { commit: dirty ? `${commit}-dirty` : commit, date };
  } catch {
    return { commit: "", date: "" };
  }
}

async function run(
  command: string,
  args: string[],
  options: { cwd?: string; env?: Record<string, string>; timeout?: number } = {},
): Promise<string> {
  const { timeout, ...rest } = options;
  const signal = timeout === undefined ? {} : { signal: AbortSignal.timeout(timeout) };
  const child = new Deno.Command(command, {
    args,
    ...rest,
    ...signal,
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  });
  const { success, code, stdout, stderr } = await child.output();
  const text = new TextDecoder();
  if (!success) {
    throw new Error(`${command.split("/").at(-1)} ended with ${code}: ${text.decode(stderr).trim()}`);
  }
  const warnings = text.decode(stderr).trim();
  if (warnings !== "") console.error(warnings);
  return text.decode(stdout);
}

function exists(path: string): boolean {
  try {
    return Deno.statSync(path).isFile;
  } catch {
    return false;
  }
}

async function removeIfThere(path: string): Promise<void> {
  await Deno.remove(path, { recursive: true }).catch((error: unknown) => {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  });
}

async function report(path: string, packaging: Packaging): Promise<void> {
  const { size } = await Deno.stat(path);
  console.log(`    ${path.replace(`${HERE}/`, "")}: ${packaging}, ${(size / 1e6).toFixed(1)} MB`);
}

/** Reads `--name=value` arguments; everything else is a mistake. */
function parseOptions(args: string[]): Options {
  const options: Options = { root: HERE, out: `${HERE}/dist/berth` };
  for (const arg of args) {
    const [, name, value] = /^--([a-z]+)=(.+)$/.exec(arg) ?? [];
    if (name === "root" && value !== undefined) options.root = value;
    else if (name === "out" && value !== undefined) options.out = value;
    else if (name === "package" && (value === "compiled" || value === "self-extracting")) {
      options.package = value;
    } else {throw new Error(
        `unknown argument ${arg}: --package=compiled|self-extracting, --root=DIR, --out=FILE`,
      );}
  }
  return options;
}

if (import.meta.main) {
  try {
    const options = parseOptions(Deno.args);
    await Deno.mkdir(options.out.slice(0, options.out.lastIndexOf("/")), { recursive: true });
    await build(options);
  } catch (error) {
    console.error(`build: ${error instanceof Error ? error.message : String(error)}`);
    Deno.exit(1);
  }
}
