/** Images to measure with: content like that of real ones, the same in every run. */

import { createHash } from "node:crypto";
import { TAR_END, tarHeader, tarPadding } from "../fs/tar/mod.ts";
import { HOST_ARCHITECTURE } from "../tests/support/image_archive.ts";

export interface BenchImage {
  readonly name: string;
  readonly reference: string;
  /** Archive of `docker save`, layers not compressed. */
  readonly archive: string;
  /** Bytes of the layers. */
  readonly bytes: number;
}

/** Bytes of this machine's programs: they compress as layers do, two or three times. */
function sample(size: number): Uint8Array {
  const bytes = new Uint8Array(size);
  let at = 0;
  for (const dir of ["/usr/bin", "/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib"]) {
    let names: string[];
    try {
      names = [...Deno.readDirSync(dir)].filter((entry) => entry.isFile).map(({ name }) => name).sort();
    } catch {
      continue;
    }
    for (const name of names) {
      if (at === size) return bytes;
      try {
        const content = Deno.readFileSync(`${dir}/${name}`).subarray(0, size - at);
        bytes.set(content, at);
        at += content.length;
      } catch {
        // not for everybody to read
      }
    }
  }
  // a machine with few programs: the same again
  for (let i = at; i < size && at > 0; i++) bytes[i] = bytes[i % at] ?? 0;
  return bytes;
}

interface File {
  readonly name: string;
  readonly data: Uint8Array;
}

/** Writes layers one after another, as files of a directory, then packs them with a manifest. */
async function pack(
  dir: string,
  name: string,
  title: string,
  layers: readonly Iterable<File>[],
): Promise<BenchImage> {
  const stage = `${dir}/${name}`;
  await Deno.mkdir(stage);
  const diffIds: string[] = [];
  let bytes = 0;
  for (const [index, files] of layers.entries()) {
    const hash = createHash("sha256");
    using out = await Deno.open(`${stage}/${index}.tar`, { write: true, create: true });
    const write = async (chunk: Uint8Array) => {
      hash.update(chunk);
      bytes += chunk.length;
      for (let at = 0; at < chunk.length;) at += await out.write(chunk.subarray(at));
    };
    for (const { name: path, data } of files) {
      await write(tarHeader({ name: path, size: data.length, mtime: [1_700_000_000, 0] }));
      await write(data);
      await write(tarPadding(data.length));
    }
    await write(TAR_END);
    diffIds.push(`sha256:${hash.digest("hex")}`);
  }
  const reference = `localhost/bench-${name}:latest`;
  const config = JSON.stringify({
    architecture: HOST_ARCHITECTURE,
    os: "linux",
    created: "2024-05-06T07:08:09Z",
    config: { Cmd: ["/true"] },
    rootfs: { type: "layers", diff_ids: diffIds },
    history: diffIds.map((_, i) => ({ created: "2024-05-06T07:08:09Z", created_by: `layer ${i}` })),
  });
  const Config = `${createHash("sha256").update(config).digest("hex")}.json`;
  await Deno.writeTextFile(`${stage}/${Config}`, config);
  const Layers = diffIds.map((_, i) => `${i}.tar`);
  await Deno.writeTextFile(
    `${stage}/manifest.json`,
    JSON.stringify([{ Config, RepoTags: [reference], Layers }]),
  );
  const archive = `${dir}/${name}.tar`;
  const { success, stderr } = await new Deno.Command("tar", {
    args: ["-C", stage, "-cf", archive, "manifest.json", Config, ...Layers],
  }).output();
  if (!success) throw new Error(new TextDecoder().decode(stderr));
  await Deno.remove(stage, { recursive: true });
  await Deno.chmod(archive, 0o644);
  return { name: title, reference, archive, bytes };
}

/** One layer of `megabytes` MB in files of 16 MB. */
export function oneLayer(dir: string, megabytes: number): Promise<BenchImage> {
  const piece = sample(64 * 1024 * 1024);
  function* files(): Generator<File> {
    const count = Math.round(megabytes / 16);
    for (let i = 0; i < count; i++) {
      // another place for each: no file is like another
      const at = (i * 7919 * 512) % (48 * 1024 * 1024);
      yield { name: `data/file-${i}`, data: piece.subarray(at, at + 16_000_000) };
    }
  }
  return pack(dir, "one-layer", `one layer of ${megabytes} MB`, [files()]);
}

/** 20 layers with `count` files together, of 1 to 16 KB. */
export function manyFiles(dir: string, count: number): Promise<BenchImage> {
  const piece = sample(32 * 1024 * 1024);
  function* files(layer: number): Generator<File> {
    for (let i = 0; i < count / 20; i++) {
      const number = layer * count + i;
      const at = (number * 7919) % (31 * 1024 * 1024);
      yield {
        name: `usr/share/package-${layer}-${i >> 5}/file-${i}`,
        data: piece.subarray(at, at + 1024 + (number * 31) % 15_000),
      };
    }
  }
  const layers = Array.from({ length: 20 }, (_, layer) => files(layer));
  return pack(dir, "many-files", `20 layers with ${count} files`, layers);
}

/** Two images with the same ten layers of 10 MB below two of their own. `bytes` of the second are those of its own. */
export async function sharedLayers(dir: string): Promise<[BenchImage, BenchImage]> {
  const piece = sample(32 * 1024 * 1024);
  function* files(layer: number): Generator<File> {
    for (let i = 0; i < 10; i++) {
      const at = ((layer * 10 + i) * 7919 * 64) % (30 * 1024 * 1024);
      yield { name: `layer-${layer}/file-${i}`, data: piece.subarray(at, at + 1_000_000) };
    }
  }
  const layers = (own: number) =>
    [...Array.from({ length: 10 }, (_, i) => i), own, own + 1].map((i) => files(i));
  const first = await pack(dir, "shared-first", "10 layers and 2 of its own", layers(10));
  const second = await pack(dir, "shared-second", "2 layers of 12, 10 shared", layers(20));
  return [first, { ...second, bytes: second.bytes / 6 }];
}
