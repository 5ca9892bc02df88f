import { command } from "../commands/images.ts";
import { runSingleCommand } from "../single_command.ts";

await runSingleCommand("images", command);
