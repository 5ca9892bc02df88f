import { segment } from "../api_client.ts";
import { defineCommand } from "../command.ts";
import { forEach } from "./each.ts";
import { STOP_FLAGS, stopQuery } from "./stop.ts";

export const command = defineCommand({
  flags: STOP_FLAGS,
  usage: "CONTAINER [CONTAINER...]",
  count: { min: 1 },
  completes: "container",
  async run({ flags, changed, args, client }) {
    const query = stopQuery(flags, changed);
    await forEach(args, async (name) => {
      await client.send("POST", `/containers/${segment(name, "container")}/restart`, { query });
      return name;
    });
  },
});
