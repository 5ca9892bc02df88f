import { segment } from "../api_client.ts";
import { defineCommand } from "../command.ts";
import { forEach } from "./each.ts";

export const command = defineCommand({
  flags: {},
  usage: "CONTAINER [CONTAINER...]",
  count: { min: 1 },
  completes: "container",
  async run({ args, client }) {
    await forEach(args, async (name) => {
      await client.send("POST", `/containers/${segment(name, "container")}/unpause`);
      return name;
    });
  },
});
