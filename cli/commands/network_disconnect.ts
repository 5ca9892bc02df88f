import { segment } from "../api_client.ts";
import { defineCommand } from "../command.ts";
import { bool } from "../flags/spec.ts";

export const command = defineCommand({
  flags: { force: bool("Force the container to disconnect from a network", { short: "f" }) },
  usage: "NETWORK CONTAINER",
  count: { min: 2, max: 2 },
  completes: "endpoint",
  async run({ flags, args: [network = "", container = ""], client }) {
    const path = `/networks/${segment(network, "network")}/disconnect`;
    segment(container, "container");
    await client.send("POST", path, { json: { Container: container, Force: flags.force } });
  },
});
