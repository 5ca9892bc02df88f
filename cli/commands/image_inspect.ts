import { segment } from "../api_client.ts";
import { defineCommand } from "../command.ts";
import { text } from "../flags/spec.ts";
import { printObjects } from "../inspect.ts";
import { FORMAT_HELP } from "../output/help_texts.ts";
import { platformQuery } from "../output/platform.ts";

export const command = defineCommand({
  flags: {
    format: text(FORMAT_HELP, { short: "f" }),
    platform: text(
      "Inspect a specific platform of the multi-platform image.\n" +
        "If the image or the server is not multi-platform capable, the command will error out if the platform does not match.\n" +
        "'os[/arch[/variant]]': Explicit platform (eg. linux/amd64)",
    ),
  },
  usage: "IMAGE [IMAGE...]",
  count: { min: 1 },
  completes: "image",
  async run({ flags, args, client }) {
    const platform = flags.platform === "" ? undefined : platformQuery(flags.platform);
    await printObjects(
      args,
      flags.format,
      (name) => client.json<unknown>("GET", `/images/${segment(name)}/json`, { query: { platform } }),
    );
  },
});
