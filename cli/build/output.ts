/** `--output`: what a build is for. */
import { CliError } from "../errors.ts";
import { csvFields } from "../flags/csv.ts";

export interface Output {
  readonly kind: "image" | "local" | "tar" | "oci" | "docker" | "none";
  /** A directory or a file; undefined of an archive: standard output. */
  readonly dest: string | undefined;
  readonly push: boolean;
  /** More names. */
  readonly names: readonly string[];
}

export const IMAGE_OUTPUT: Output = { kind: "image", dest: undefined, push: false, names: [] };

/** `dest`, `-`, or `type=…,dest=…`. @throws {CliError} */
export function parseOutput(text: string, stdoutIsTerminal: boolean): Output {
  const fields = csvFields(text);
  if (fields.length === 1 && fields[0] === text && !text.includes("=")) {
    return text === "-"
      ? archive("tar", undefined, stdoutIsTerminal)
      : { ...IMAGE_OUTPUT, kind: "local", dest: text };
  }
  const values = new Map<string, string>();
  for (const field of fields) {
    const equals = field.indexOf("=");
    if (equals < 0) throw new CliError(`invalid value ${field}`);
    values.set(field.slice(0, equals).trim().toLowerCase(), field.slice(equals + 1));
  }
  const type = values.get("type");
  if (!type) throw new CliError("type is required for output");
  const dest = values.get("dest");
  const names = (values.get("name") ?? "").split(",").filter((name) => name !== "");
  const push = type === "registry" || /^(?:1|t|true)$/i.test(values.get("push") ?? "");
  switch (type) {
    case "local":
      if (!dest) throw new CliError("dest is required for local output");
      if (dest === "-") throw new CliError("dest cannot be stdout for local exporter");
      return { ...IMAGE_OUTPUT, kind: "local", dest };
    case "tar":
      return archive("tar", dest, stdoutIsTerminal);
    case "oci":
      return { ...archive("oci", dest, stdoutIsTerminal), names };
    case "docker":
      // without a destination it goes to the engine's images, as with buildx's docker driver
      return dest === undefined
        ? { ...IMAGE_OUTPUT, names }
        : { ...archive("docker", dest, stdoutIsTerminal), names };
    case "image":
    case "registry":
      return { ...IMAGE_OUTPUT, names, push };
    case "cacheonly":
      return { ...IMAGE_OUTPUT, kind: "none" };
    default:
      throw new CliError(`failed to find exporter for output type ${JSON.stringify(type)}`);
  }
}

function archive(
  kind: "tar" | "oci" | "docker",
  dest: string | undefined,
  stdoutIsTerminal: boolean,
): Output {
  if (dest !== undefined && dest !== "-") return { ...IMAGE_OUTPUT, kind, dest };
  if (stdoutIsTerminal) {
    throw new CliError(`dest file is required for ${kind} exporter. refusing to write to console`);
  }
  return { ...IMAGE_OUTPUT, kind, dest: undefined };
}
