import { defineCommand } from "../command.ts";
import { createBody } from "../create/body.ts";
import { CONTAINER_FLAGS } from "../create/container_flags.ts";
import { checkPull, createContainer } from "../create/create_container.ts";
import { ApiError, CliError, ConnectError } from "../errors.ts";
import { printLine } from "../stdio.ts";
import { text } from "../flags/spec.ts";
import { messageOf } from "../../base/errors.ts";

/** Exit code for options that contradict each other. */
const USAGE_EXIT = 125;

const FLAGS = {
  ...CONTAINER_FLAGS,
  "pull": text(`Pull image before creating ("always", "missing", "never")`, {
    default: "missing",
    completes: ["always", "missing", "never"],
  }),
} as const;

export const command = defineCommand({
  flags: FLAGS,
  usage: "IMAGE [COMMAND] [ARG...]",
  count: { min: 1 },
  interspersed: false,
  completes: "image",
  async run({ flags, changed, args, client, session }) {
    let body;
    try {
      checkPull(flags.pull);
      body = createBody(flags, changed, args, session.endpoint.url);
    } catch (error) {
      if (error instanceof ApiError || error instanceof ConnectError) throw error;
      throw new CliError(
        `berth: ${messageOf(error)}\n\nRun 'berth create --help' for more information`,
        USAGE_EXIT,
      );
    }
    printLine(await createContainer(client, flags, body));
  },
});
