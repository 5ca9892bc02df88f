/** What is fuzzed. A target takes one case; it throws when something happens that must not. */
import { createHash } from "node:crypto";
import { EngineError } from "../../base/errors.ts";
import { decompress, sniff } from "../../fs/compression/mod.ts";
import { cleanEntryPath } from "../../fs/entry_path.ts";
import { removeTree } from "../../fs/remove_tree.ts";
import { tarArchive, type TarEntry, TarError, TarReader } from "../../fs/tar/mod.ts";
import { UnpackPool } from "../../fs/unpack.ts";
import { SpooledArchive } from "../../image/archive_spool.ts";
import { planDockerArchive } from "../../image/docker_archive.ts";
import { planOciLayout } from "../../image/oci_layout.ts";
import { file, HOST_ARCHITECTURE, type Item, sha256, streamOf, text } from "../support/image_archive.ts";
import { Reassembly } from "../../net/outbound/fragments.ts";
import { PacketMaker } from "../../net/outbound/packet_maker.ts";
import { Packet } from "../../net/outbound/packet.ts";
import { compressed, image, tars } from "./corpus.ts";
import { packets, repairPacket } from "./packets.ts";
import { mutate, mutateJson, type Random, repairChecksums } from "./random.ts";
import { lexists } from "../../base/exists.ts";

export interface Target {
  readonly name: string;
  run(random: Random): Promise<void> | void;
}

function pickOf<T>(random: Random, items: readonly T[]): T {
  // the corpora are never empty
  return items[random.below(items.length)] as T;
}

function damagedTar(random: Random): Uint8Array {
  const bytes = mutate(random, pickOf(random, tars), tars);
  if (!random.chance(4)) repairChecksums(bytes);
  return bytes;
}

/** Reads in chunks; answers all that was said, data by its digest, and the error's text at the end. */
function transcript(bytes: Uint8Array, step: () => number): string {
  const lines: string[] = [];
  const reader = new TarReader();
  let entry: TarEntry | undefined;
  let hash = createHash("sha256");
  let received = 0, end = 0;
  try {
    for (let at = 0; at < bytes.length;) {
      const chunk = bytes.subarray(at, at + step());
      at += chunk.length;
      for (const event of reader.feed(chunk)) {
        if (event.kind === "entry") {
          if (entry) throw new Error("an entry begins before the one before has ended");
          ({ entry } = event);
          if (!(entry.size >= 0)) throw new Error(`size ${entry.size}`);
          received = end = 0;
          hash = createHash("sha256");
          lines.push(
            JSON.stringify({ ...entry, xattrs: [...entry.xattrs].map(([key, value]) => [key, [...value]]) }),
          );
        } else if (event.kind === "data") {
          if (!entry) throw new Error("data without an entry");
          if (event.offset < end) throw new Error("data goes back");
          end = event.offset + event.chunk.length;
          received += event.chunk.length;
          if (end > entry.size) throw new Error(`data beyond the size of ${entry.size}`);
          hash.update(event.chunk);
        } else {
          if (!entry) throw new Error("an end without an entry");
          if (!entry.sparse && received !== entry.size) throw new Error(`${received} bytes of ${entry.size}`);
          lines.push(`${received} ${hash.digest("hex")}`);
          entry = undefined;
        }
      }
    }
    reader.finish();
  } catch (error) {
    if (!(error instanceof TarError)) throw error;
    lines.push(`error: ${error.message}`);
  }
  return lines.join("\n");
}

const tarReader: Target = {
  name: "tar reader",
  run(random) {
    const bytes = damagedTar(random);
    const whole = transcript(bytes, () => bytes.length);
    const pieces = transcript(bytes, () => 1 + random.below(1500));
    if (whole !== pieces) throw new Error(`in pieces it reads differently:\n${whole}\n---\n${pieces}`);
  },
};

