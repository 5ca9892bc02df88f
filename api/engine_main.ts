/** Entry of the role `@engine`. */
import { EngineError, messageOf } from "../base/errors.ts";
import { runEngine } from "../engine/run_engine.ts";
import type { EngineOptions } from "../engine/serve_options.ts";
import { parseListenAddress } from "./http/listener.ts";
import { rehearseRun } from "./rehearsal.ts";
import { serveApi } from "./serve.ts";

/** Exit code when the engine cannot start, as of `docker run` when the engine refuses. */
const EXIT_ENGINE = 125;

/** Runs the engine until it is told to stop, then ends the process. `args` holds one word: EngineOptions as JSON. */
export async function engineMain(args: readonly string[]): Promise<never> {
  try {
    const options = JSON.parse(args[0] ?? "") as EngineOptions;
    await runEngine(options, async (engine, hosts, log) => {
      const server = await serveApi(engine, hosts.map(parseListenAddress), {
        log: (message, error) =>
          error === undefined ? log.info(message) : log.error(message, { error: describe(error) }),
      });
      return { addresses: server.addresses, close: () => server.close(), rehearse: rehearseRun };
    });
    Deno.exit(0);
  } catch (error) {
    console.error(`berth: ${messageOf(error)}`);
    if (error instanceof EngineError) {
      if (error.hint !== undefined) console.error(`\n${error.hint}`);
    } else if (error instanceof Error && error.stack !== undefined) {
      // No refusal that we know: whoever reports it needs to see where it came from.
      console.error(error.stack);
    }
    Deno.exit(EXIT_ENGINE);
  }
}

function describe(error: unknown): string {
  return error instanceof Error ? error.stack ?? error.message : String(error);
}
