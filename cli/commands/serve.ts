import { selfCommand } from "../../base/self.ts";
import { defineCommand } from "../command.ts";
import { SERVE_FLAGS } from "./serve_flags.ts";

/**
 * For help and completion. The program's entry takes "serve" for itself before it comes here; only `berth -D serve …`,
 * with global flags in front, is run by this module, as a process of its own.
 */
export const command = defineCommand({
  flags: SERVE_FLAGS,
  usage: "",
  count: { min: 0, max: 0 },
  async run({ flags, changed, session }) {
    const args = [...changed].flatMap((name) => {
      const value = flags[name as keyof typeof flags];
      return Array.isArray(value) ? value.map((one) => `--${name}=${one}`) : [`--${name}=${value}`];
    });
    if (session.debug && !changed.has("debug")) args.push("--debug");
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
  },
});
