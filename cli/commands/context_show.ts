import { defineCommand } from "../command.ts";
import { printLine } from "../stdio.ts";

export const command = defineCommand({
  flags: {},
  usage: "",
  count: { min: 0, max: 0 },
  run({ session }) {
    printLine(session.context);
    return Promise.resolve();
  },
});
