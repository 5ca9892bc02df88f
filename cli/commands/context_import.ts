import { goErrno } from "../../base/go_errno.ts";
import { defineCommand } from "../command.ts";
import { unpackContext } from "../context/archive.ts";
import { checkNewName } from "../context/source.ts";
import { ContextStore } from "../context/store.ts";
import { CliError } from "../errors.ts";
import { printError, printLine, stdinBytes } from "../stdio.ts";

export const command = defineCommand({
  flags: {},
  usage: "CONTEXT FILE|-",
  count: { min: 2, max: 2 },
  async run({ args: [name = "", file = ""] }) {
    const store = new ContextStore();
    checkNewName(store, name);
    const { meta, tls } = unpackContext(file === "-" ? await readStdin() : readFile(file), name);
    store.write(meta, tls);
    printLine(name);
    printError(`Successfully imported context ${JSON.stringify(name)}`);
  },
});

function readFile(path: string): Uint8Array {
  try {
    return Deno.readFileSync(path);
  } catch (error) {
    throw new CliError(`open ${path}: ${goErrno(error)}`);
  }
}

async function readStdin(): Promise<Uint8Array> {
  return new Uint8Array(await new Response(ReadableStream.from(stdinBytes())).arrayBuffer());
}
