/** Getting and giving images: load, pull and save beside podman. */

import { type Engine, startEngine } from "../tests/support/engine.ts";
import { runAs, type User } from "../tests/support/users.ts";
import { type BenchImage, manyFiles, oneLayer, sharedLayers } from "./archives.ts";
import { berthTool, contest, PodmanStores, printHead, time, type Tool } from "./beside_podman.ts";
import { type LocalRegistry, startRegistry } from "./registry.ts";

interface Setting {
  readonly user: User;
  readonly dir: string;
  readonly engine: Engine;
  readonly berth: Tool;
  readonly stores: PodmanStores | undefined;
  readonly registry: LocalRegistry | undefined;
  readonly rounds: number;
}

const GOAL = 1.5;

const remoteName = ({ host }: LocalRegistry, { reference }: BenchImage): string =>
  `${host}/${reference.replace(/^localhost\//, "")}`;

/** Brings images into the registry: podman packs the layers with gzip. */
async function fill({ registry, stores }: Setting, images: readonly BenchImage[]): Promise<void> {
  if (registry === undefined || stores === undefined) return;
  const podman = stores.fresh();
  for (const image of images) {
    await time(podman, ["load", "-q", "-i", image.archive]);
    const remote = remoteName(registry, image);
    await time(podman, ["push", "-q", "--tls-verify=false", image.reference, `docker://${remote}`]);
  }
}

async function loads(
  { engine, berth, stores, rounds }: Setting,
  image: BenchImage,
  goal?: number,
): Promise<void> {
  const load = ["load", "-q", "-i", image.archive];
  await contest(engine, {
    what: `load: ${image.name}`,
    bytes: image.bytes,
    rounds,
    ...(goal === undefined ? {} : { goal }),
    berth: async (measure) => {
      const ms = await measure(berth, load);
      await berth.run(["rmi", "-f", image.reference]);
      return ms;
    },
    podman: stores && (() => time(stores.fresh(), load)),
  });
}

async function saves(
  { user, dir, engine, berth, stores, rounds }: Setting,
  image: BenchImage,
): Promise<void> {
  const save = (file: string) => ["save", "-q", "-o", file, image.reference];
  const file = `${dir}/saved.tar`;
  await time(berth, ["load", "-q", "-i", image.archive]);
  const podman = stores?.fresh();
  if (podman) await time(podman, ["load", "-q", "-i", image.archive]);
  const remove = () => runAs(user, ["rm", "-f", file]);
  await contest(engine, {
    what: `save: ${image.name}`,
    bytes: image.bytes,
    rounds,
    berth: async (measure) => {
      const ms = await measure(berth, save(file).filter((word) => word !== "-q"));
      await remove();
      return ms;
    },
    podman: podman && (async () => {
      const ms = await time(podman, save(file));
      await remove();
      return ms;
    }),
  });
  await berth.run(["rmi", "-f", image.reference]);
}

/** @param before what both have already when they pull `image`. */
async function pulls(
  setting: Setting,
  image: BenchImage,
  options: { goal?: number; before?: BenchImage },
): Promise<void> {
  const { engine, berth, stores, registry, rounds } = setting;
  if (registry === undefined || stores === undefined) return;
  const { before, ...goal } = options;
  const pull = (wanted: BenchImage) => ["pull", "-q", remoteName(registry, wanted)];
  const insecure = (args: string[]) => ["pull", "--tls-verify=false", ...args.slice(1)];
  await contest(engine, {
    what: `pull: ${image.name}`,
    bytes: image.bytes,
    rounds,
    ...goal,
    berth: async (measure) => {
      if (before) await time(berth, pull(before));
      const ms = await measure(berth, pull(image));
      for (const gone of before ? [image, before] : [image]) {
        await berth.run(["rmi", "-f", remoteName(registry, gone)]);
      }
      return ms;
    },
    podman: async () => {
      const podman = stores.fresh();
      if (before) await time(podman, insecure(pull(before)));
      await runAs(engine.user, ["sync", "-f", engine.dir]);
      return await time(podman, insecure(pull(image)));
    },
  });
}

/** `load`, `pull` and `save` of large images. */
export async function printTransfers(
  user: User,
  dir: string,
  options: { megabytes: number; files: number; rounds: number },
): Promise<void> {
  printHead("Images: from an archive and into one, and from a registry on loopback (layers in gzip)");
  await using stores = await PodmanStores.open(user, `${dir}/image-stores`);
  if (!stores) console.log("  podman is not installed: berth alone");
  await using registry = stores && await startRegistry(user, dir);
  if (!registry) console.log("  no pulls: they need docker-registry, and podman to fill it");
  await using engine = await startEngine({ user });
  const setting: Setting = {
    user,
    dir,
    engine,
    berth: berthTool(engine),
    stores,
    registry,
    rounds: options.rounds,
  };
  const large = await oneLayer(dir, options.megabytes);
  await fill(setting, [large]);
  await pulls(setting, large, { goal: GOAL });
  await loads(setting, large);
  await saves(setting, large);
  await Deno.remove(large.archive);

  const many = await manyFiles(dir, options.files);
  await fill(setting, [many]);
  await pulls(setting, many, { goal: GOAL });
  await loads(setting, many);
  await saves(setting, many);
  await Deno.remove(many.archive);

  const [first, second] = await sharedLayers(dir);
  await fill(setting, [first, second]);
  await pulls(setting, second, { before: first });
  for (const { archive } of [first, second]) await Deno.remove(archive);
  console.log("  (medians; MB/s of the layers unpacked; peaks: resident, and with shared pages divided)");
}
