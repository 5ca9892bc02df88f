/** `--secret`: what the engine may ask for while it builds. */
import { goErrno } from "../../base/go_errno.ts";
import { CliError } from "../errors.ts";
import { csvFields } from "../flags/csv.ts";

/** BuildKit's limit. */
const MAX_SECRET_BYTES = 500 * 1024;

/** Where a secret is; it is read when it is asked for. */
export type Secret = { readonly file: string } | { readonly variable: string };

/**
 * `id=name[,src=path]`, `id=name,env=VARIABLE`; without either the variable of that name, or the file.
 *
 * @throws {CliError}
 */
export function parseSecrets(given: readonly string[]): ReadonlyMap<string, Secret> {
  const secrets = new Map<string, Secret>();
  for (const text of given) {
    let id = "", file = "", variable = "", type = "";
    for (const field of csvFields(text)) {
      const equals = field.indexOf("=");
      if (equals < 0) throw new CliError(`invalid field '${field}' must be a key=value pair`);
      const value = field.slice(equals + 1);
      switch (field.slice(0, equals).toLowerCase()) {
        case "type":
          if (value !== "file" && value !== "env") {
            throw new CliError(`unsupported secret type ${JSON.stringify(value)}`);
          }
          type = value;
          break;
        case "id":
          id = value;
          break;
        case "source":
        case "src":
          file = value;
          break;
        case "env":
          variable = value;
          break;
        default:
          throw new CliError(`unexpected key '${field.slice(0, equals)}' in '${field}'`);
      }
    }
    if (id === "") throw new CliError(`invalid secret ${JSON.stringify(text)}: id is missing`);
    if (type === "env" && variable === "") [variable, file] = [file, ""];
    if (file === "" && variable === "") {
      if (type !== "file" && Deno.env.get(id)) variable = id;
      else file = id;
    }
    const secret = variable !== "" ? { variable } : { file };
    check(secret);
    secrets.set(id, secret);
  }
  return secrets;
}

function check(secret: Secret): void {
  if ("variable" in secret) return;
  let info: Deno.FileInfo;
  try {
    info = Deno.statSync(secret.file);
  } catch (error) {
    throw new CliError(`failed to stat ${secret.file}: stat ${secret.file}: ${goErrno(error)}`);
  }
  if (info.isFile && info.size > MAX_SECRET_BYTES) {
    throw new CliError(`secret ${secret.file} too big. max size ${MAX_SECRET_BYTES} bytes`);
  }
}

/** A secret's bytes; undefined: a variable that is not set. @throws {CliError} */
export function readSecret(secret: Secret): Uint8Array | undefined {
  if ("variable" in secret) {
    const value = Deno.env.get(secret.variable);
    return value === undefined ? undefined : new TextEncoder().encode(value);
  }
  try {
    return Deno.readFileSync(secret.file);
  } catch (error) {
    throw new CliError(`open ${secret.file}: ${goErrno(error)}`);
  }
}
