/**
 * Whole file trees in a form that can be compared: what GNU tar sees of them, run where owners and attributes read as in the container.
 */
import { createHash } from "node:crypto";
import { tarEvents } from "../../base/tar/mod.ts";
import { runAs, type RunResult, type User } from "./users.ts";

/** By path from the root ("a/b", directories without a slash at the end): all that tar knows of the entry, in one text. */
export type Tree = ReadonlyMap<string, string>;

/** What the engine mounts or writes below a container's root: no part of the image. */
const ENGINES_OWN = ["dev", "proc", "sys", "etc/hosts", "etc/hostname", "etc/resolv.conf", ".dockerenv"];

/**
 * Words before a command that run it as the root of a container engine of `user`, in a mount namespace that ends with it: for an ordinary
 * user a user namespace with his subordinate ids, in the same order as in berth's.
 */
export function asEngineRoot(user: User): string[] {
  const ids = user.uid === 0 ? [] : ["--user", "--map-root-user", "--map-auto"];
  return ["unshare", ...ids, "--mount", "--"];
}

/** Words before a command that run it as root of the user namespace of process `pid`. */
export function inUserNamespaceOf(pid: string): string[] {
  return ["nsenter", `--user=/proc/${pid}/ns/user`, "-S", "0", "-G", "0", "--"];
}

/** A command that writes the tree below `root` as an archive to its standard output. */
export function tarCommand(root: string): string[] {
  return [
    "tar",
    `--directory=${root}`,
    "--format=posix",
    "--pax-option=delete=atime,delete=ctime",
    "--numeric-owner",
    "--sort=name",
    "--xattrs",
    "--xattrs-include=*",
    "--no-wildcards",
    "--anchored",
    ...ENGINES_OWN.map((path) => `--exclude=./${path}`),
    "--create",
    ".",
  ];
}

/** The tree below `root`, read by `user` after `prefix` ({@link asEngineRoot}, {@link inUserNamespaceOf}). */
export async function readTree(user: User, prefix: readonly string[], root: string): Promise<Tree> {
  return await treeOf(await runAs(user, [...prefix, ...tarCommand(root)]));
}

/** The tree in what {@link tarCommand} has written. */
export async function treeOf({ code, stderr, stdoutBytes }: RunResult): Promise<Tree> {
  if (code !== 0) throw new Error(`cannot read the tree: ${stderr}`);
  const tree = new Map<string, string>();
  let name = "";
  let facts: Record<string, unknown> = {};
  let hash = createHash("sha256");
  for await (const event of tarEvents(ReadableStream.from([stdoutBytes]))) {
    if (event.kind === "data") {
      hash.update(event.chunk);
    } else if (event.kind === "end") {
      if (facts["type"] === "file") facts["sha256"] = hash.digest("hex");
      tree.set(name, JSON.stringify(facts));
    } else {
      const { entry } = event;
      name = entry.name.replace(/^\.\//, "").replace(/\/$/, "");
      hash = createHash("sha256");
      facts = {
        type: entry.type,
        mode: entry.mode.toString(8),
        owner: `${entry.uid}:${entry.gid}`,
        size: entry.size,
        // the root directory of an overlay is its upper one, made with the container: so in Docker
        ...(name === "." || name === "" ? {} : { mtime: entry.mtime.join() }),
        ...(entry.linkName === "" ? {} : { link: entry.linkName }),
        xattrs: [...entry.xattrs].map(([key, value]) => `${key}=${value.toHex()}`).sort(),
      };
    }
  }
  return tree;
}

/** The lines in which two trees differ, for a message that says where: [] when they are the same. */
export function differences(ours: Tree, theirs: Tree): string[] {
  const lines: string[] = [];
  for (const name of new Set([...ours.keys(), ...theirs.keys()])) {
    const [a, b] = [ours.get(name), theirs.get(name)];
    if (a !== b) lines.push(`${name}: ${a ?? "absent"} is there ${b ?? "absent"}`);
  }
  return lines;
}