const entryPaths: Target = {
  name: "entry paths",
  run(random) {
    const parts = Array.from(
      { length: random.below(8) },
      () => random.pick(["a", "..", ".", "", "b\n", "\udcff", "...", ".wh.x", "\0"]),
    );
    let path: string;
    try {
      path = cleanEntryPath(parts.join("/"));
    } catch (error) {
      if (error instanceof EngineError) return;
      throw error;
    }
    if (
      !path.startsWith("/") || /\/(\.\.?)?(\/|$)/.test(path.slice(path === "/" ? 1 : 0)) ||
      path.includes("\0")
    ) {
      throw new Error(`${JSON.stringify(parts.join("/"))} becomes ${JSON.stringify(path)}`);
    }
  },
};

const decompressors: Target = {
  name: "decompressors",
  async run(random) {
    const { bytes, plain } = pickOf(random, compressed);
    const broken = mutate(random, bytes, compressed.map((one) => one.bytes));
    const output: Uint8Array[] = [];
    let size = 0;
    try {
      const { compression, chunks } = await sniff(
        (function* () {
          for (let at = 0; at < broken.length;) {
            const chunk = broken.subarray(at, at + 1 + random.below(3000));
            at += chunk.length;
            yield chunk;
          }
        })(),
      );
      // programs of their own, which are not ours to fuzz
      if (compression === "xz" || compression === "bzip2") return;
      for await (const chunk of decompress(compression, chunks)) {
        output.push(chunk.slice());
        size += chunk.length;
        if (size > 1024 ** 3) throw new EngineError("invalid", "a bomb");
      }
      // both formats have checksums: what comes out whole and is no longer ours was recognisable as such
      if (compression !== "none" && size === plain.length && broken.length === bytes.length) {
        const whole = new Uint8Array(size);
        let at = 0;
        for (const chunk of output) {
          whole.set(chunk, at);
          at += chunk.length;
        }
        if (compression === "gzip" && sha256(whole) !== sha256(plain)) {
          throw new Error("wrong bytes without an error");
        }
      }
    } catch (error) {
      if (!(error instanceof EngineError) || error.kind !== "invalid") throw error;
    }
  },
};

const docker = [{ Config: "c.json", RepoTags: image.refs, Layers: ["0/layer.tar", "1/layer.tar"] }];

async function plan(
  random: Random,
  items: Item[],
  read: (archive: SpooledArchive) => Promise<{ refs: readonly unknown[] }[]>,
): Promise<void> {
  const path = `${Deno.env.get("BERTH_TEST_DIR") ?? "/tmp"}/fuzz-${crypto.randomUUID()}`;
  let bytes: Uint8Array = tarArchive(items);
  if (random.chance(6)) {
    bytes = mutate(random, bytes, tars);
    repairChecksums(bytes);
  }
  try {
    using archive = await SpooledArchive.spool(streamOf(bytes), path);
    for (const one of await read(archive)) JSON.stringify(one);
  } catch (error) {
    if (!(error instanceof EngineError) || error.kind !== "invalid") throw error;
  }
  if (lexists(path)) throw new Error("the spooled archive is left");
}

const stringify = (random: Random, value: unknown): string => {
  const json = JSON.stringify(mutateJson(random, value)) ?? "";
  return random.chance(10) ? json.slice(0, random.below(json.length)) : json;
};

const dockerManifests: Target = {
  name: "docker manifests",
  run: (random) =>
    plan(
      random,
      [
        ...image.layers.map(({ bytes }, i) => ({ name: `${i}/layer.tar`, data: bytes })),
        file("c.json", random.chance(2) ? image.configJson : stringify(random, JSON.parse(image.configJson))),
        file("manifest.json", random.chance(3) ? JSON.stringify(docker) : stringify(random, docker)),
      ],
      planDockerArchive,
    ),
};

