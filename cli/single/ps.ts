import { command } from "../commands/ps.ts";
import { runSingleCommand } from "../single_command.ts";

await runSingleCommand("ps", command);
