import { messageOf } from "../../base/errors.ts";
import { defineCommand } from "../command.ts";
import { ConfigFile, HUB_SERVER } from "../registry/config_file.ts";
import { serverKey } from "../registry/server.ts";
import { printError, printLine } from "../stdio.ts";

export const command = defineCommand({
  flags: {},
  usage: "[SERVER]",
  count: { min: 0, max: 1 },
  async run({ args: [address = ""] }) {
    const server = serverKey(address);
    printLine(`Removing login credentials for ${server === HUB_SERVER ? HUB_SERVER : server}`);
    try {
      await ConfigFile.load().erase(server);
    } catch (error) {
      printError(`WARNING: could not erase credentials:\n${server}: ${messageOf(error)}`);
    }
  },
});
