/** Good archives, as varied as can be made here: damage to them is what the fuzzer tries. */
import { gzipSync, zstdCompressSync } from "node:zlib";
import { tarArchive } from "../../fs/tar/mod.ts";
import { buildImage, file, type Item, text } from "../support/image_archive.ts";

const ITEMS: Item[] = [
  { name: "dir", type: "directory", mode: 0o1777, uid: 5, mtime: [1_600_000_000, 5] },
  file("dir/file", "hello ".repeat(300), { mode: 0o4755, uid: 1000, gid: 100 }),
  file(`dir/${"long/".repeat(60)}name`, "x"),
  { name: "dir/hard", type: "hardlink", linkName: "dir/file" },
  { name: "link", type: "symlink", linkName: "../outside" },
  { name: "pipe", type: "fifo" },
  { name: "null", type: "char", deviceMajor: 1, deviceMinor: 3 },
  file("n\udcffme", "", {
    xattrs: new Map([["user.a", text("1")], ["security.capability", new Uint8Array(20)]]),
  }),
  file(".wh.gone", ""),
  file("dir/.wh..wh..opq", ""),
  file("big", "z".repeat(5000)),
];

/** GNU tar's own forms: long names, sparse files old and new; only where that tar is. */
async function gnuArchives(): Promise<Uint8Array[]> {
  const dir = await Deno.makeTempDir();
  try {
    const file = await Deno.open(`${dir}/sparse`, { write: true, create: true });
    for (const at of [0, 100_000, 300_000]) {
      await file.seek(at, Deno.SeekMode.Start);
      await file.write(text("data".repeat(50)));
    }
    await file.truncate(400_000);
    file.close();
    await Deno.writeTextFile(`${dir}/${"n".repeat(150)}`, "long");
    const forms = [["--format=gnu", "-S"], ["--format=pax", "-S"], [
      "--format=pax",
      "-S",
      "--sparse-version=0.1",
    ], [
      "--format=v7",
      "--exclude=nnn*",
    ]];
    const archives: Uint8Array[] = [];
    for (const form of forms) {
      const { success, stdout } = await new Deno.Command("tar", {
        args: [...form, "-cf", "-", "-C", dir, "."],
        stdin: "null",
        stderr: "null",
      }).output();
      if (success) archives.push(stdout);
    }
    return archives;
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

export const tars: readonly Uint8Array[] = [
  tarArchive(ITEMS),
  ...ITEMS.map((item) => tarArchive([item])),
  ...await gnuArchives(),
];

export const compressed: readonly { readonly bytes: Uint8Array; readonly plain: Uint8Array }[] = tars.slice(
  0,
  4,
)
  .flatMap((plain) => [
    { bytes: new Uint8Array(gzipSync(plain)), plain },
    { bytes: new Uint8Array(zstdCompressSync(plain)), plain },
    { bytes: new Uint8Array([...gzipSync(plain.subarray(0, 700)), ...gzipSync(plain.subarray(700))]), plain },
  ]);

export const image = buildImage({
  layers: [[file("a", "lower")], [file("b"), file(".wh.a", "")]],
  refs: ["fuzz:1", "localhost:5000/fuzz/fuzz:latest"],
  config: {
    Env: ["A=b"],
    Entrypoint: ["/x"],
    Labels: { a: "b" },
    ExposedPorts: { "80/tcp": {} },
    User: "1:2",
  },
  top: { history: [{ created_by: "x" }, { empty_layer: true }], variant: "v8" },
});
