/** Printing objects whole, or by a template: `inspect` and its relatives. */

import type { ApiClient } from "./api_client.ts";
import { segment } from "./api_client.ts";
import { ApiError, CliError, describeError } from "./errors.ts";
import { print, printError } from "./stdio.ts";

interface Kind {
  /** Path of its resource, before the name. */
  readonly path: string;
  /** What follows the name. */
  readonly suffix: string;
}

/** Kinds of objects, in the order `inspect` tries them. Those of a swarm only a real Docker may have: they are asked for by `--type`. */
export const KINDS: Readonly<Record<string, Kind>> = {
  container: { path: "/containers", suffix: "/json" },
  image: { path: "/images", suffix: "/json" },
  network: { path: "/networks", suffix: "" },
  volume: { path: "/volumes", suffix: "" },
  plugin: { path: "/plugins", suffix: "/json" },
  config: { path: "/configs", suffix: "" },
  node: { path: "/nodes", suffix: "" },
  secret: { path: "/secrets", suffix: "" },
  service: { path: "/services", suffix: "" },
  task: { path: "/tasks", suffix: "" },
};
const TRIED = ["container", "image", "network", "volume"];

/** Fetches one object as the API describes it. */
export async function fetchObject(
  client: ApiClient,
  kind: string,
  name: string,
  size: boolean,
): Promise<unknown> {
  const { path, suffix } = KINDS[kind] ?? { path: `/${kind}`, suffix: "" };
  const object = await client.json<unknown>("GET", `${path}/${segment(name)}${suffix}`, {
    query: { size: size && kind === "container" || undefined },
  });
  if (size && kind !== "container") printError(`WARNING: --size ignored for ${kind}`);
  return object;
}

/** Tries every kind until one knows the name. Throws `CliError` when none does. */
export async function findObject(client: ApiClient, name: string, size: boolean): Promise<unknown> {
  for (const kind of TRIED) {
    try {
      return await fetchObject(client, kind, name, size);
    } catch (error) {
      const skippable = error instanceof ApiError &&
        (error.status === 404 || error.status === 501 || error.message.includes("invalid reference format"));
      if (!skippable) throw error;
    }
  }
  throw new CliError(`Error: No such object: ${name}`);
}

/** Objects that no engine sent: docker's command line makes their JSON itself, and so in Go's way. */
export interface OwnObjects {
  /** What a template sees of one. */
  readonly asGo: (object: unknown) => unknown;
}

/**
 * Prints the objects that exist, and reports the others afterwards.
 *
 * @param format "" for indented JSON, "json" for JSON in one line, or a template that is applied to each object.
 */
export async function printObjects(
  names: readonly string[],
  format: string,
  fetch: (name: string) => Promise<unknown>,
  own?: OwnObjects,
): Promise<void> {
  const render = await renderer(format, own?.asGo);
  const objects: unknown[] = [];
  const failures: unknown[] = [];
  for (const name of names) {
    try {
      objects.push(render(await fetch(name)));
    } catch (error) {
      if (!(error instanceof ApiError || error instanceof CliError)) throw error;
      failures.push(error);
    }
  }
  if (format === "") {
    const text = own === undefined
      ? JSON.stringify(objects, null, 4)
      : (await import("./template/values.ts")).goJson(objects, 4);
    print(`${text}\n`);
  } else if (format === "json") print(`[${objects.join(",")}]\n`);
  else print(objects.length === 0 ? "\n" : objects.map((text) => `${text}\n`).join(""));
  for (const failure of failures) printError(describeError(failure));
  if (failures.length > 0) throw new CliError("");
}

async function renderer(
  format: string,
  asGo: ((object: unknown) => unknown) | undefined,
): Promise<(object: unknown) => unknown> {
  if (format === "") return (object) => object;
  if (format === "json") {
    const { goJson, plainJson } = await import("./template/values.ts");
    return asGo === undefined ? plainJson : goJson;
  }
  const { Template } = await import("./template/execute.ts");
  const { orTemplateError, TEMPLATE_ERROR, TEMPLATE_EXIT } = await import(
    "./output/template_text.ts"
  );
  const { asGoTypes } = await import("./template/go_types.ts");
  const template = orTemplateError(TEMPLATE_ERROR, () => new Template(format), TEMPLATE_EXIT);
  return (object) => orTemplateError(TEMPLATE_ERROR, () => template.render((asGo ?? asGoTypes)(object)));
}
