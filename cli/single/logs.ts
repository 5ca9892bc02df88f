import { command } from "../commands/logs.ts";
import { runSingleCommand } from "../single_command.ts";

await runSingleCommand("logs", command);
