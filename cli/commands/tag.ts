import { canonicalName, parseReference, type Reference } from "../../base/reference.ts";
import { messageOf } from "../../base/errors.ts";
import { segment } from "../api_client.ts";
import { defineCommand } from "../command.ts";
import { CliError } from "../errors.ts";
import { isImageId } from "../output/names.ts";

export const command = defineCommand({
  flags: {},
  usage: "SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]",
  count: { min: 2, max: 2 },
  completes: "image",
  async run({ args: [source = "", target = ""], client }) {
    if (!isImageId(source)) readReference(source);
    const reference = readReference(target);
    if (reference.digest !== undefined) {
      throw new CliError("refusing to create a tag with a digest reference");
    }
    await client.send("POST", `/images/${segment(source)}/tag`, {
      query: { repo: canonicalName(reference), tag: reference.tag ?? "latest" },
    });
  },
});

function readReference(text: string): Reference {
  try {
    return parseReference(text);
  } catch (error) {
    throw new CliError(
      `Error parsing reference: ${JSON.stringify(text)} is not a valid repository/tag: ${messageOf(error)}`,
    );
  }
}
