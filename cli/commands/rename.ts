import { segment } from "../api_client.ts";
import { defineCommand } from "../command.ts";
import { ApiError, CliError, describeError } from "../errors.ts";
import { printError } from "../stdio.ts";

export const command = defineCommand({
  flags: {},
  usage: "CONTAINER NEW_NAME",
  count: { min: 2, max: 2 },
  completes: "container",
  async run({ args: [oldName = "", newName = ""], client }) {
    if (oldName.trim() === "" || newName.trim() === "") {
      throw new CliError("Error: Neither old nor new names may be empty");
    }
    try {
      await client.send("POST", `/containers/${segment(oldName, "container")}/rename`, {
        query: { name: newName.trim() },
      });
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      printError(describeError(error));
      throw new CliError(`Error: failed to rename container named ${oldName}`);
    }
  },
});
