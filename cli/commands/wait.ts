import { segment } from "../api_client.ts";
import type { WaitAnswer } from "../api_types.ts";
import { defineCommand } from "../command.ts";
import { CliError } from "../errors.ts";
import { forEach } from "./each.ts";

export const command = defineCommand({
  flags: {},
  usage: "CONTAINER [CONTAINER...]",
  count: { min: 1 },
  completes: "container",
  async run({ args, client }) {
    await forEach(args, async (name) => {
      const answer = await client.json<WaitAnswer>("POST", `/containers/${segment(name, "container")}/wait`);
      if (answer.Error?.Message) throw new CliError(answer.Error.Message);
      return String(answer.StatusCode);
    });
  },
});
