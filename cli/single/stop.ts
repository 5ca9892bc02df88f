import { command } from "../commands/stop.ts";
import { runSingleCommand } from "../single_command.ts";

await runSingleCommand("stop", command);
