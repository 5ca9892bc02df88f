import { messageOf } from "../../base/errors.ts";
import type { Reference } from "../../base/reference.ts";
import { defineCommand } from "../command.ts";
import { CliError } from "../errors.ts";
import { strings, text } from "../flags/spec.ts";
import { manifestReference, platformOf } from "../manifest/image_manifest.ts";
import { findManifest, saveManifest } from "../manifest/store.ts";

/** What Go's compiler knows, and so what a list may name (docker/cli: cli/command/manifest/util.go). */
const ARCHITECTURES: Readonly<Record<string, string>> = {
  darwin: "386 amd64 arm arm64",
  dragonfly: "amd64",
  freebsd: "386 amd64 arm",
  linux: "386 amd64 arm arm64 ppc64le mips64 mips64le riscv64 s390x",
  netbsd: "386 amd64 arm",
  openbsd: "386 amd64 arm",
  plan9: "386 amd64",
  solaris: "amd64",
  windows: "386 amd64",
};

export const command = defineCommand({
  flags: {
    "arch": text("Set architecture", { completes: (ARCHITECTURES["linux"] ?? "").split(" ") }),
    "os": text("Set operating system", { completes: Object.keys(ARCHITECTURES) }),
    "os-features": strings("Set operating system feature"),
    "os-version": text("Set operating system version"),
    "variant": text("Set architecture variant"),
  },
  usage: "MANIFEST_LIST MANIFEST",
  count: { min: 2, max: 2 },
  run({ flags, args: [name = "", image = ""] }) {
    const list = reference("manifest list", name), ref = reference("manifest", image);
    const manifest = findManifest(list, ref);
    if (manifest === undefined) throw new CliError(`manifest for image ${image} does not exist in ${name}`);
    const known = platformOf({ ...manifest.descriptor.platform });
    const platform = platformOf({
      ...known,
      ...(flags.arch === "" ? {} : { architecture: flags.arch }),
      ...(flags.os === "" ? {} : { os: flags.os }),
      ...(flags["os-version"] === "" ? {} : { "os.version": flags["os-version"] }),
      ...(flags.variant === "" ? {} : { variant: flags.variant }),
      "os.features": [...new Set([...known["os.features"] ?? [], ...flags["os-features"]])],
    });
    if (!(ARCHITECTURES[platform.os] ?? "").split(" ").includes(platform.architecture)) {
      throw new CliError(
        `manifest entry for image has unsupported os/arch combination: ${flags.os}/${flags.arch}`,
      );
    }
    saveManifest(list, ref, { ...manifest, descriptor: { ...manifest.descriptor, platform } });
    return Promise.resolve();
  },
});

function reference(what: string, name: string): Reference {
  try {
    return manifestReference(name);
  } catch (error) {
    throw new CliError(`annotate: error parsing name for ${what} ${name}: ${messageOf(error)}`);
  }
}
