import { command } from "../commands/build.ts";
import { runSingleCommand } from "../single_command.ts";

await runSingleCommand("build", command);
