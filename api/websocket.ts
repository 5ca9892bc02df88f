/** `GET /containers/{id}/attach/ws`: the streams of a container for a browser (moby: wsContainersAttach). */
import { invalid } from "../base/errors.ts";
import { type ClientStream } from "../engine/types.ts";
import { type AppContext, atLeast, type Takeover } from "./context.ts";
import { acceptKey, WebSocketStream } from "./http/websocket.ts";
import { Deframer } from "./deframer.ts";
import { json } from "./reply.ts";

const VERSION = "13";

/**
 * How a connection becomes a WebSocket; a Response when it cannot.
 *
 * A page of another origin is refused: a browser lets every page open a WebSocket to every address, and what is on loopback
 * without a password would be everybody's.
 *
 * @throws EngineError invalid: the request is no handshake.
 */
export async function webSocketTakeover(c: AppContext): Promise<Takeover | Response> {
  const header = (name: string) => c.req.header(name) ?? "";
  const words = (name: string) => header(name).toLowerCase().split(",").map((word) => word.trim());
  const key = header("sec-websocket-key");
  if (
    !words("connection").includes("upgrade") || !words("upgrade").includes("websocket") ||
    !/^[A-Za-z0-9+/]{22}==$/.test(key)
  ) {
    throw invalid("Bad Request: not a websocket handshake");
  }
  if (header("sec-websocket-version") !== VERSION) {
    const message = "missing or bad WebSocket Version";
    return json({ message }, 400, { "Sec-WebSocket-Version": VERSION });
  }
  const origin = header("origin");
  if (origin !== "" && hostOf(origin) !== header("host").toLowerCase()) {
    return json({ message: `websocket: origin ${origin} is not allowed` }, 403);
  }
  const protocol = header("sec-websocket-protocol").split(",")[0]?.trim() ?? "";
  const lines = [
    "HTTP/1.1 101 Switching Protocols",
    "Upgrade: websocket",
    "Connection: Upgrade",
    `Sec-WebSocket-Accept: ${await acceptKey(key)}`,
    ...(protocol === "" ? [] : [`Sec-WebSocket-Protocol: ${protocol}`]),
  ];
  // Text until 1.27, whatever the container writes.
  const binary = atLeast(c, "1.28");
  return {
    head: () => `${lines.join("\r\n")}\r\n\r\n`,
    dress: (raw, tty) => {
      const stream = new WebSocketStream(raw, binary);
      return tty ? stream : withoutFrames(stream);
    },
  };
}

function hostOf(origin: string): string {
  try {
    return new URL(origin).host;
  } catch {
    return "";
  }
}

/** Both streams as one: there are no frames of Docker's within those of the WebSocket. */
function withoutFrames(stream: WebSocketStream): ClientStream {
  const deframer = new Deframer();
  return {
    input: stream.input,
    write: async (data) => {
      for (const part of deframer.push(data)) await stream.write(part);
    },
    closeWrite: () => stream.closeWrite(),
    close: () => stream.close(),
  };
}
