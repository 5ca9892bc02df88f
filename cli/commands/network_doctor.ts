import { defineCommand } from "../command.ts";
import { text } from "../flags/spec.ts";
import { type NetworkPath, networkPaths } from "../network/paths.ts";
import { LIST_FORMAT_HELP } from "../output/help_texts.ts";
import { formatList } from "../output/list_format.ts";
import { print } from "../stdio.ts";

/** What each path is good for, in the order of the table. */
const PURPOSES: Readonly<Record<string, string>> = {
  "tun": "packets from containers reach berth",
  "tproxy": "connections go out at full speed",
  "pasta": "stands in where tproxy is missing",
  "slirp4netns": "stands in where tproxy and pasta are missing",
  "ipv6": "containers reach hosts over IPv6",
  "ping": "containers ping other hosts",
  "low-ports": "ports below 1024 can be published",
  "open-files": "many connections at once",
  "macvlan": "networks of the driver macvlan",
  "ipvlan": "networks of the driver ipvlan",
};

const HEADERS = { Name: "PATH", Works: "WORKS", Purpose: "FOR", Detail: "DETAIL", Hint: "HINT" };

export const command = defineCommand({
  flags: { format: text(LIST_FORMAT_HELP) },
  usage: "",
  count: { min: 0, max: 0 },
  async run({ flags, client }) {
    const { outbound, paths } = await networkPaths(client);
    const isTable = flags.format === "" || flags.format === "table";
    if (isTable) print(`Connections to the outside: ${outbound}\n\n`);
    print(
      await formatList({
        items: inOrder(paths),
        row: (path) => ({
          Detail: () => path.detail,
          Hint: () => path.hint ?? "",
          Name: () => path.name,
          Purpose: () => PURPOSES[path.name] ?? "",
          Works: () => path.works ? "yes" : "no",
        }),
        type: "networkPath",
        headers: HEADERS,
        columns: ["Name", "Works", "Purpose", "Detail"],
        format: flags.format,
        quiet: undefined,
      }),
    );
    if (isTable) print(advice(paths));
  },
});

function inOrder(paths: readonly NetworkPath[]): NetworkPath[] {
  const order = Object.keys(PURPOSES);
  const place = ({ name }: NetworkPath) => order.includes(name) ? order.indexOf(name) : order.length;
  return [...paths].sort((a, b) => place(a) - place(b));
}

/** How to switch on what does not work. */
function advice(paths: readonly NetworkPath[]): string {
  return inOrder(paths).flatMap(({ name, works, hint }) =>
    works || !hint ? [] : [`\n${name}:\n${hint.split("\n").map((line) => `  ${line}\n`).join("")}`]
  ).join("");
}
