import { canonicalName, parseReference } from "../../base/reference.ts";
import { defineCommand } from "../command.ts";
import { CliError } from "../errors.ts";
import { bool, text } from "../flags/spec.ts";
import { contentTrustFlag, refuseContentTrust } from "../registry/content_trust.ts";
import { canonical } from "../registry/pull_image.ts";
import { pushImage } from "../registry/push_image.ts";
import { print, printLine } from "../stdio.ts";

export const command = defineCommand({
  flags: {
    "all-tags": bool("Push all tags of an image to the repository", { short: "a" }),
    "disable-content-trust": contentTrustFlag("Skip image signing"),
    platform: text(
      `Push a platform-specific manifest as a single-platform image to the registry.\nImage index won't be pushed, meaning that other manifests, including attestations won't be preserved.\n'os[/arch[/variant]]': Explicit platform (eg. linux/amd64)`,
    ),
    quiet: bool("Suppress verbose output", { short: "q" }),
  },
  usage: "NAME[:TAG]",
  count: { min: 1, max: 1 },
  completes: "image",
  async run({ flags, args: [image = ""], client }) {
    const reference = parseReference(image);
    const { tag, digest } = reference;
    refuseContentTrust(flags["disable-content-trust"], image);
    const repository = canonicalName(reference);
    const allTags = flags["all-tags"];
    if (allTags && (tag !== undefined || digest !== undefined)) {
      throw new CliError("tag can't be used with --all-tags/-a");
    }
    if (digest !== undefined) throw new CliError("cannot push a digest reference");
    if (!allTags && tag === undefined && !flags.quiet) printLine("Using default tag: latest");
    const platform = flags.platform === "" ? undefined : JSON.stringify(platformOf(flags.platform));
    const write = flags.quiet ? () => {} : print;
    await pushImage(client, { image, allTags, platform }, write, Deno.stdout.isTerminal());
    if (flags.quiet) printLine(allTags ? repository : canonical(image));
  },
});

function platformOf(platform: string): Record<string, string> {
  const [os = "", architecture = "", variant] = platform.split("/");
  return { architecture, os, ...(variant === undefined ? {} : { variant }) };
}
