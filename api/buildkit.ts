/** `POST /session` and `POST /grpc`: connections on which BuildKit's clients speak gRPC (buildx, compose v2). */
import { EngineError, invalid } from "../base/errors.ts";
import type { Engine } from "../engine/types.ts";
import type { App, AppContext, Services } from "./context.ts";

const UPGRADED = "HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n";

type Parts = Awaited<ReturnType<typeof load>>;
const loaded = new WeakMap<Engine, Promise<Parts>>();

async function load(engine: Engine) {
  const [{ ControlServer }, { Sessions }, { serveGrpc }, { duplexOf }, { buildVersionTwo }] = await Promise
    .all([
      import("./buildkit/control.ts"),
      import("./buildkit/session.ts"),
      import("./buildkit/grpc.ts"),
      import("./buildkit/duplex.ts"),
      import("./buildkit/version_two.ts"),
    ]);
  const sessions = new Sessions();
  return { sessions, control: new ControlServer(engine, sessions), serveGrpc, duplexOf, buildVersionTwo };
}

/** gRPC, HTTP/2 and protobuf, loaded by the first client that wants them; the sessions of an engine. */
export function buildkit(engine: Engine): Promise<Parts> {
  let parts = loaded.get(engine);
  if (parts === undefined) loaded.set(engine, parts = load(engine));
  return parts;
}

export function buildkitRoutes(app: App, { engine }: Services): void {
  app.post("/grpc", async (c) => {
    const takeOver = upgrade(c);
    const { control, serveGrpc, duplexOf } = await buildkit(engine);
    return takeOver(UPGRADED, (stream) => serveGrpc(duplexOf(stream), control.methods));
  });

  app.post("/session", async (c) => {
    const takeOver = upgrade(c);
    const id = c.req.header("x-docker-expose-session-uuid") ?? "";
    if (id === "") throw invalid("no session ID in the header X-Docker-Expose-Session-Uuid");
    const { sessions } = await buildkit(engine);
    const head = {
      id,
      name: c.req.header("x-docker-expose-session-name") ?? "",
      sharedKey: c.req.header("x-docker-expose-session-sharedkey") ?? "",
      methods: (c.req.header("x-docker-expose-session-grpc-method") ?? "").split(",").map((name) =>
        name.trim()
      ),
    };
    return takeOver(UPGRADED, (stream) => sessions.run(head, stream));
  });
}

/** @throws {EngineError} invalid: the client does not ask for HTTP/2 on this connection. */
function upgrade(c: AppContext) {
  const protocol = c.req.header("upgrade");
  const { takeOver } = c.env ?? {};
  if (protocol === undefined || takeOver === undefined) throw invalid("no upgrade proto in request");
  if (protocol.toLowerCase() !== "h2c") {
    throw new EngineError("invalid", `protocol ${protocol} not supported`);
  }
  return takeOver.bind(c.env);
}
