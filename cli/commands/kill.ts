import { segment } from "../api_client.ts";
import { defineCommand } from "../command.ts";
import { text } from "../flags/spec.ts";
import { forEach } from "./each.ts";

export const command = defineCommand({
  flags: { signal: text("Signal to send to the container", { short: "s" }) },
  usage: "CONTAINER [CONTAINER...]",
  count: { min: 1 },
  completes: "container",
  async run({ flags, args, client }) {
    const query = { signal: flags.signal || undefined };
    await forEach(args, async (name) => {
      await client.send("POST", `/containers/${segment(name, "container")}/kill`, { query });
      return name;
    });
  },
});
