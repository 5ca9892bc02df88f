import { invalid } from "../base/errors.ts";
import type { PathStat } from "../engine/archive.ts";
import {
  type App,
  type AppContext,
  pathName,
  rawBody,
  readQuery,
  type Services,
  signalOf,
} from "./context.ts";
import { bare, json, stream } from "./reply.ts";
import { archivePutQuery, pathQuery } from "./schemas/queries.ts";

/** `cp`, `export` and `diff`. */
export function archiveRoutes(app: App, { engine }: Services): void {
  app.on("HEAD", "/containers/:name/archive", async (c) => {
    const stat = await engine.archiveStat(pathName(c), pathOf(c));
    return withStat(bare(200), stat);
  });

  app.get("/containers/:name/archive", async (c) => {
    // Hono hands HEAD to the routes of GET
    if (c.req.method === "HEAD") return withStat(bare(200), await engine.archiveStat(pathName(c), pathOf(c)));
    const { stat, chunks } = await engine.archiveRead(pathName(c), pathOf(c));
    return withStat(stream(chunks, "application/x-tar"), stat);
  });

  app.put("/containers/:name/archive", async (c) => {
    const { path, noOverwriteDirNonDir, copyUIDGID } = readQuery(c, archivePutQuery);
    if (path === undefined) throw invalid("bad parameter: path cannot be empty");
    await engine.archiveWrite(
      pathName(c),
      path,
      { noOverwriteDirNonDir, copyUidGid: copyUIDGID },
      rawBody(c),
      signalOf(c),
    );
    return bare(200);
  });

  app.get(
    "/containers/:name/export",
    async (c) => stream(await engine.exportContainer(pathName(c)), "application/octet-stream"),
  );

  app.get("/containers/:name/changes", async (c) => {
    const changes = await engine.changes(pathName(c));
    // Docker has no list where there is nothing to list.
    return json(changes.length === 0 ? null : changes);
  });
}

function pathOf(c: AppContext): string {
  const { path } = readQuery(c, pathQuery);
  if (path === undefined) throw invalid("bad parameter: path cannot be empty");
  return path;
}

function withStat(response: Response, stat: PathStat): Response {
  const text = new TextEncoder().encode(JSON.stringify({
    name: stat.name,
    size: stat.size,
    mode: goFileMode(stat.mode),
    mtime: rfc3339(stat.mtime),
    linkTarget: stat.linkTarget,
  }));
  response.headers.set("X-Docker-Container-Path-Stat", text.toBase64());
  return response;
}

/** Go's os.FileMode: permissions below, the kind of file in the highest bits (io/fs, FileMode). */
const KINDS: ReadonlyMap<number, number> = new Map([
  [0o040000, 2 ** 31],
  [0o120000, 2 ** 27],
  [0o060000, 2 ** 26],
  [0o010000, 2 ** 25],
  [0o140000, 2 ** 24],
  [0o020000, 2 ** 26 + 2 ** 21],
]);

export function goFileMode(mode: number): number {
  const special = (mode & 0o4000 ? 2 ** 23 : 0) + (mode & 0o2000 ? 2 ** 22 : 0) +
    (mode & 0o1000 ? 2 ** 20 : 0);
  return (KINDS.get(mode & 0o170000) ?? 0) + special + (mode & 0o777);
}

function rfc3339([seconds, nanoseconds]: readonly [number, number]): string {
  const whole = new Date(seconds * 1000).toISOString().slice(0, 19);
  const digits = String(nanoseconds).padStart(9, "0").replace(/0+$/, "");
  return `${whole}${digits === "" ? "" : `.${digits}`}Z`;
}
