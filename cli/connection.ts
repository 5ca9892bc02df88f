/** A connection to an engine: a socket, or a program that leads to one. */
export type EngineConnection = Pick<Deno.Conn, "read" | "write" | "close" | "closeWrite">;
