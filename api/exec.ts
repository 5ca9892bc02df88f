import { invalid, messageOf } from "../base/errors.ts";
import { type App, atLeast, frame, hijack, pathName, readJson, readQuery, type Services } from "./context.ts";
import { bare, baseHeaderLines, json } from "./reply.ts";
import { execCreateBody, execStartBody } from "./schemas/container.ts";
import { sizeQuery } from "./schemas/queries.ts";

const encoder = new TextEncoder();

export function execRoutes(app: App, { engine, log }: Services): void {
  app.post("/containers/:name/exec", async (c) => {
    const { ConsoleSize, ...rest } = await readJson(c, execCreateBody, "ExecOptions", true);
    if ((rest.Cmd ?? []).length === 0) throw invalid("No exec command specified");
    const size = checkConsoleSize(ConsoleSize);
    const sized = size !== undefined && atLeast(c, "1.42") ? { ConsoleSize: size } : {};
    return json(await engine.execCreate(pathName(c), { ...rest, ...sized }), 201);
  });

  app.post("/exec/:name/start", async (c) => {
    const id = pathName(c);
    const body = await readJson(c, execStartBody, "ExecStartOptions", true);
    const size = checkConsoleSize(body.ConsoleSize);
    const consoleSize = atLeast(c, "1.42") ? size : undefined;
    const options = { detach: body.Detach ?? false, tty: body.Tty, consoleSize };
    if (options.detach) {
      await engine.execStart(id, options, () => Promise.reject(new Error("a detached exec has no stream")));
      return bare(200);
    }
    return await hijack(
      c,
      (ready) => engine.execStart(id, options, ready),
      async (error, stream, tty) => {
        // The response has begun: Docker says it on the process's own output.
        log(`exec ${id} failed`, error);
        const text = encoder.encode(`${messageOf(error)}\r\n`);
        await stream.write(tty ? text : frame("stdout", text)).catch(() => {});
      },
      undefined,
      baseHeaderLines(),
    );
  });

  app.post("/exec/:name/resize", async (c) => {
    const { h, w } = readQuery(c, sizeQuery);
    await engine.execResize(pathName(c), { rows: h, cols: w });
    return bare(200);
  });

  app.get("/exec/:name/json", async (c) => json(await engine.execInspect(pathName(c))));
}

/** `[rows, columns]`; a list of another length is refused as Go's fixed arrays should be. */
export function checkConsoleSize(size: readonly number[] | undefined): readonly number[] | undefined {
  if (size !== undefined && size.length !== 2) throw invalid("ConsoleSize must be [height, width]");
  return size;
}
