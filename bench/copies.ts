/** Files into containers, out of them, and into images: cp and commit beside podman. */

import { type Engine, startEngine } from "../tests/support/engine.ts";
import { runAs, type User } from "../tests/support/users.ts";
import { berthTool, contest, PodmanStores, printHead, time, type Tool } from "./beside_podman.ts";

const CONTAINER = "bench-copies";

interface Setting {
  readonly user: User;
  readonly engine: Engine;
  readonly berth: Tool;
  readonly podman: Tool | undefined;
  readonly rounds: number;
}

/** A fresh container with that in it, in both stores. */
async function prepare({ berth, podman }: Setting, source: string, image: string): Promise<void> {
  for (const tool of podman ? [berth, podman] : [berth]) {
    await tool.run(["rm", "-f", CONTAINER]);
    await time(tool, ["create", "--network", "none", "--name", CONTAINER, image, "true"]);
    await time(tool, ["cp", source, `${CONTAINER}:/data`]);
  }
}

async function cp(
  setting: Setting,
  what: string,
  bytes: number,
  source: string,
  target: string,
  image: string,
) {
  const { engine, user, berth, podman, rounds } = setting;
  const into = target.startsWith(`${CONTAINER}:`);
  const once = async (tool: Tool, run: (tool: Tool, args: string[]) => Promise<number>) => {
    if (into) {
      await tool.run(["rm", "-f", CONTAINER]);
      await time(tool, ["create", "--network", "none", "--name", CONTAINER, image, "true"]);
    } else await runAs(user, ["rm", "-rf", target]);
    return await run(tool, ["cp", source, target]);
  };
  await contest(engine, {
    what,
    bytes,
    rounds,
    berth: (measure) => once(berth, measure),
    podman: podman && (() => once(podman, time)),
  });
}

async function commit(setting: Setting, what: string, bytes: number): Promise<void> {
  const { engine, berth, podman, rounds } = setting;
  const target = "localhost/bench-committed";
  const once = async (tool: Tool, run: (tool: Tool, args: string[]) => Promise<number>) => {
    await tool.run(["rmi", "-f", target]);
    return await run(
      tool,
      tool === berth ? ["commit", CONTAINER, target] : ["commit", "-q", CONTAINER, target],
    );
  };
  await contest(engine, {
    what,
    bytes,
    rounds,
    berth: (measure) => once(berth, measure),
    podman: podman && (() => once(podman, time)),
  });
  await berth.run(["rmi", "-f", target]);
}

/** Writes the files to copy: one large, many small. */
async function makeSources(user: User, dir: string, megabytes: number, files: number): Promise<number> {
  const small = `i=0; while [ $i -lt ${files} ]; do [ $((i % 100)) = 0 ] && mkdir -p small/$((i / 100));
    printf '%01000d' $i >small/$((i / 100))/$i; i=$((i + 1)); done`;
  // busy-looking data without holes; /dev/urandom is slow and compresses like nothing in images
  const large =
    `for d in /usr/bin /usr/lib/*-linux-gnu; do find $d -maxdepth 1 -type f -readable -exec cat {} +; done 2>/dev/null | head -c 64M >piece
    n=0; while [ $n -lt ${
      Math.ceil(megabytes / 64)
    } ]; do cat piece; n=$((n + 1)); done | head -c ${megabytes}000000 >large; rm piece`;
  await runAs(user, ["sh", "-c", `mkdir -p '${dir}' && cd '${dir}' && ${small}; ${large}`], {
    timeout: 300_000,
  });
  return Deno.statSync(`${dir}/large`).size;
}

/** `cp` both ways of one large file, `commit` of that and of many small files. */
export async function printCopies(
  user: User,
  dir: string,
  imageTar: string,
  options: { megabytes: number; files: number; rounds: number },
): Promise<void> {
  printHead("Containers: files in and out, and committed");
  const sources = `${dir}/sources`;
  const bytes = await makeSources(user, sources, options.megabytes, options.files);
  await using stores = await PodmanStores.open(user, `${dir}/copy-stores`);
  await using engine = await startEngine({ user });
  const berth = berthTool(engine);
  const podman = stores?.fresh();
  const image = "localhost/bench";
  for (const tool of podman ? [berth, podman] : [berth]) await time(tool, ["import", imageTar, image]);
  const setting: Setting = { user, engine, berth, podman, rounds: options.rounds };
  const size = `${options.megabytes} MB`;
  await cp(setting, `cp: ${size} into a container`, bytes, `${sources}/large`, `${CONTAINER}:/data`, image);
  await cp(setting, `cp: ${size} out of a container`, bytes, `${CONTAINER}:/data`, `${dir}/copied`, image);
  await commit(setting, `commit: ${size}`, bytes);
  await prepare(setting, `${sources}/small`, image);
  await commit(setting, `commit: ${options.files} files of 1 KB`, options.files * 1000);
  for (const tool of podman ? [berth, podman] : [berth]) await tool.run(["rm", "-f", CONTAINER]);
  await runAs(user, ["rm", "-rf", sources, `${dir}/copied`]);
}
