import { parseReference } from "../../base/reference.ts";
import { defineCommand } from "../command.ts";
import { list, text } from "../flags/spec.ts";
import { openInput } from "../input_file.ts";
import { splitReference } from "../output/names.ts";
import { showProgress } from "../output/progress.ts";
import { print, stdinBytes } from "../stdio.ts";

export const command = defineCommand({
  flags: {
    change: list("Apply Dockerfile instruction to the created image", { short: "c" }),
    message: text("Set commit message for imported image", { short: "m" }),
    platform: text("Set platform if server is multi-platform capable"),
  },
  usage: "file|URL|- [REPOSITORY[:TAG]]",
  count: { min: 1 },
  completes: "file",
  async run({ flags, args: [source = "", reference = ""], client }) {
    const remote = /^https?:\/\//.test(source);
    if (reference !== "") parseReference(reference);
    const { repository, tag } = splitReference(reference);
    const stream = remote ? {} : { stream: source === "-" ? stdinBytes() : openInput(source) };
    const response = await client.request("POST", "/images/create", {
      query: {
        changes: flags.change.length === 0 ? undefined : flags.change,
        fromSrc: remote ? source : "-",
        message: flags.message || undefined,
        platform: flags.platform || undefined,
        repo: repository || undefined,
        tag: tag || undefined,
      },
      headers: { "Content-Type": "text/plain" },
      ...stream,
    });
    await showProgress(response.body(), print, Deno.stdout.isTerminal());
  },
});
