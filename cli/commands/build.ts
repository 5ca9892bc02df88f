import { build } from "../build/build.ts";
import { BUILD_FLAGS } from "../build/flags.ts";
import { defineCommand } from "../command.ts";

export const command = defineCommand({
  flags: BUILD_FLAGS,
  usage: "PATH | URL | -",
  count: { min: 1, max: 1 },
  completes: "file",
  run: async ({ flags, args: [context = ""], session }) => {
    // as with docker, what is wrong with -H is told before what is wrong with the context
    void session.endpoint;
    return await build(flags, context, session);
  },
});
