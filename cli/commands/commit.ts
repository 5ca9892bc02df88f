import { familiarName, parseReference } from "../../base/reference.ts";
import { segment } from "../api_client.ts";
import { defineCommand } from "../command.ts";
import { CliError } from "../errors.ts";
import { bool, list, text } from "../flags/spec.ts";
import { printLine } from "../stdio.ts";

export const command = defineCommand({
  flags: {
    author: text(`Author (e.g., "John Hannibal Smith <hannibal@a-team.com>")`, { short: "a" }),
    change: list("Apply Dockerfile instruction to the created image", { short: "c" }),
    message: text("Commit message", { short: "m" }),
    pause: bool("Pause container during commit", { short: "p", default: true }),
  },
  usage: "CONTAINER [REPOSITORY[:TAG]]",
  count: { min: 1, max: 2 },
  completes: "container",
  async run({ flags, args: [container = "", reference = ""], client }) {
    const parsed = reference === "" ? undefined : parseReference(reference);
    if (parsed?.digest !== undefined) throw new CliError("refusing to create a tag with a digest reference");
    segment(container, "container");
    const answer = await client.json<{ Id: string }>("POST", "/commit", {
      query: {
        author: flags.author,
        changes: flags.change.length === 0 ? undefined : flags.change,
        comment: flags.message,
        container,
        pause: flags.pause ? undefined : false,
        repo: parsed && familiarName(parsed),
        tag: parsed && (parsed.tag ?? "latest"),
      },
      json: null,
    });
    printLine(answer.Id);
  },
});
