import { defineCommand } from "../command.ts";
import { text } from "../flags/spec.ts";
import { type NetworkPath, networkPaths } from "../network/paths.ts";
import { LIST_FORMAT_HELP } from "../output/help_texts.ts";
import { formatList } from "../output/list_format.ts";
import { print } from "../stdio.ts";

/** What everything needs, first. */
const ORDER = [
  "tun",
  "tproxy",
  "pasta",
  "slirp4netns",
  "ipv6",
  "ping",
  "low-ports",
  "open-files",
  "macvlan",
  "ipvlan",
];

const HEADERS = { Name: "PATH", Works: "WORKS", Detail: "DETAIL", Hint: "HINT" };

export const command = defineCommand({
  flags: { format: text(LIST_FORMAT_HELP) },
  usage: "",
  count: { min: 0, max: 0 },
  async run({ flags, client }) {
    const { outbound, paths } = await networkPaths(client, { fresh: true });
    const isTable = flags.format === "" || flags.format === "table";
    if (isTable) print(`Connections to the outside: ${outbound}\n\n`);
    print(
      await formatList({
        items: inOrder(paths),
        row: (path) => ({
          Detail: () => path.detail,
          Hint: () => path.hint ?? "",
          Name: () => path.name,
          Works: () => path.works ? "yes" : "no",
        }),
        type: "networkPath",
        headers: HEADERS,
        columns: ["Name", "Works", "Detail"],
        format: flags.format,
        quiet: undefined,
      }),
    );
    if (isTable) print(advice(paths));
  },
});

function inOrder(paths: readonly NetworkPath[]): NetworkPath[] {
  const place = ({ name }: NetworkPath) => ORDER.includes(name) ? ORDER.indexOf(name) : ORDER.length;
  return [...paths].sort((a, b) => place(a) - place(b));
}

/** How to switch on what does not work. */
function advice(paths: readonly NetworkPath[]): string {
  return inOrder(paths).flatMap(({ name, works, hint }) =>
    works || !hint ? [] : [`\n${name}:\n${hint.split("\n").map((line) => `  ${line}\n`).join("")}`]
  ).join("");
}
