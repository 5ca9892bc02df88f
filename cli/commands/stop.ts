import { segment } from "../api_client.ts";
import { defineCommand } from "../command.ts";
import { text } from "../flags/spec.ts";
import { int } from "../flags/values.ts";
import { forEach } from "./each.ts";

/** `stop` and `restart` take the same flags. */
export const STOP_FLAGS = {
  signal: text("Signal to send to the container", { short: "s" }),
  time: int("Seconds to wait before killing the container", { hidden: true }),
  timeout: int("Seconds to wait before killing the container", { short: "t" }),
} as const;

/** The query of both; a timeout that was not given is the container's own. */
export function stopQuery(
  flags: { signal: string; time: number; timeout: number },
  changed: ReadonlySet<string>,
): Record<string, string | number | undefined> {
  const given = changed.has("timeout") ? flags.timeout : changed.has("time") ? flags.time : undefined;
  return { signal: flags.signal || undefined, t: given };
}

export const command = defineCommand({
  flags: STOP_FLAGS,
  usage: "CONTAINER [CONTAINER...]",
  count: { min: 1 },
  completes: "container",
  async run({ flags, changed, args, client }) {
    const query = stopQuery(flags, changed);
    await forEach(args, async (name) => {
      await client.send("POST", `/containers/${segment(name, "container")}/stop`, { query });
      return name;
    });
  },
});
