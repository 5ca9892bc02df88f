/** The command line alone: what a self-extracting file starts for every command, without the way through main.ts. */
import { runCli } from "./mod.ts";

Deno.exit(await runCli(Deno.args));
