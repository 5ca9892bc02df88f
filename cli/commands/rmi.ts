import { segment } from "../api_client.ts";
import { defineCommand } from "../command.ts";
import { ApiError, CliError, describeError } from "../errors.ts";
import { bool, list } from "../flags/spec.ts";
import { platformQuery } from "../output/platform.ts";
import { printError, printLine } from "../stdio.ts";

export const command = defineCommand({
  flags: {
    "force": bool("Force removal of the image", { short: "f" }),
    "no-prune": bool("Do not delete untagged parents"),
    "platform": list(
      `Remove only the given platform variant. Formatted as "os[/arch[/variant]]" (e.g., "linux/amd64")`,
      { label: "strings" },
    ),
  },
  usage: "IMAGE [IMAGE...]",
  count: { min: 1 },
  completes: "image",
  async run({ flags, args, client }) {
    const query = {
      force: flags.force || undefined,
      noprune: flags["no-prune"] || undefined,
      platforms: flags.platform.length === 0
        ? undefined
        : flags.platform.flatMap((text) => text.split(",")).map(platformQuery),
    };
    let failed = false;
    for (const name of args) {
      try {
        const removed = await client.json<{ Untagged?: string; Deleted?: string }[]>(
          "DELETE",
          `/images/${segment(name)}`,
          { query },
        );
        for (const { Untagged, Deleted } of removed) {
          printLine(Deleted ? `Deleted: ${Deleted}` : `Untagged: ${Untagged}`);
        }
      } catch (error) {
        if (!(error instanceof ApiError)) throw error;
        printError(describeError(error));
        // With --force an image that is not there is no failure.
        failed ||= !flags.force || error.status !== 404;
      }
    }
    if (failed) throw new CliError("");
  },
});
