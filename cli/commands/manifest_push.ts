import { parseReference } from "../../base/reference.ts";
import { defineCommand } from "../command.ts";
import { CliError } from "../errors.ts";
import { bool } from "../flags/spec.ts";
import { atDigest, manifestList, manifestReference } from "../manifest/image_manifest.ts";
import { ManifestRegistry } from "../manifest/registry.ts";
import { removeList, storedList } from "../manifest/store.ts";
import { printLine } from "../stdio.ts";

export const command = defineCommand({
  flags: {
    insecure: bool("Allow push to an insecure registry"),
    purge: bool("Remove the local manifest list after push", { short: "p" }),
  },
  usage: "MANIFEST_LIST",
  count: { min: 1, max: 1 },
  async run({ flags, args: [name = ""] }) {
    const target = manifestReference(name);
    const manifests = storedList(target);
    for (const { ref, descriptor: { platform } } of manifests) {
      if (!platform?.os || !platform.architecture) {
        throw new CliError(`manifest ${ref} must have an OS and Architecture to be pushed to a registry`);
      }
    }
    const list = manifestList(target, manifests);

    using registry = new ManifestRegistry(target.domain, flags.insecure);
    // A list names manifests of its own repository alone.
    const foreign = manifests.map((manifest) => ({ manifest, from: parseReference(manifest.ref).path }))
      .filter(({ from }) => from !== target.path);
    for (const { manifest, from } of foreign) await registry.mount(manifest, from, target);
    for (const { manifest: { descriptor: { digest, mediaType }, raw } } of foreign) {
      const known = await registry.put(target, digest, mediaType, raw);
      printLine(`Pushed ref ${atDigest(target, digest)} with digest: ${known}`);
    }
    const bytes = new TextEncoder().encode(list.text);
    printLine(await registry.put(target, target.tag ?? target.digest ?? "latest", list.mediaType, bytes));
    if (flags.purge) removeList(target);
  },
});
