import { command } from "../commands/start.ts";
import { runSingleCommand } from "../single_command.ts";

await runSingleCommand("start", command);