const ociIndexes: Target = {
  name: "OCI indexes",
  run(random) {
    const blobs: Item[] = [];
    // digests are right, so that what they name is read
    const add = (mediaType: string, bytes: Uint8Array): unknown => {
      const digest = sha256(bytes);
      blobs.push({ name: `blobs/${digest.replace(":", "/")}`, data: bytes });
      const descriptor = {
        mediaType,
        digest,
        size: bytes.length,
        platform: { os: "linux", architecture: HOST_ARCHITECTURE },
      };
      return random.chance(6) ? mutateJson(random, descriptor) : descriptor;
    };
    const maybe = (value: unknown) =>
      text(random.chance(2) ? JSON.stringify(value) : stringify(random, value));
    const oci = "application/vnd.oci.image";
    const manifest = add(
      `${oci}.manifest.v1+json`,
      maybe({
        schemaVersion: 2,
        config: add(`${oci}.config.v1+json`, maybe(JSON.parse(image.configJson))),
        layers: image.layers.map(({ bytes }) => add(`${oci}.layer.v1.tar`, bytes)),
      }),
    );
    const nested = add(`${oci}.index.v1+json`, maybe({ schemaVersion: 2, manifests: [manifest, manifest] }));
    const index = { schemaVersion: 2, manifests: [random.chance(2) ? manifest : nested] };
    return plan(random, [...blobs, { name: "index.json", data: maybe(index) }], planOciLayout);
  },
};

let pool: UnpackPool | undefined;

/** Ends the threads that targets have started. */
export function closeTargets(): void {
  pool?.close();
}

const unpacking: Target = {
  name: "unpacking",
  async run(random) {
    pool ??= new UnpackPool(1);
    const base = Deno.makeTempDirSync({ prefix: "berth-fuzz-" });
    try {
      Deno.mkdirSync(`${base}/diff`);
      Deno.writeTextFileSync(`${base}/outside`, "alive");
      const formats = ["overlay-userxattr", "fuse-overlayfs", "files", "apply"] as const;
      try {
        await pool.unpack({
          source: { stream: streamOf(damagedTar(random)) },
          dir: `${base}/diff`,
          whiteouts: random.pick(formats),
          limits: { maxBytes: 1024 ** 3 },
        });
      } catch (error) {
        if (!(error instanceof EngineError)) throw error;
        // owners that a container's ids do not reach and full disks are the machine's; anything else is the archive's
        if (error.kind !== "invalid" && !/owner|no space|too large/.test(error.message)) throw error;
      }
      const names = [...Deno.readDirSync(base)].map(({ name }) => name).sort().join();
      if (names !== "diff,outside" || Deno.readTextFileSync(`${base}/outside`) !== "alive") {
        throw new Error(`something has come out: ${names}`);
      }
    } finally {
      await removeTree(base);
    }
  },
};

const packetSamples = packets(Uint8Array.of(172, 17, 0, 2));

/** Reads a damaged packet, parts as well, and answers it as netd would: every number that is read must lie in the packet. */
const packetReader: Target = {
  name: "packets",
  run(random) {
    const reassembly = new Reassembly();
    const maker = new PacketMaker();
    const packet = new Packet();
    const answer = new Packet();
    for (let turn = 0; turn < 50; turn++) {
      const bytes = mutate(random, pickOf(random, packetSamples), packetSamples).slice(0, 0xffff);
      if (!random.chance(4)) repairPacket(bytes);
      packet.bytes.set(bytes);
      if (packet.parse(bytes.length) !== undefined) continue;
      if (packet.isFragment && !reassembly.add(packet, turn)) continue;
      const { end, transport, payload, family, tcpFlags } = packet;
      if (!(20 <= transport && transport <= payload && payload <= end && end <= 40 + 0xffff)) {
        throw new Error(`${transport} ${payload} ${end}`);
      }
      const ends = { source: packet.destination, destination: packet.source };
      const made = [
        () => maker.error(ends, { type: family === 4 ? 3 : 1, code: 1 }, packet.bytes.subarray(0, end)),
      ];
      if (packet.protocol === 6 && (tcpFlags & 4) === 0) made.push(() => maker.reset(packet));
      for (const make of made) {
        const length = make();
        answer.bytes.set(maker.bytes.subarray(0, length));
        const damage = answer.parse(length);
        if (damage !== undefined) throw new Error(`an answer that is damaged: ${damage}`);
      }
    }
  },
};

/** Unpacking needs chroot. */
export const targets: readonly Target[] = [
  tarReader,
  entryPaths,
  decompressors,
  dockerManifests,
  ociIndexes,
  packetReader,
  ...(Deno.uid() === 0 ? [unpacking] : []),
];
