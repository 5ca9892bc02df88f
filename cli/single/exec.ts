import { command } from "../commands/exec.ts";
import { runSingleCommand } from "../single_command.ts";

await runSingleCommand("exec", command);
