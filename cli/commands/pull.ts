import { parseReference } from "../../base/reference.ts";
import { defineCommand } from "../command.ts";
import { CliError } from "../errors.ts";
import { bool, text } from "../flags/spec.ts";
import { contentTrustFlag, refuseContentTrust } from "../registry/content_trust.ts";
import { canonical, pullImage } from "../registry/pull_image.ts";
import { print, printLine } from "../stdio.ts";

export const command = defineCommand({
  flags: {
    "all-tags": bool("Download all tagged images in the repository", { short: "a" }),
    "disable-content-trust": contentTrustFlag("Skip image verification"),
    platform: text("Set platform if server is multi-platform capable"),
    quiet: bool("Suppress verbose output", { short: "q" }),
  },
  usage: "NAME[:TAG|@DIGEST]",
  count: { min: 1, max: 1 },
  completes: "image",
  async run({ flags, args: [image = ""], client }) {
    const { tag, digest } = parseReference(image);
    refuseContentTrust(flags["disable-content-trust"], image);
    const allTags = flags["all-tags"];
    const named = tag !== undefined || digest !== undefined;
    if (allTags && named) throw new CliError("tag can't be used with --all-tags/-a");
    if (!allTags && !named && !flags.quiet) printLine("Using default tag: latest");
    const platform = flags.platform || Deno.env.get("DOCKER_DEFAULT_PLATFORM") || undefined;
    const write = flags.quiet ? () => {} : print;
    await pullImage(client, { image, allTags, platform }, write, Deno.stdout.isTerminal());
    printLine(allTags ? canonical(image).replace(/:latest$/, "") : canonical(image));
  },
});
