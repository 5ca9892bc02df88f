export { runCli } from "./dispatch.ts";
