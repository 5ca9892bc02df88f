import { segment } from "../api_client.ts";
import { defineCommand } from "../command.ts";
import { text } from "../flags/spec.ts";
import { checkOutput, writeOutput } from "../output_file.ts";

export const command = defineCommand({
  flags: {
    output: text("Write to a file, instead of STDOUT", { short: "o", completes: "file" }),
  },
  usage: "CONTAINER",
  count: { min: 1, max: 1 },
  completes: "container",
  async run({ flags, args: [name = ""], client }) {
    checkOutput(flags.output, "failed to export container");
    const response = await client.request("GET", `/containers/${segment(name, "container")}/export`);
    await writeOutput(flags.output, response.body());
  },
});
