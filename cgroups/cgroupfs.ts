/** Cgroups made by writing files, below a directory that is delegated to this user. */
import { invalid } from "../base/errors.ts";
import { SysError } from "../ffi/errno.ts";
import { kernel } from "../ffi/kernel.ts";
import { Cgroup } from "./cgroup.ts";
import { readControl, words, writeControl } from "./control_file.ts";
import type { CgroupFacts } from "./detect.ts";
import { type CgroupLimits, cgroupWrites } from "./limits.ts";
import type { CgroupManager, CgroupRequest, CreatedCgroup } from "./manager.ts";

/** Where the engine and its helpers go: a cgroup that gives controllers to others below may hold no process itself. */
export const ENGINE_LEAF = "berth.engine";
/** Default of `--cgroup-parent`. */
const DEFAULT_PARENT = "berth";
/** A process may fork while it is being moved. */
const EVACUATION_ROUNDS = 20;

export class CgroupfsManager implements CgroupManager {
  readonly driver = "cgroupfs";
  readonly controllers: readonly string[];
  readonly swap: boolean;
  /** A filter is a program of the kernel's, and whoever loads it must have rights over the whole machine, which the engine has given up. */
  readonly devices = false;
  readonly #base: string;

  private constructor(base: string, controllers: readonly string[]) {
    this.#base = base;
    this.controllers = controllers;
    this.swap = controllers.includes("memory") &&
      readControl(`${base}/${ENGINE_LEAF}/memory.swap.max`) !== undefined;
  }

  /** Makes the directory ready: no process in it, its controllers handed on. @throws {SysError} */
  static open(facts: CgroupFacts): CgroupfsManager {
    const base = facts.path;
    makeDirectory(`${base}/${ENGINE_LEAF}`);
    // The machine's root, which alone has no type, may have processes beside cgroups, and those are not ours to move.
    if (readControl(`${base}/cgroup.type`) !== undefined) evacuate(base);
    return new CgroupfsManager(base, handOn(base));
  }

  pathFor({ id, parent }: Pick<CgroupRequest, "id" | "parent">): string {
    return `${this.#base}/${parentPath(parent)}/${id}`;
  }

  // deno-lint-ignore require-await -- failures are to reach the caller as a rejection
  async create(request: CgroupRequest): Promise<CreatedCgroup> {
    const path = this.pathFor(request);
    const names = path.slice(this.#base.length + 1).split("/");
    let at = this.#base;
    for (const name of names) {
      if (at !== this.#base) handOn(at);
      at += `/${name}`;
      makeDirectory(at);
    }
    const cgroup = new Cgroup(path);
    return { cgroup, warnings: cgroup.apply(cgroupWrites(request.limits)) };
  }

  // deno-lint-ignore require-await -- failures are to reach the caller as a rejection
  async update(_id: string, cgroup: Cgroup, limits: CgroupLimits): Promise<readonly string[]> {
    return cgroup.apply(cgroupWrites(limits));
  }

  async remove(_id: string, cgroup: Cgroup): Promise<void> {
    await cgroup.remove();
  }

  close(): void {
    // Nothing is held open.
  }
}

/** `--cgroup-parent` as a path below the delegated directory. @throws {EngineError} invalid. */
export function parentPath(parent: string): string {
  const names = parent.split("/").filter((name) => name !== "");
  if (names.some((name) => name === "." || name === ".." || name === ENGINE_LEAF || name.includes("\0"))) {
    throw invalid(`invalid cgroup parent: ${JSON.stringify(parent)}`);
  }
  return names.length === 0 ? DEFAULT_PARENT : names.join("/");
}

function makeDirectory(path: string): void {
  try {
    kernel.mkdir(path, 0o755);
  } catch (error) {
    if (!(error instanceof SysError && error.is("EEXIST"))) throw error;
  }
}

/** Gives the cgroups below `path` every controller that it has itself; answers those. */
function handOn(path: string): string[] {
  const there = words(readControl(`${path}/cgroup.controllers`));
  const has = new Set(words(readControl(`${path}/cgroup.subtree_control`)));
  // One by one: a controller that is refused does not keep the others.
  for (const name of there.filter((name) => !has.has(name))) {
    try {
      writeControl(`${path}/cgroup.subtree_control`, `+${name}`);
    } catch (error) {
      if (!(error instanceof SysError)) throw error;
    }
  }
  return words(readControl(`${path}/cgroup.subtree_control`));
}

/** Moves all processes of the directory itself to the engine's leaf. */
function evacuate(base: string): void {
  for (let round = 0; round < EVACUATION_ROUNDS; round++) {
    const pids = words(readControl(`${base}/cgroup.procs`));
    if (pids.length === 0) return;
    for (const pid of pids) {
      try {
        writeControl(`${base}/${ENGINE_LEAF}/cgroup.procs`, pid);
      } catch (error) {
        // It has ended, or is a thread of the kernel.
        if (!(error instanceof SysError && error.is("ESRCH", "EINVAL"))) throw error;
      }
    }
  }
}
