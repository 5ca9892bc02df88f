/** Role `@init`: started by a shim with the number of the descriptor that its order comes on. */
import { kernel } from "../ffi/kernel.ts";
import { runInit } from "./init.ts";

Deno.exit(runInit(kernel, Number(Deno.args[1] ?? "3")));
