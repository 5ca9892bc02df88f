import { defineCommand } from "../command.ts";
import { text } from "../flags/spec.ts";
import { platformQuery } from "../output/platform.ts";
import { checkOutput, writeOutput } from "../output_file.ts";

export const command = defineCommand({
  flags: {
    output: text("Write to a file, instead of STDOUT", { short: "o", completes: "file" }),
    platform: text(
      `Save only the given platform variant. Formatted as "os[/arch[/variant]]" (e.g., "linux/amd64")`,
    ),
  },
  usage: "IMAGE [IMAGE...]",
  count: { min: 1 },
  completes: "image",
  async run({ flags, args, client }) {
    checkOutput(flags.output, "failed to save image");
    const response = await client.request("GET", "/images/get", {
      query: {
        names: args,
        platform: flags.platform === "" ? undefined : platformQuery(flags.platform),
      },
    });
    await writeOutput(flags.output, response.body());
  },
});
