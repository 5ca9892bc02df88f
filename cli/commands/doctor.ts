import { defineCommand } from "../command.ts";
import { CliError } from "../errors.ts";
import { text } from "../flags/spec.ts";
import { engineChecks } from "../doctor/engine.ts";
import { machineChecks } from "../doctor/machine.ts";
import { LIST_FORMAT_HELP } from "../output/help_texts.ts";
import { formatList } from "../output/list_format.ts";
import { print } from "../stdio.ts";

const HEADERS = { Name: "CHECK", Works: "WORKS", Detail: "DETAIL", Hint: "HINT" };

/** Without these no container starts. */
const ESSENTIAL = ["user-namespaces", "engine"];

export const command = defineCommand({
  flags: { format: text(LIST_FORMAT_HELP) },
  usage: "",
  count: { min: 0, max: 0 },
  async run({ flags, client, session }) {
    const isHere = session.endpoint.url.startsWith("unix://");
    const checks = [
      ...(isHere ? machineChecks(Deno.uid() ?? 0) : []),
      ...await engineChecks(client, isHere),
    ];
    print(
      await formatList({
        items: checks,
        row: ({ name, works, detail, hint }) => ({
          Detail: () => detail.replaceAll("\n", " "),
          Hint: () => hint ?? "",
          Name: () => name,
          Works: () => works ? "yes" : "no",
        }),
        type: "check",
        headers: HEADERS,
        columns: ["Name", "Works", "Detail"],
        format: flags.format,
        quiet: undefined,
      }),
    );
    if (flags.format === "" || flags.format === "table") {
      for (const { name, hint } of checks) {
        if (hint) print(`\n${name}:\n${hint.split("\n").map((line) => `  ${line}\n`).join("")}`);
      }
    }
    if (checks.some(({ name, works }) => !works && ESSENTIAL.includes(name))) throw new CliError("");
  },
});
