import { command } from "../commands/inspect.ts";
import { runSingleCommand } from "../single_command.ts";

await runSingleCommand("inspect", command);
