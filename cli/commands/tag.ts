import { segment } from "../api_client.ts";
import { defineCommand } from "../command.ts";
import { CliError } from "../errors.ts";
import { splitReference } from "../output/names.ts";

export const command = defineCommand({
  flags: {},
  usage: "SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]",
  count: { min: 2, max: 2 },
  completes: "image",
  async run({ args: [source = "", target = ""], client }) {
    const { repository, tag, digest } = splitReference(target);
    if (digest !== "") throw new CliError("refusing to create a tag with a digest reference");
    if (repository === "") {
      throw new CliError(`Error parsing reference: ${JSON.stringify(target)} is not a valid repository/tag`);
    }
    await client.send("POST", `/images/${segment(source)}/tag`, {
      query: { repo: repository, tag: tag || "latest" },
    });
  },
});
