/** Images that go between berth, skopeo, umoci and podman: what arrives is what was sent, to the last attribute. */
import { createHash } from "node:crypto";
import { gzipSync } from "node:zlib";
import { afterAll, beforeAll, expect, it } from "vitest";
import { type Engine, startEngine } from "../support/engine.ts";
import {
  buildImage,
  dockerArchive,
  file,
  HOST_ARCHITECTURE,
  type Item,
  ociArchive,
  text,
} from "../support/image_archive.ts";
import { BUSYBOX, describeWith, itWith, program } from "../support/needs.ts";
import { REGISTRY, Registry } from "../support/registry.ts";
import {
  asEngineRoot,
  differences,
  inUserNamespaceOf,
  readTree,
  tarCommand,
  type Tree,
  treeOf,
} from "../support/trees.ts";
import { runAs, type RunOptions, type RunResult, testDir, type User, usersToTest } from "../support/users.ts";

const DOCKER = program("docker", "docker.io");
const SKOPEO = program("skopeo", "skopeo");
const UMOCI = program("umoci", "umoci");
const PODMAN = program("podman", "podman");

/** Where containers/image keeps root's cache of blobs and looks for signatures. */
const CONTAINERS = "/var/lib/containers";
const exists = (path: string): boolean =>
  new Deno.Command("test", { args: ["-d", path] }).outputSync().success;

const OTHER_ARCHITECTURE = HOST_ARCHITECTURE === "amd64" ? "arm64" : "amd64";

const time = { mtime: [1_500_000_000, 123_456_789] } as const;
const dir = (name: string, more: Partial<Item> = {}): Item => ({ name, type: "directory", ...time, ...more });
const link = (name: string, linkName: string): Item => ({ name, type: "symlink", linkName, ...time });
/** cap_net_bind_service=ep, as `setcap` writes it without a namespace (VFS_CAP_REVISION_2). */
const CAPABILITY = Uint8Array.of(1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0);

/** busybox and at least one of everything that an archive can say about a file. */
function richLayers(): Item[][] {
  const busybox: Item = {
    name: "bin/busybox",
    mode: 0o755,
    data: Deno.readFileSync("/bin/busybox"),
    ...time,
  };
  const first: Item[] = [
    dir("./"),
    ...["bin", "etc", "dev", "proc", "sys", "hidden", "replaced"].map((name) => dir(name)),
    busybox,
    link("bin/sh", "busybox"),
    ...["hosts", "hostname", "resolv.conf"].map((name) => file(`etc/${name}`, "", time)),
    dir("tmp", { mode: 0o1777 }),
    dir("shared", { mode: 0o2775, uid: 1000, gid: 2000 }),
    file("shared/owned", "owned", { uid: 1000, gid: 2000, mode: 0o640, ...time }),
    file("shared/set-user-id", "s", { uid: 33, mode: 0o4755, ...time }),
    file("shared/nobody", "n", { uid: 65534, gid: 65534, mode: 0o400, mtime: [1, 0] }),
    // with its file's metadata, as every tar writes it: containers/storage sets them anew
    {
      name: "shared/owned-again",
      type: "hardlink",
      linkName: "shared/owned",
      uid: 1000,
      gid: 2000,
      mode: 0o640,
      ...time,
    },
    link("absolute", "/bin/busybox"),
    link("dangling", "../../no/where"),
    { name: "pipe", type: "fifo", mode: 0o622, ...time },
    file("attributes", "a", { ...time, xattrs: new Map([["user.note", text("one\0two")]]) }),
    file("capable", "c", { ...time, mode: 0o755, xattrs: new Map([["security.capability", CAPABILITY]]) }),
    dir("long".repeat(30)),
    file(`${"long".repeat(30)}/${"name".repeat(50)}`, "long", time),
    file("ümläut 名 and space\nand line", "utf-8", time),
    file("gone", "gone", time),
    file("hidden/one", "1", time),
    file("replaced/by-a-file", "2", time),
    file("changed", "before", time),
  ];
  const second: Item[] = [
    { name: ".wh.gone" },
    dir("hidden", { mode: 0o700 }),
    { name: "hidden/.wh..wh..opq" },
    file("hidden/two", "2", time),
    file("replaced", "now a file", time),
    file("changed", "after", { mode: 0o600, uid: 7, ...time }),
    link("linked", "changed"),
  ];
  return [first, second];
}

