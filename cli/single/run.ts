import { command } from "../commands/run.ts";
import { runSingleCommand } from "../single_command.ts";

await runSingleCommand("run", command);
