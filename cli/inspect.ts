/** Printing objects whole, or by a template: `inspect` and its relatives. */

import type { ApiClient } from "./api_client.ts";
import { segment } from "./api_client.ts";
import { ApiError, CliError, describeError } from "./errors.ts";
import { print, printError } from "./stdio.ts";

/** Exit code for a template that cannot be parsed. */
const TEMPLATE_EXIT = 64;

/** Kinds of objects and their resources, in the order `inspect` tries them. */
export const KINDS: Readonly<Record<string, string>> = {
  container: "/containers",
  image: "/images",
  network: "/networks",
  volume: "/volumes",
};

/** Fetches one object as the API describes it. */
export async function fetchObject(
  client: ApiClient,
  kind: string,
  name: string,
  size: boolean,
): Promise<unknown> {
  const path = kind === "container" || kind === "image"
    ? `${KINDS[kind]}/${segment(name)}/json`
    : `${KINDS[kind]}/${segment(name)}`;
  return await client.json<unknown>("GET", path, {
    query: { size: size && kind === "container" || undefined },
  });
}

/** Tries every kind until one knows the name. Throws `CliError` when none does. */
export async function findObject(client: ApiClient, name: string, size: boolean): Promise<unknown> {
  for (const kind of Object.keys(KINDS)) {
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

/**
 * Prints the objects that exist, and reports the others afterwards.
 *
 * @param format "" for indented JSON, "json" for one line, or a template that is applied to each object.
 */
export async function printObjects(
  names: readonly string[],
  format: string,
  fetch: (name: string) => Promise<unknown>,
): Promise<void> {
  const render = await renderer(format);
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
  if (format === "") print(`${JSON.stringify(objects, null, 4)}\n`);
  else print(objects.length === 0 ? "\n" : objects.map((text) => `${text}\n`).join(""));
  for (const failure of failures) printError(describeError(failure));
  if (failures.length > 0) throw new CliError("");
}

async function renderer(format: string): Promise<(object: unknown) => unknown> {
  if (format === "") return (object) => object;
  const { goJson } = await import("./template/values.ts");
  if (format === "json") return (object) => goJson(object);
  const { Template } = await import("./template/execute.ts");
  const { TemplateError } = await import("./template/syntax.ts");
  const { asTemplateText } = await import("./output/template_text.ts");
  const { asGoTypes } = await import("./template/go_types.ts");
  let template: InstanceType<typeof Template>;
  try {
    template = new Template(asTemplateText(format));
  } catch (error) {
    throw error instanceof TemplateError ? new CliError(error.message, TEMPLATE_EXIT) : error;
  }
  return (object) => {
    try {
      return template.render(asGoTypes(object));
    } catch (error) {
      if (!(error instanceof TemplateError)) throw error;
      throw new CliError(
        error.message.startsWith("template parsing")
          ? error.message
          : `template parsing error: ${error.message}`,
      );
    }
  };
}
