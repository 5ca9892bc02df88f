/** Wall time of whole commands, by a shell: what starts them here is not part of what is measured. */
import { runAs, type User } from "../tests/support/users.ts";

export interface TimedCommand {
  readonly name: string;
  readonly argv: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
}

/**
 * Milliseconds of each command, `runs` times in turn, so that whatever else the machine does meets each of them. bash takes the times: its
 * clock needs no process.
 *
 * @throws {Error} when one of them ends with another code than 0: it is quick then, and no measurement.
 */
export async function timeCommands(
  user: User,
  commands: readonly TimedCommand[],
  runs: number,
): Promise<Map<string, number[]>> {
  const rounds = commands.map(({ argv, env = {} }, index) => {
    const settings = Object.entries(env).map(([name, value]) => `${name}=${quote(value)}`);
    const words = [...settings, ...argv.map(quote)].join(" ");
    return `start=$EPOCHREALTIME
  ${words} </dev/null >/dev/null 2>"$errors" || { echo "failed ${index} $? $(tail -n 1 "$errors")"; exit 1; }
  end=$EPOCHREALTIME
  echo "${index} \${start/[.,]/} \${end/[.,]/}"`;
  });
  const script = `errors=$(mktemp); trap 'rm -f "$errors"' EXIT
for ((i = 0; i < ${runs}; i++)); do
  ${rounds.join("\n  ")}
done`;
  const { stdout, stderr } = await runAs(user, ["bash", "-c", script], { timeout: 600_000 });
  const times = new Map<string, number[]>(commands.map(({ name }) => [name, []]));
  for (const line of stdout.trim().split("\n")) {
    const [index = "", start, end] = line.split(" ");
    if (index === "failed") throw new Error(`${commands[Number(start)]?.name}: ${line} ${stderr}`);
    times.get(commands[Number(index)]?.name ?? "")?.push((Number(end) - Number(start)) / 1000);
  }
  return times;
}

const quote = (word: string): string => `'${word.replaceAll("'", "'\\''")}'`;
