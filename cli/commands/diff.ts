import { segment } from "../api_client.ts";
import { defineCommand } from "../command.ts";
import { CliError } from "../errors.ts";
import { print } from "../stdio.ts";

const LETTERS = ["C", "A", "D"];

export const command = defineCommand({
  flags: {},
  usage: "CONTAINER",
  count: { min: 1, max: 1 },
  completes: "container",
  async run({ args: [name = ""], client }) {
    if (name === "") throw new CliError("Container name cannot be empty");
    const changes = await client.json<{ Kind: number; Path: string }[] | null>(
      "GET",
      `/containers/${segment(name, "container")}/changes`,
    );
    print((changes ?? []).map(({ Kind, Path }) => `${LETTERS[Kind] ?? "?"} ${Path}\n`).join(""));
  },
});
