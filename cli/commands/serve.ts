import { selfCommand } from "../../base/self.ts";
import { type Command, defineCommand } from "../command.ts";
import { parseFlags } from "../flags/parse.ts";
import { GLOBAL_FLAGS } from "../global_flags.ts";
import { SERVE_FLAGS } from "./serve_flags.ts";

const described = defineCommand({
  flags: SERVE_FLAGS,
  usage: "",
  count: { min: 0, max: 0 },
  run: () => Promise.resolve(),
});

/**
 * For help and completion. The program's entry takes "serve" for itself before it comes here; only `berth -D serve …`,
 * with global flags in front, is run by this module, as a process of its own. They mean what they mean behind it.
 */
export const command: Command = {
  ...described,
  async invoke(path, argv, session) {
    const checked = await described.invoke(path, argv, session);
    return checked === 0 ? await run([...flagsInFront(), ...argv]) : checked;
  },
};

function flagsInFront(): string[] {
  const { values, changed } = parseFlags(GLOBAL_FLAGS, Deno.args, { interspersed: false });
  return Object.entries(values).filter(([name]) => changed.has(name) && name in SERVE_FLAGS)
    .flatMap(([name, value]) => [value].flat().map((one) => `--${name}=${one}`));
}

async function run(args: readonly string[]): Promise<number> {
  const serve = selfCommand("serve", ...args);
  const child = new Deno.Command(serve.command, {
    args: serve.args,
    env: serve.env,
    stdin: "inherit",
    stdout: "inherit",
    stderr: "inherit",
  }).spawn();
  const forwarded: Deno.Signal[] = ["SIGTERM", "SIGINT", "SIGHUP"];
  for (const signal of forwarded) Deno.addSignalListener(signal, () => child.kill(signal));
  return (await child.status).code;
}
