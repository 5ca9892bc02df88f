import { command } from "../commands/rm.ts";
import { runSingleCommand } from "../single_command.ts";

await runSingleCommand("rm", command);