describeWith(REGISTRY, BUSYBOX, DOCKER, SKOPEO).each(usersToTest())(
  "peers of $name's engine",
  (user: User) => {
    let engine: Engine;
    let registry: Registry;
    let shared: string;
    let docker: (...args: string[]) => Promise<RunResult>;
    const rich = buildImage({ layers: richLayers(), refs: ["rich:1"], config: { Cmd: ["sleep", "600"] } });

    beforeAll(async () => {
      shared = Deno.makeTempDirSync({ dir: testDir(), prefix: "interop-" });
      Deno.chmodSync(shared, 0o755);
      registry = await Registry.start({ dir: shared });
      engine = await startEngine({ user });
      docker = (...args) => engine.docker(args, { env: { HOME: engine.dir } });
      Deno.writeFileSync(`${shared}/rich.tar`, dockerArchive(rich));
      expect(await docker("load", "-i", `${shared}/rich.tar`)).toMatchObject({ code: 0 });
    });
    afterAll(async () => {
      await engine?.[Symbol.asyncDispose]();
      await registry?.[Symbol.asyncDispose]();
      if (shared !== undefined) Deno.removeSync(shared, { recursive: true });
    });

    /** Runs a program that must succeed. */
    const ok = async (argv: readonly string[], options?: RunOptions): Promise<RunResult> => {
      const result = await runAs(user, argv, { ...options, env: { HOME: engine.dir, ...options?.env } });
      if (result.code !== 0) throw new Error(`${argv.join(" ")}: ${result.stdout}${result.stderr}`);
      return result;
    };
    /** skopeo, with what root's remembers of blobs (below /var/lib/containers) gone at its end. */
    const skopeo = (...args: string[]) => {
      const script = 'mount -t tmpfs tmpfs "$0" && exec "$@"';
      const apart = user.uid === 0 && exists(CONTAINERS)
        ? [...asEngineRoot(user), "sh", "-c", script, CONTAINERS]
        : [];
      return ok([...apart, "skopeo", "--insecure-policy", ...args]);
    };
    const inspect = async (name: string, format: string): Promise<string> => {
      const { code, stdout, stderr } = await docker("image", "inspect", "-f", format, name);
      if (code !== 0) throw new Error(stderr);
      return stdout.trim();
    };
    const sha256 = (bytes: Uint8Array) => `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
    /** A manifest in the registry as it is there. */
    const rawManifest = async (name: string) => {
      const { stdoutBytes, stdout } = await skopeo(
        "inspect",
        "--raw",
        "--tls-verify=false",
        `docker://${name}`,
      );
      return { digest: sha256(stdoutBytes), manifest: JSON.parse(stdout) };
    };

    it("an index that skopeo copied: the host's platform, the other one, and either digest", async () => {
      const builds = [HOST_ARCHITECTURE, OTHER_ARCHITECTURE].map((architecture) =>
        buildImage({
          layers: [[file("architecture", architecture)]],
          top: { architecture },
          compress: (bytes) => new Uint8Array(gzipSync(bytes)),
        })
      );
      const [host, other] = builds;
      if (host === undefined || other === undefined) throw new Error("two were built");
      const layout = `${engine.dir}/index`;
      const archive = ociArchive(
        // the other one first: taking the first would be wrong
        [
          { image: other, platform: { os: "linux", architecture: OTHER_ARCHITECTURE } },
          { image: host, platform: { os: "linux", architecture: HOST_ARCHITECTURE } },
        ],
        { annotations: { "org.opencontainers.image.ref.name": "multi" } },
      );
      await ok(["mkdir", layout]);
      await ok(["tar", "-C", layout, "-x"], { stdin: archive });
      const name = `${registry.host}/multi/platform`;
      await skopeo(
        "copy",
        "-q",
        "--all",
        "--dest-tls-verify=false",
        `oci:${layout}:multi`,
        `docker://${name}:1`,
      );
      const index = await rawManifest(`${name}:1`);
      expect(index.manifest.manifests).toHaveLength(2);
      const digestFor = (architecture: string): string =>
        index.manifest.manifests.find((one: { platform: { architecture: string } }) =>
          one.platform.architecture === architecture
        ).digest;

      const expected = async (reference: string, id: string, architecture: string, digest: string) => {
        expect(await inspect(reference, "{{.Id}} {{.Architecture}} {{json .RepoDigests}}")).toBe(
          `${id} ${architecture} ["${name}@${digest}"]`,
        );
      };
      const clean = () => docker("rmi", "-f", host.id, other.id);
      const pull = async (...args: string[]) => {
        const { code, stdout, stderr } = await docker("pull", ...args);
        expect([code, stderr]).toEqual([0, ""]);
        return stdout;
      };

      expect(await pull(`${name}:1`)).toContain(`Digest: ${index.digest}\n`);
      await expected(`${name}:1`, host.id, HOST_ARCHITECTURE, index.digest);
      const listed = await docker(
        "images",
        "--digests",
        "--no-trunc",
        "--format",
        "{{.Digest}} {{.ID}}",
        name,
      );
      expect(listed.stdout).toBe(`${index.digest} ${host.id}\n`);
      await clean();

      expect(await pull("--platform", `linux/${OTHER_ARCHITECTURE}`, `${name}:1`)).toContain(index.digest);
      await expected(`${name}:1`, other.id, OTHER_ARCHITECTURE, index.digest);
      await clean();

      await pull(`${name}@${index.digest}`);
      await expected(`${name}@${index.digest}`, host.id, HOST_ARCHITECTURE, index.digest);
      await clean();

      for (
        const [architecture, { id }] of [[HOST_ARCHITECTURE, host], [OTHER_ARCHITECTURE, other]] as const
      ) {
        const digest = digestFor(architecture);
        await pull(`${name}@${digest}`);
        await expected(`${name}@${digest}`, id, architecture, digest);
        await clean();
      }
      const missing = await docker("pull", "--platform", "linux/s390x", `${name}:1`);
      expect(missing.code).toBe(1);
      expect(missing.stderr).toContain("no matching manifest for linux/s390x in the manifest list entries");
    });

    it("skopeo copies from and to docker-daemon: the same image", async () => {
      const facts = "{{.Id}} {{json .RootFS}} {{json .Config}} {{.Created}}";
      const before = await inspect("rich:1", facts);
      const copy = `${engine.dir}/from-daemon`;
      await skopeo("copy", "-q", "--src-daemon-host", engine.host, "docker-daemon:rich:1", `dir:${copy}`);
      const manifest = JSON.parse(Deno.readTextFileSync(`${copy}/manifest.json`));
      expect(manifest.config.digest).toBe(rich.id);
      expect(manifest.layers.map(({ digest }: { digest: string }) => digest)).toEqual(
        rich.layers.map(({ diffId }) => diffId),
      );
      // ten times: a daemon that answers before it has read the archive makes skopeo fail now and then
      for (let i = 0; i < 10; i++) {
        await skopeo(
          "copy",
          "-q",
          "--dest-daemon-host",
          engine.host,
          `dir:${copy}`,
          `docker-daemon:back:${i}`,
        );
        expect(await inspect(`back:${i}`, facts)).toBe(before);
      }
      const archive = `docker-archive:${shared}/rich.tar`;
      await docker("rmi", "-f", rich.id);
      await skopeo("copy", "-q", "--dest-daemon-host", engine.host, archive, "docker-daemon:rich:1");
      expect(await inspect("rich:1", facts)).toBe(before);
      const run = await docker("run", "--rm", "rich:1", "/bin/busybox", "cat", "/changed");
      expect(run).toMatchObject({ code: 0, stdout: "after" });
    });

    it.each(["zstd", "zstd:chunked"])("layers that skopeo has compressed by %s", async (format) => {
      const [first = [], ...more] = richLayers();
      // layers that nothing else has: one that is there is not fetched again in another compression
      const image = buildImage({
        layers: [[...first, file(format)], ...more.map((items) => [...items, file(`${format} too`)])],
        refs: ["zstd:1"],
      });
      const archive = `${shared}/${format.replace(":", "-")}.tar`;
      Deno.writeFileSync(archive, dockerArchive(image));
      const name = `${registry.host}/zstd/${format.replace(":", "-")}`;
      const to = ["--dest-tls-verify=false", "--format=oci", "--dest-compress-format", format];
      await skopeo("copy", "-q", ...to, `docker-archive:${archive}`, `docker://${name}:1`);
      const { digest, manifest } = await rawManifest(`${name}:1`);
      for (const { mediaType } of manifest.layers) {
        expect(mediaType).toBe("application/vnd.oci.image.layer.v1.tar+zstd");
      }
      const pulled = await docker("pull", `${name}:1`);
      expect(pulled).toMatchObject({ code: 0, stdout: expect.stringContaining(`Digest: ${digest}\n`) });
      expect(await inspect(`${name}:1`, "{{json .RootFS.Layers}}")).toBe(
        JSON.stringify(image.layers.map(({ diffId }) => diffId)),
      );
      const run = await docker("run", "--rm", `${name}:1`, "/bin/busybox", "cat", "/changed");
      expect(run).toMatchObject({ code: 0, stdout: "after" });
      const same = await docker("push", `${name}:1`);
      expect(same.stdout).not.toMatch(/Pushed|Mounted/);
      expect(same.stdout).toContain(`1: digest: ${digest} `);
      await docker("tag", `${name}:1`, `${name}-again:1`);
      expect(await docker("push", `${name}-again:1`)).toMatchObject({ code: 0 });
      expect((await rawManifest(`${name}-again:1`)).digest).toBe(digest);
      await docker("rmi", `${name}:1`, `${name}-again:1`);
    });

    itWith(UMOCI, PODMAN)(
      "umoci and podman unpack what berth pushed and saved to berth's own tree",
      async () => {
        // berth's own layer on top, with removals and replacements
        const change = [
          "cd /shared && busybox rm nobody && busybox ln set-user-id linked && busybox chmod 4711 linked",
          "busybox rm -r /hidden && busybox mkdir /hidden && busybox touch -d 2001-02-03 /hidden/new",
          "busybox rm -r /long* && busybox ln -s /x /long && busybox chown 5:6 /pipe && busybox chown -h 8:9 /dangling",
          "busybox sh -c 'echo more >>/attributes'",
        ].join(" && ");
        await docker("load", "-i", `${shared}/rich.tar`);
        expect(await docker("run", "--name", "maker", "rich:1", "/bin/sh", "-c", change)).toMatchObject({
          code: 0,
          stderr: "",
        });
        const image = `${registry.host}/trees/made:1`;
        expect(await docker("commit", "maker", image)).toMatchObject({ code: 0 });
        for (const name of ["rich:1", image]) {
          const pushed = name === image ? image : `${registry.host}/trees/rich:1`;
          await docker("tag", name, pushed);
          expect(await docker("push", pushed)).toMatchObject({ code: 0 });
          const ours = await containerTree(pushed);
          expect(ours.get("shared/owned")).toContain('"owner":"1000:2000"');
          expect(ours.get("capable")).toContain(`security.capability=${CAPABILITY.toHex()}`);
          expect(ours.has("gone") || ours.has("hidden/one")).toBe(false);
          const saved = `${engine.dir}/saved.tar`;
          expect(await docker("save", "-o", saved, pushed)).toMatchObject({ code: 0 });
          const work = `${engine.dir}/work`;
          await ok(["mkdir", work]);
          const trees = {
            "umoci, pushed": await umociTree(
              work,
              (layout) =>
                skopeo("copy", "-q", "--src-tls-verify=false", `docker://${pushed}`, `oci:${layout}:1`),
            ),
            "umoci, saved": await umociTree(work, async (layout) => {
              await ok(["mkdir", layout]);
              await ok(["tar", "-C", layout, "-xf", saved]);
            }),
            "podman, pushed": await podmanTree(work, "pull --quiet --tls-verify=false", pushed, pushed),
            "podman, saved": await podmanTree(work, "load --quiet --input", saved, pushed),
          };
          await ok(["rm", "-rf", work]);
          for (const [who, tree] of Object.entries(trees)) {
            expect([who, ...differences(ours, tree)]).toEqual(
              [who],
            );
          }
        }
        expect(await docker("rm", "maker")).toMatchObject({ code: 0 });
      },
    );

    async function containerTree(image: string): Promise<Tree> {
      const run = await docker("run", "-d", image, "/bin/busybox", "sleep", "600");
      const id = run.stdout.trim();
      const pid = (await docker("inspect", "-f", "{{.State.Pid}}", id)).stdout.trim();
      try {
        return await readTree(user, inUserNamespaceOf(pid), `/proc/${pid}/root`);
      } finally {
        await docker("rm", "-f", id);
      }
    }

    /** `fill` makes an OCI layout with one image, of tag "1". */
    async function umociTree(work: string, fill: (layout: string) => Promise<unknown>): Promise<Tree> {
      const layout = `${work}/layout`;
      await fill(layout);
      const unpack = [...asEngineRoot(user), "umoci", "unpack", "--image", `${layout}:1`, `${work}/bundle`];
      await ok(unpack);
      const tree = await readTree(user, asEngineRoot(user), `${work}/bundle/rootfs`);
      await ok([...asEngineRoot(user), "rm", "-rf", layout, `${work}/bundle`]);
      return tree;
    }

    /** What podman keeps outside of its roots (locks, runtime state) goes with the mount namespace. */
    async function podmanTree(work: string, how: string, source: string, image: string): Promise<Tree> {
      const script = [
        "for dir in /run /dev/shm /var/lib/containers; do [ ! -d $dir ] || mount -t tmpfs tmpfs $dir || exit; done",
        "mkdir -m 700 /run/user",
        'podman() { command podman --root "$0/root" --runroot "$0/run" --storage-driver vfs --events-backend none "$@"; }',
        `podman ${how} "$1" >&2 && tree=$(podman image mount "$2")`,
        'shift 2 && cd "$tree" && "$@"',
      ].join(" && ");
      const env = { _CONTAINERS_USERNS_CONFIGURED: "done", XDG_RUNTIME_DIR: "/run/user", TMPDIR: engine.dir };
      const argv = [
        ...asEngineRoot(user),
        "sh",
        "-c",
        script,
        `${work}/podman`,
        source,
        image,
        ...tarCommand("."),
      ];
      const tree = await treeOf(await ok(argv, { env }));
      await ok([...asEngineRoot(user), "rm", "-rf", `${work}/podman`]);
      return tree;
    }
  },
);
