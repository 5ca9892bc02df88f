/** Entry of the role `@engine`. */
import { EngineError, invalid, messageOf } from "../base/errors.ts";
import { storeError } from "../base/transaction.ts";
import { goErrno } from "../base/go_errno.ts";
import { removeEphemeral } from "../engine/ephemeral.ts";
import { runEngine } from "../engine/run_engine.ts";
import type { EngineOptions } from "../engine/serve_options.ts";
import type { TlsSettings } from "../engine/tls_settings.ts";
import { kernel } from "../ffi/kernel.ts";
import { takeInheritedSockets } from "./http/inherited_sockets.ts";
import { type ListenSecurity, parseListenAddress } from "./http/listener.ts";
import { rehearseRun } from "./rehearsal.ts";
import { serveApi } from "./serve.ts";

/** Exit code when the engine cannot start, as of `docker run` when the engine refuses. */
const EXIT_ENGINE = 125;

/** Runs the engine until it is told to stop, then ends the process. `args` holds one word: EngineOptions as JSON. */
export async function engineMain(args: readonly string[]): Promise<never> {
  try {
    const options = JSON.parse(args[0] ?? "") as EngineOptions;
    const inherited = takeInheritedSockets(kernel);
    await runEngine(options, async (engine, { hosts, spare, tls }, log) => {
      const encrypted = tls.mode === "verify" || tls.mode === "encrypt";
      const addresses = hosts.map((host) => parseListenAddress(host, encrypted));
      const server = await serveApi(engine, addresses, {
        log: (message, error) =>
          error === undefined ? log.info(message) : log.error(message, { error: describe(error) }),
        security: { plainTcp: tls.mode === "plain", inherited, ...(encrypted ? { tls: readPem(tls) } : {}) },
        spare,
      });
      return { addresses: server.addresses, close: () => server.close(), rehearse: rehearseRun };
    });
    if (options.ephemeral !== undefined) await removeEphemeral(kernel, options.ephemeral);
    Deno.exit(0);
  } catch (thrown) {
    const error = storeError(thrown);
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

/** The files that TLS is made of. @throws EngineError "invalid", in dockerd's words. */
function readPem({ mode, ca, cert, key }: TlsSettings): NonNullable<ListenSecurity["tls"]> {
  const read = (path: string, what: string) => {
    try {
      return Deno.readTextFileSync(path);
    } catch (error) {
      throw invalid(`invalid TLS configuration: could not read ${what} ${path}: ${goErrno(error)}`, error);
    }
  };
  return {
    cert: read(cert, "certificate"),
    key: read(key, "key"),
    ...(mode === "verify" ? { ca: read(ca, "CA certificate") } : {}),
  };
}
