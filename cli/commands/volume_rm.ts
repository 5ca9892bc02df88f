import { segment } from "../api_client.ts";
import { defineCommand } from "../command.ts";
import { bool } from "../flags/spec.ts";
import { forEach } from "./each.ts";

export const command = defineCommand({
  flags: { force: bool("Force the removal of one or more volumes", { short: "f" }) },
  usage: "VOLUME [VOLUME...]",
  count: { min: 1 },
  completes: "volume",
  async run({ flags, args, client }) {
    await forEach(args, async (name) => {
      await client.send("DELETE", `/volumes/${segment(name, "volume")}`, {
        query: { force: flags.force || undefined },
      });
      return name;
    });
  },
});
