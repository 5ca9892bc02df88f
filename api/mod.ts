export { createApp } from "./app.ts";
export { type ListenAddress, parseListenAddress } from "./http/listener.ts";
export { serveApi } from "./serve.ts";
export { type Server, type ServerOptions } from "./server.ts";
