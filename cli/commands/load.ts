import { defineCommand } from "../command.ts";
import { CliError } from "../errors.ts";
import { bool, text } from "../flags/spec.ts";
import { openInput } from "../input_file.ts";
import { platformQuery } from "../output/platform.ts";
import { showProgress } from "../output/progress.ts";
import { print, stdinBytes } from "../stdio.ts";

export const command = defineCommand({
  flags: {
    input: text("Read from tar archive file, instead of STDIN", { short: "i", completes: "file" }),
    platform: text(
      `Load only the given platform variant. Formatted as "os[/arch[/variant]]" (e.g., "linux/amd64")`,
    ),
    quiet: bool("Suppress the load output", { short: "q" }),
  },
  usage: "",
  count: { min: 0, max: 0 },
  async run({ flags, client }) {
    if (flags.input === "" && Deno.stdin.isTerminal()) {
      throw new CliError("requested load from stdin, but stdin is empty");
    }
    const terminal = Deno.stdout.isTerminal();
    const response = await client.request("POST", "/images/load", {
      query: {
        quiet: flags.quiet || !terminal,
        platform: flags.platform === "" ? undefined : platformQuery(flags.platform),
      },
      headers: { "Content-Type": "application/x-tar" },
      stream: flags.input === "" ? stdinBytes() : openInput(flags.input),
    });
    await showProgress(response.body(), print, terminal);
  },
});
