/** What is known of a container beside each line of its log. */
import type { ContainerRecord } from "./container_record.ts";

/** Options that {@link expandTag} and {@link logAttributes} heed: of every driver whose entries tell of their container. */
export const ATTRIBUTE_OPTIONS = ["tag", "labels", "labels-regex", "env", "env-regex"] as const;

/** Environment of a container by name. */
function envMap(env: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    env.filter((e) => e.includes("=")).map((e) => [e.slice(0, e.indexOf("=")), e.slice(e.indexOf("=") + 1)]),
  );
}

/** `{{.Name}}` and the like in the `tag` option. */
export function expandTag(tag: string, record: ContainerRecord): string {
  const values: Record<string, string> = {
    ID: record.id.slice(0, 12),
    FullID: record.id,
    Name: record.name,
    FullName: `/${record.name}`,
    ImageName: record.imageRef,
    ImageID: record.imageId.replace(/^sha256:/, "").slice(0, 12),
    ImageFullID: record.imageId,
    DaemonName: "docker",
  };
  return tag.replace(/\{\{\s*\.(\w+)\s*\}\}/g, (all, name: string) => values[name] ?? all);
}

/** What the options about labels and environment ask for, by name. */
export function logAttributes(
  record: ContainerRecord,
  options: Readonly<Record<string, string>>,
): Record<string, string> {
  const attrs: Record<string, string> = {};
  const take = (
    from: Readonly<Record<string, string>>,
    names: string | undefined,
    regex: string | undefined,
  ) => {
    for (const name of names?.split(",") ?? []) {
      const value = Object.hasOwn(from, name) ? from[name] : undefined;
      if (value !== undefined) attrs[name] = value;
    }
    if (regex) {
      const pattern = new RegExp(regex);
      for (const [name, value] of Object.entries(from)) if (pattern.test(name)) attrs[name] = value;
    }
  };
  take(record.config.Labels ?? {}, options["labels"], options["labels-regex"]);
  take(envMap(record.config.Env ?? []), options["env"], options["env-regex"]);
  return attrs;
}
