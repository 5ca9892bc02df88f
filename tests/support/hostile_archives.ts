/** Archives that mean harm, and what must come of each. */
import { gzipSync, zstdCompressSync } from "node:zlib";
import { concat } from "../../base/concat.ts";
import { TAR_END, tarArchive, tarHeader } from "../../fs/tar/mod.ts";
import {
  buildImage,
  type BuiltImage,
  dockerArchive,
  file,
  type Item,
  ociArchive,
  sha256,
  text,
} from "./image_archive.ts";

/** One archive for `docker load`. */
export interface HostileArchive {
  readonly name: string;
  readonly bytes: () => Uint8Array;
  /** The error's text, or "contained": it may load, but does no harm. */
  readonly outcome: RegExp | "contained";
}

const join = (...parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> => concat(parts);

/** A docker archive with one layer of these bytes, whatever they are. */
function withLayer(layer: Uint8Array, diffId = sha256(layer)): Uint8Array {
  const configJson = JSON.stringify({
    architecture: Deno.build.arch === "aarch64" ? "arm64" : "amd64",
    os: "linux",
    rootfs: { type: "layers", diff_ids: [diffId] },
  });
  const image: BuiltImage = {
    id: sha256(text(configJson)),
    configJson,
    layers: [{ diffId, bytes: layer }],
    refs: ["hostile:1"],
  };
  return dockerArchive(image);
}

const layerOf = (...items: Item[]) => withLayer(tarArchive(items));

/** A tar header with some bytes overwritten and the checksum right again. */
/** A header with other bytes in some places, and the right checksum. */
export function patched(header: Uint8Array, ...patches: [offset: number, bytes: Uint8Array][]): Uint8Array {
  const block = header.slice();
  for (const [offset, bytes] of patches) block.set(bytes, offset);
  block.fill(0x20, 148, 156);
  const sum = block.reduce((total, byte) => total + byte, 0);
  block.set(text(`${sum.toString(8).padStart(6, "0")}\0 `), 148);
  return block;
}

/** A tar archive of one file of `gibibytes` GiB of zeros, as some ten megabytes for every ten gibibytes. */
export function bomb(gibibytes: number, compress: (bytes: Uint8Array) => Uint8Array): Uint8Array {
  const piece = compress(new Uint8Array(64 * 1024 * 1024));
  const head = compress(tarHeader({ name: "zeros", size: gibibytes * 1024 ** 3 }));
  return join(head, ...Array.from({ length: gibibytes * 16 }, () => piece), compress(TAR_END));
}

export const gzip = (bytes: Uint8Array): Uint8Array => new Uint8Array(gzipSync(bytes, { level: 9 }));
export const zstd = (bytes: Uint8Array): Uint8Array => new Uint8Array(zstdCompressSync(bytes));

function xz(bytes: Uint8Array): Uint8Array {
  const file = Deno.makeTempFileSync();
  try {
    Deno.writeFileSync(file, bytes);
    return new Deno.Command("xz", { args: ["-1", "-c", file], stderr: "null" }).outputSync().stdout;
  } catch {
    // the engine will say that it lacks it as well
    return new Uint8Array([0xfd, 0x37, 0x7a, 0x58, 0x5a, 0]);
  } finally {
    Deno.removeSync(file);
  }
}

const small = tarArchive([file("a", "x".repeat(20_000))]);
const anyImage = (name = "a") => buildImage({ layers: [[file(name)]], refs: ["hostile:1"] });

/** @param canary an absolute path of a file that must stay as it is, in a directory of its own. */
export function hostileArchives(canary: string): HostileArchive[] {
  const dir = canary.slice(0, canary.lastIndexOf("/"));
  const up = "../".repeat(40);
  const badGzip = gzip(small);
  badGzip[badGzip.length - 6] = (badGzip[badGzip.length - 6] ?? 0) ^ 0xff;
  return [
    { name: "an absolute path", bytes: () => layerOf(file(canary, "evil")), outcome: "contained" },
    {
      name: "a path that leads up",
      bytes: () => layerOf(file(`${up}${canary.slice(1)}`, "evil")),
      outcome: /outside of the archive's root/,
    },
    {
      name: "a path that leads up in its middle",
      bytes: () => layerOf(file(`a/b/../../../${canary}`, "evil")),
      outcome: /outside of the archive's root/,
    },
    {
      name: "a symbolic link that is written through",
      bytes: () =>
        layerOf({ name: "link", type: "symlink", linkName: dir }, file(`link/${canary.split("/").at(-1)}`)),
      outcome: "contained",
    },
    {
      name: "a relative symbolic link that is written through",
      bytes: () =>
        layerOf({ name: "link", type: "symlink", linkName: up + dir }, file("link/canary"), file("link/new")),
      outcome: "contained",
    },
    {
      name: "a symbolic link that becomes a directory's attributes",
      bytes: () =>
        layerOf(
          { name: "link", type: "symlink", linkName: dir },
          { name: "link", type: "directory", mode: 0o777, uid: 99 },
        ),
      outcome: "contained",
    },
    {
      name: "a hard link to the outside",
      bytes: () => layerOf({ name: "hard", type: "hardlink", linkName: canary }, file("hard", "evil")),
      outcome: "contained",
    },
    {
      name: "a hard link that leads up",
      bytes: () => layerOf({ name: "hard", type: "hardlink", linkName: `${up}${canary}` }),
      outcome: /outside of the archive's root/,
    },
    {
      name: "a hard link to a hard link to itself",
      bytes: () =>
        layerOf(
          { name: "a", type: "hardlink", linkName: "b" },
          { name: "b", type: "hardlink", linkName: "a" },
        ),
      outcome: /no such file or directory/,
    },
    {
      name: "device nodes",
      bytes: () =>
        layerOf(
          { name: "null", type: "char", deviceMajor: 1, deviceMinor: 3, mode: 0o666 },
          { name: "disk", type: "block", deviceMajor: 8, mode: 0o666 },
          { name: "whiteout", type: "char" },
          file("real"),
        ),
      outcome: "contained",
    },
    {
      name: "entries that come twice, each as something else",
      bytes: () =>
        layerOf(
          file("x", "1"),
          { name: "x", type: "directory" },
          file("x/y"),
          { name: "x", type: "symlink", linkName: dir },
          file("x", "2"),
          { name: "x", type: "fifo" },
        ),
      outcome: "contained",
    },
    {
      name: "the archive's root as a file and as a link",
      bytes: () => layerOf(file("."), { name: "./", type: "symlink", linkName: dir }, file("./a")),
      outcome: "contained",
    },
    {
      name: "a whiteout of the root",
      bytes: () => layerOf(file(".wh.", "")),
      outcome: /invalid whiteout/,
    },
    { name: "a whiteout of dot", bytes: () => layerOf(file(".wh..", "")), outcome: /invalid whiteout/ },
    {
      name: "a whiteout of dot dot",
      bytes: () => layerOf(file("d/.wh...", "")),
      outcome: /invalid whiteout/,
    },
    {
      name: "whiteouts below a link and of what lies outside",
      bytes: () =>
        layerOf(
          { name: "link", type: "symlink", linkName: dir },
          file("link/.wh.canary", ""),
          file(".wh..wh..opq", ""),
        ),
      outcome: "contained",
    },
    {
      name: "attributes that a union file system takes for its own",
      bytes: () =>
        layerOf(
          {
            ...file("a"),
            xattrs: new Map([
              ["user.overlay.redirect", text(canary)],
              ["trusted.overlay.metacopy", text("")],
              ["user.fuseoverlayfs.override_stat", text("0:0:4755")],
            ]),
          },
          { name: "d", type: "directory", xattrs: new Map([["user.overlay.origin", text("x")]]) },
        ),
      outcome: "contained",
    },
    {
      name: "names with new lines, escapes and bytes that are no UTF-8",
      bytes: () => layerOf(file("a\nb"), file("\u001b[2J"), file("\udcff\udcfe"), file("%s%n")),
      outcome: "contained",
    },
    {
      name: "a name with a NUL",
      bytes: () => {
        const payload = "20 path=a\0/../canary\n";
        const header = patched(tarHeader({ name: "p", size: payload.length }), [156, text("x")]);
        const block = new Uint8Array(512);
        block.set(text(payload));
        return withLayer(join(header, block, tarHeader({ name: "x" }), TAR_END));
      },
      outcome: /PAX/,
    },
    {
      name: "a name that is too long",
      bytes: () => layerOf(file("x".repeat(300))),
      outcome: /name too long/,
    },
    {
      name: "a path that is too deep",
      bytes: () => layerOf(file(`${"d/".repeat(5000)}x`)),
      outcome: /name too long/,
    },
    {
      name: "a path as deep as it may be",
      bytes: () => layerOf(file(`${"d/".repeat(1900)}x`)),
      outcome: "contained",
    },
    {
      name: "a symbolic link in a circle",
      bytes: () => layerOf({ name: "l", type: "symlink", linkName: "l" }, file("l/x")),
      outcome: "contained",
    },
    {
      name: "a wrong checksum",
      bytes: () => {
        const tar = small.slice();
        tar[10] = 65;
        return withLayer(tar);
      },
      outcome: /checksum|invalid tar header/,
    },
    {
      name: "a negative size",
      bytes: () =>
        withLayer(
          join(patched(tarHeader({ name: "a" }), [124, new Uint8Array(12).fill(0xff)]), small),
        ),
      outcome: /negative size|invalid tar header/,
    },
    {
      name: "a size beyond all disks",
      bytes: () => {
        const size = new Uint8Array(12);
        size.set([0x80, 0, 0, 0, 0, 0x10]);
        return withLayer(join(patched(tarHeader({ name: "a" }), [124, size]), small));
      },
      outcome: /unpacks to more than|invalid tar header/,
    },
    {
      name: "a file larger than the archive",
      bytes: () => withLayer(join(tarHeader({ name: "a", size: 1_000_000 }), new Uint8Array(512))),
      outcome: /truncated|unexpected EOF/,
    },
    {
      name: "a sparse file with holes beyond its end",
      bytes: () => {
        const payload = "22 GNU.sparse.major=0\n22 GNU.sparse.minor=1\n26 GNU.sparse.realsize=10\n" +
          "30 GNU.sparse.map=99999999999,5\n".replace("30", "32");
        const header = patched(tarHeader({ name: "p", size: payload.length }), [156, text("x")]);
        const block = new Uint8Array(512);
        block.set(text(payload));
        return withLayer(
          join(header, block, tarHeader({ name: "s", size: 5 }), new Uint8Array(512), TAR_END),
        );
      },
      outcome: /sparse map/,
    },
    {
      name: "an extended header of gigabytes",
      bytes: () =>
        withLayer(join(patched(tarHeader({ name: "p", size: 0o7777777777 }), [156, text("x")]), small)),
      outcome: /extended header too large/,
    },
    {
      name: "global extended headers without end",
      bytes: () => {
        const parts: Uint8Array[] = [];
        for (let i = 0; i < 4000; i++) {
          const payload = `40 key${String(i).padStart(6, "0")}=${"v".repeat(26)}\n`;
          parts.push(patched(tarHeader({ name: "g", size: payload.length }), [156, text("g")]));
          const block = new Uint8Array(512);
          block.set(text(payload));
          parts.push(block);
        }
        return withLayer(join(...parts, small));
      },
      outcome: /global extended header too large|PAX/,
    },
    { name: "no archive at all", bytes: () => text("no tar archive".repeat(1000)), outcome: /archive/ },
    { name: "an empty archive", bytes: () => TAR_END, outcome: /manifest\.json/ },
    {
      name: "gzip cut short",
      bytes: () => withLayer(gzip(small).subarray(0, -20), sha256(small)),
      outcome: /truncated gzip/,
    },
    {
      name: "gzip with a wrong checksum",
      bytes: () => withLayer(badGzip, sha256(small)),
      outcome: /invalid gzip/,
    },
    {
      name: "zstd cut short",
      bytes: () => withLayer(zstd(small).subarray(0, -4), sha256(small)),
      outcome: /truncated zstd|zstd stream/,
    },
    {
      name: "the archive itself cut short",
      bytes: () => gzip(layerOf(file("a"))).subarray(0, -8),
      outcome: /gzip/,
    },
    {
      name: "10 GB of zeros in a layer of 10 MB",
      bytes: () => withLayer(bomb(10, gzip), sha256(small)),
      outcome: /grows more than/,
    },
    {
      name: "10 GB of zeros in an archive of 10 MB",
      bytes: () => bomb(10, gzip),
      outcome: /grows more than/,
    },
    {
      name: "10 GB of zeros in zstd",
      bytes: () => withLayer(bomb(10, zstd), sha256(small)),
      outcome: /grows more than/,
    },
    {
      name: "6 GB of zeros in xz",
      bytes: () => withLayer(bomb(6, xz), sha256(small)),
      outcome: /grows more than|xz is not installed/,
    },
    {
      name: "a layer that is not what its diff id says",
      bytes: () => withLayer(small, sha256(text("other"))),
      outcome: /diff ?ID/i,
    },
    {
      name: "a blob that is not what its digest says",
      bytes: () => {
        const archive = ociArchive([{ image: anyImage() }]);
        // the layer's file holds its own name
        const at = archive.findIndex((byte, i) =>
          byte === 97 && i > 512 && archive[i + 1] === 0 && archive[i - 1] === 0
        );
        archive[at + 600] = (archive[at + 600] ?? 0) ^ 1;
        return archive;
      },
      outcome: /digest|diffID|checksum|invalid/,
    },
    {
      name: "descriptors with wrong sizes",
      bytes: () => resized(anyImage()),
      outcome: /descriptor says/,
    },
    {
      name: "indexes in indexes",
      bytes: () => nestedIndexes(12),
      outcome: /nested too deeply/,
    },
    {
      name: "an index in a circle by links",
      bytes: () =>
        tarArchive([
          { name: "manifest.json", type: "symlink", linkName: "b" },
          { name: "b", type: "symlink", linkName: "manifest.json" },
        ]),
      outcome: /manifest\.json/,
    },
    {
      name: "layers by links that lead outside",
      bytes: () =>
        tarArchive([
          { name: "x/layer.tar", type: "symlink", linkName: canary },
          file("c.json", anyImage().configJson),
          file(
            "manifest.json",
            JSON.stringify([{ Config: "c.json", RepoTags: ["hostile:1"], Layers: ["x/layer.tar"] }]),
          ),
        ]),
      outcome: /missing/,
    },
    {
      name: "names in the manifest that lead outside",
      bytes: () =>
        tarArchive([
          file(
            "manifest.json",
            JSON.stringify([{ Config: `${up}${canary}`, RepoTags: null, Layers: [canary] }]),
          ),
        ]),
      outcome: /missing/,
    },
    {
      name: "a manifest of ten thousand brackets",
      bytes: () => tarArchive([file("manifest.json", "[".repeat(1_000_000))]),
      outcome: /manifest\.json/,
    },
    {
      name: "a manifest that is something else",
      bytes: () => tarArchive([file("manifest.json", '{"__proto__":{"Config":"x"},"length":1}')]),
      outcome: /manifest\.json/,
    },
    {
      name: "tags that are none",
      bytes: () => {
        const image = anyImage();
        return dockerArchive({ ...image, refs: ["../../etc:passwd"] });
      },
      outcome: /reference format/,
    },
    {
      name: "five hundred layers",
      bytes: () => dockerArchive(buildImage({ layers: Array.from({ length: 500 }, () => [file("a")]) })),
      outcome: /max depth exceeded/,
    },
  ];
}

function nestedIndexes(depth: number): Uint8Array {
  const blobs: Item[] = [];
  const add = (mediaType: string, value: unknown) => {
    const bytes = text(JSON.stringify(value));
    const digest = sha256(bytes);
    blobs.push({ name: `blobs/${digest.replace(":", "/")}`, data: bytes });
    return { mediaType, digest, size: bytes.length };
  };
  const type = "application/vnd.oci.image.index.v1+json";
  let inner = add(type, { schemaVersion: 2, manifests: [] });
  for (let i = 0; i < depth; i++) inner = add(type, { schemaVersion: 2, manifests: [inner] });
  const index = JSON.stringify({ schemaVersion: 2, manifests: [inner] });
  return tarArchive([
    ...blobs,
    file("index.json", index),
    file("oci-layout", '{"imageLayoutVersion":"1.0.0"}'),
  ]);
}

/** An OCI layout whose descriptor of the layer claims another size. */
function resized(image: BuiltImage): Uint8Array {
  const blobs: Item[] = [];
  const add = (mediaType: string, bytes: Uint8Array, size = bytes.length) => {
    const digest = sha256(bytes);
    blobs.push({ name: `blobs/${digest.replace(":", "/")}`, data: bytes });
    return { mediaType, digest, size };
  };
  const oci = "application/vnd.oci.image";
  const layer = image.layers[0]?.bytes ?? new Uint8Array();
  const manifest = add(
    `${oci}.manifest.v1+json`,
    text(JSON.stringify({
      schemaVersion: 2,
      config: add(`${oci}.config.v1+json`, text(image.configJson)),
      layers: [add(`${oci}.layer.v1.tar`, layer, layer.length + 1)],
    })),
  );
  return tarArchive([
    ...blobs,
    file("index.json", JSON.stringify({ schemaVersion: 2, manifests: [manifest] })),
    file("oci-layout", '{"imageLayoutVersion":"1.0.0"}'),
  ]);
}
