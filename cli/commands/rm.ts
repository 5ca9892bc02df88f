import { segment } from "../api_client.ts";
import { defineCommand } from "../command.ts";
import { ApiError, CliError, describeError } from "../errors.ts";
import { bool } from "../flags/spec.ts";
import { printError } from "../stdio.ts";
import { forEach } from "./each.ts";

export const command = defineCommand({
  flags: {
    force: bool("Force the removal of a running container (uses SIGKILL)", { short: "f" }),
    link: bool("Remove the specified link", { short: "l" }),
    volumes: bool("Remove anonymous volumes associated with the container", { short: "v" }),
  },
  usage: "CONTAINER [CONTAINER...]",
  count: { min: 1 },
  completes: "container",
  async run({ flags, args, client }) {
    const query = {
      force: flags.force || undefined,
      link: flags.link || undefined,
      v: flags.volumes || undefined,
    };
    await forEach(args, async (name) => {
      const container = name.replace(/^\/+|\/+$/g, "");
      if (container === "") throw new CliError("container name cannot be empty");
      try {
        await client.send("DELETE", `/containers/${segment(container, "container")}`, { query });
      } catch (error) {
        // With --force a container that is not there is what was asked for: said, but no failure.
        if (!flags.force || !(error instanceof ApiError) || error.status !== 404) throw error;
        printError(describeError(error));
        return undefined;
      }
      return name;
    });
  },
});
