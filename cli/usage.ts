/** Help texts of berth, its groups and its commands, made from the tables. */

import type { Command } from "./command.ts";
import { usageLine } from "./command.ts";
import { COMMANDS, type Entry, GROUPS } from "./command_table.ts";
import { flagUsages, helpWidth, nameTable } from "./flags/help.ts";
import { GLOBAL_FLAGS } from "./global_flags.ts";

const SHOWN = COMMANDS.filter(({ hidden }) => hidden !== true);

const byName = (a: readonly [string, string], b: readonly [string, string]): number => a[0] < b[0] ? -1 : 1;

const endpointConfig = (summary: string, verb: string): string =>
  `${summary}

Docker endpoint config:

NAME                DESCRIPTION
from                Copy named context's Docker endpoint configuration
host                Docker endpoint on which to connect
ca                  Trust certs signed only by this CA
cert                Path to TLS certificate file
key                 Path to TLS key file
skip-tls-verify     Skip TLS certificate validation

Example:

$ berth context ${verb} my-context --description "some description" --docker "host=tcp://myserver:2376,ca=~/ca-file,cert=~/cert-file,key=~/key-file"`;

/** What a command's own help says instead of its summary, by its first spelling. */
const LONG: Readonly<Record<string, string>> = {
  "login": "Authenticate to a registry.\nDefaults to Docker Hub if no server is specified.",
  "logout": "Log out from a registry.\nIf no server is specified, the default is defined by the daemon.",
  "container cp": `Copy files/folders between a container and the local filesystem

Use '-' as the source to read a tar archive from stdin
and extract it to a directory destination in a container.
Use '-' as the destination to stream a tar archive of a
container source to stdout.`,
  "context create": endpointConfig("Create a context", "create"),
  "context update": endpointConfig("Update a context", "update"),
  "volume rm": "Remove one or more volumes. You cannot remove a volume that is in use by a container.",
};

/** `berth --help`. */
export function rootHelp(): string {
  const top = (common: boolean) =>
    SHOWN.filter((entry) => (entry.common ?? false) === common)
      .flatMap((entry): [string, string][] => {
        const name = entry.spellings.find((spelling) => !spelling.includes(" "));
        return name === undefined ? [] : [[name, entry.summary]];
      });
  return [
    "Usage:  berth [OPTIONS] COMMAND\n",
    "A rootless container engine in one executable\n",
    `Common Commands:\n${nameTable(top(true))}`,
    `Management Commands:\n${nameTable(Object.entries(GROUPS))}`,
    `Commands:\n${nameTable(top(false).sort(byName))}`,
    `Global Options:\n${flagUsages(GLOBAL_FLAGS, helpWidth() - 1)}`,
    "Run 'berth COMMAND --help' for more information on a command.\n",
  ].join("\n");
}

/** `berth container --help`. */
export function groupHelp(group: string): string {
  const members = SHOWN.flatMap(({ spellings, summary }): [string, string][] => {
    const spelling = spellings.find((one) => one.startsWith(`${group} `));
    return spelling === undefined ? [] : [[spelling.slice(group.length + 1), summary]];
  });
  return [
    `Usage:  berth ${group} COMMAND\n`,
    `${GROUPS[group]}\n`,
    `Commands:\n${nameTable(members.sort(byName))}`,
    `Run 'berth ${group} COMMAND --help' for more information on a command.\n`,
  ].join("\n");
}

/** `berth run --help`. */
export function commandHelp(path: string, entry: Entry, command: Command): string {
  const parts = [
    `Usage:  ${usageLine(path, command.flags, command.usage)}\n`,
    `${LONG[entry.spellings[0] ?? ""] ?? entry.summary}\n`,
  ];
  if (entry.spellings.length > 1) {
    parts.push(`Aliases:\n  ${entry.spellings.map((spelling) => `berth ${spelling}`).join(", ")}\n`);
  }
  const flags = flagUsages(command.flags, helpWidth() - 1);
  if (flags !== "") parts.push(`Options:\n${flags}`);
  return parts.join("\n");
}
