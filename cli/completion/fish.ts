import { type CompletionTables, LISTS } from "./tables.ts";

/** One `complete` line for each command and flag. */
export function fishScript({ commands, groups, globals }: CompletionTables): string {
  const lines = ["# fish completion for berth", "complete -c berth -f"];
  const none = "__fish_use_subcommand";
  for (const [name, summary] of Object.entries(groups)) lines.push(complete(none, `-a ${name}`, summary));
  for (const { path, summary, flags, completes } of commands) {
    const [first = "", second] = path.split(" ");
    const seen = second === undefined
      ? `__fish_seen_subcommand_from ${first}`
      : `__fish_seen_subcommand_from ${first}; and __fish_seen_subcommand_from ${second}`;
    lines.push(
      second === undefined
        ? complete(none, `-a ${first}`, summary)
        : complete(`__fish_seen_subcommand_from ${first}`, `-a ${second}`, summary),
    );
    if (completes === "file") lines.push(`complete -c berth -n '${seen}' -F`);
    else if (completes !== undefined) lines.push(`complete -c berth -n '${seen}' -a "(${LISTS[completes]})"`);
    for (const [name, flag] of Object.entries(flags)) {
      if (!flag.hidden) lines.push(complete(seen, option(name, flag), flag.help));
    }
  }
  for (const [name, flag] of Object.entries(globals)) {
    lines.push(complete(none, option(name, flag), flag.help));
  }
  return lines.join("\n") + "\n";
}

function option(
  name: string,
  flag: { short: string | undefined; isBool: boolean; completes: unknown },
): string {
  const short = flag.short === undefined ? "" : ` -s ${flag.short}`;
  const { completes } = flag;
  const argument = flag.isBool
    ? ""
    : Array.isArray(completes)
    ? ` -x -a '${completes.join(" ")}'`
    : completes === "container" || completes === "image" || completes === "network" ||
        completes === "volume" || completes === "context"
    ? ` -x -a "(${LISTS[completes]})"`
    : completes === undefined
    ? " -x"
    : " -r -F";
  return `-l ${name}${short}${argument}`;
}

function complete(condition: string, what: string, summary: string): string {
  const text = (summary.split("\n", 1)[0] ?? "").replaceAll("\\", "\\\\").replaceAll("'", "\\'");
  return `complete -c berth -n '${condition}' ${what} -d '${text}'`;
}
