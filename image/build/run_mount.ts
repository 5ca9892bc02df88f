import { invalid } from "../../base/errors.ts";
import { cleanPath } from "../../base/clean_path.ts";
import { csvFields } from "./csv.ts";
import { quoted } from "./errors.ts";
import { parseRamBytes } from "../../base/ram_bytes.ts";
import { withSuggestion } from "./suggest.ts";
import type { RunMount } from "./types.ts";

const TYPES = ["bind", "cache", "tmpfs", "secret", "ssh"] as const;
const SHARING = ["shared", "private", "locked"] as const;
type MountType = typeof TYPES[number];
type Sharing = typeof SHARING[number];

// deno-fmt-ignore
const KEYS = [
  "type", "from", "source", "target", "readonly", "id", "sharing", "required", "size", "mode", "uid", "gid", "src", "dst",
  "destination", "ro", "rw", "readwrite", "env",
];

/** All that `--mount` may say, before it is known what belongs to which type. */
interface Draft {
  type: MountType;
  from: string;
  source: string;
  target: string;
  readOnly: boolean | undefined;
  size: number | undefined;
  id: string;
  sharing: Sharing | undefined;
  required: boolean;
  env: string | undefined;
  mode: number | undefined;
  uid: number | undefined;
  gid: number | undefined;
}

function fieldsOf(text: string): string[] {
  try {
    return csvFields(text);
  } catch (error) {
    throw invalid(`failed to parse csv mounts: ${error instanceof Error ? error.message : error}`);
  }
}

/**
 * What is wrong with `--mount=…` whatever the variables in it are.
 *
 * @throws {EngineError} invalid
 */
export function checkMountText(text: string): void {
  for (const field of fieldsOf(text)) {
    const [key, value] = cut(field);
    if (key !== "from" || value === undefined) continue;
    const dollar = value.indexOf("$");
    if (dollar >= 0 && dollar !== value.length - 1) {
      throw invalid("'from' doesn't support variable expansion, define alias stage instead");
    }
  }
}

/** What a mount says before anything is expanded: `from` takes no variables. */
export function mountFields(text: string): { from: string | undefined; target: string | undefined } {
  const found: { from: string | undefined; target: string | undefined } = {
    from: undefined,
    target: undefined,
  };
  for (const [key, value] of fieldsOf(text).map(cut)) {
    if (key === "from") found.from = value || undefined;
    else if (key === "target" || key === "dst" || key === "destination") found.target = value;
  }
  return found;
}

function cut(field: string): [key: string, value: string | undefined] {
  const equals = field.indexOf("=");
  if (equals < 0) return [field.toLowerCase(), undefined];
  return [field.slice(0, equals).toLowerCase(), field.slice(equals + 1)];
}

/**
 * One `--mount` of RUN.
 *
 * @param expandValue expands the variables of a value.
 * @param cwd for targets that are relative.
 * @throws {EngineError} invalid, in BuildKit's words.
 */
export function parseMount(text: string, expandValue: (value: string) => string, cwd: string): RunMount {
  const draft: Draft = {
    type: "bind",
    from: "",
    source: "",
    target: "",
    readOnly: undefined,
    size: undefined,
    id: "",
    sharing: undefined,
    required: false,
    env: undefined,
    mode: undefined,
    uid: undefined,
    gid: undefined,
  };
  for (const field of fieldsOf(text)) {
    const [key, value] = cut(field);
    if (value === undefined) setWord(draft, key, field);
    else setValue(draft, key, expandValue(value), field);
  }
  checkDraft(draft);
  return finish(draft, cwd);
}

function setWord(draft: Draft, key: string, field: string): void {
  if (key === "readonly" || key === "ro") draft.readOnly = true;
  else if (key === "readwrite" || key === "rw") draft.readOnly = false;
  else if (key === "required") {
    onlyFor(draft, key, "secret", "ssh");
    draft.required = true;
  } else throw invalid(`invalid field '${field}' must be a key=value pair`);
}

function setValue(draft: Draft, key: string, value: string, field: string): void {
  switch (key) {
    case "type": {
      const type = TYPES.find((name) => name === value.toLowerCase());
      if (type === undefined) {
        throw invalid(withSuggestion(`unsupported mount type ${quoted(value)}`, value, TYPES));
      }
      draft.type = type;
      return;
    }
    case "from":
      draft.from = value;
      return;
    case "source":
    case "src":
      draft.source = value;
      return;
    case "target":
    case "dst":
    case "destination":
      draft.target = value;
      return;
    case "readonly":
    case "ro":
      draft.readOnly = boolean(key, value);
      return;
    case "readwrite":
    case "rw":
      draft.readOnly = !boolean(key, value);
      return;
    case "required":
      onlyFor(draft, key, "secret", "ssh");
      draft.required = boolean(key, value);
      return;
    case "size":
      onlyFor(draft, key, "tmpfs");
      draft.size = parseRamBytes(value);
      if (draft.size === undefined) throw invalid(`invalid value for size: ${value}`);
      return;
    case "id":
      draft.id = value;
      return;
    case "sharing":
      draft.sharing = SHARING.find((name) => name === value.toLowerCase());
      if (draft.sharing === undefined) {
        throw invalid(withSuggestion(`unsupported sharing value ${quoted(value)}`, value, SHARING));
      }
      return;
    case "mode":
      draft.mode = number(key, value, 8);
      return;
    case "uid":
    case "gid":
      draft[key] = number(key, value, 10);
      return;
    case "env":
      draft.env = value;
      return;
    default:
      throw invalid(withSuggestion(`unexpected key '${key}' in '${field}'`, key, KEYS));
  }
}

function onlyFor({ type }: Draft, key: string, ...types: MountType[]): void {
  if (!types.includes(type)) throw invalid(`unexpected key '${key}' for mount type '${type}'`);
}

/** Go's strconv.ParseBool. */
function boolean(key: string, value: string): boolean {
  if (/^(1|t|T|true|TRUE|True)$/.test(value)) return true;
  if (/^(0|f|F|false|FALSE|False)$/.test(value)) return false;
  throw invalid(`invalid value for ${key}: ${value}`);
}

function number(key: string, value: string, base: 8 | 10): number {
  const parsed = (base === 8 ? /^[0-7]+$/ : /^\d+$/).test(value) ? parseInt(value, base) : NaN;
  if (!(parsed <= 0xffff_ffff)) throw invalid(`invalid value ${value} for ${key}`);
  return parsed;
}

function checkDraft(draft: Draft): void {
  const { type } = draft;
  if (type === "bind" || type === "tmpfs") {
    for (const key of ["mode", "uid", "gid"] as const) {
      if (draft[key] !== undefined) throw invalid(`${key} not allowed for ${quoted(type)} type mounts`);
    }
  }
  if (type === "secret") {
    if (draft.from !== "") throw invalid("secret mount should not have a from");
    if (draft.sharing !== undefined) throw invalid("secret mount should not define sharing");
    if (draft.source === "" && draft.target === "" && draft.id === "") {
      throw invalid("invalid secret mount. one of source, target required");
    }
    if (draft.source !== "" && draft.id !== "") throw invalid("both source and id can't be set");
  }
  if (type === "ssh" && draft.source !== "") throw invalid("ssh does not support source");
  if (draft.sharing !== undefined && type !== "cache") {
    throw invalid(`invalid cache sharing set for ${type} mount`);
  }
}

function finish(draft: Draft, cwd: string): RunMount {
  const from = draft.from === "" ? undefined : draft.from;
  const { type } = draft;
  const owner = { uid: draft.uid ?? 0, gid: draft.gid ?? 0 };
  if (type === "secret") {
    const id = draft.source || draft.id || baseName(draft.target);
    const target = draft.target || (draft.env === undefined ? `/run/secrets/${baseName(id)}` : undefined);
    return {
      type,
      id,
      target: target && resolve(cwd, target),
      env: draft.env,
      required: draft.required,
      mode: draft.mode ?? 0o400,
      ...owner,
    };
  }
  if (type === "ssh") {
    return {
      type,
      id: draft.id || "default",
      target: draft.target === "" ? undefined : resolve(cwd, draft.target),
      required: draft.required,
      mode: draft.mode ?? 0o600,
      ...owner,
    };
  }
  const target = resolve(cwd, draft.target);
  if (target === "/") throw invalid(`invalid mount target ${quoted(target)}`);
  if (type === "tmpfs") return { type, target, size: draft.size || undefined };
  const source = cleanPath(`/${draft.source}`);
  if (type === "bind") return { type, target, source, from, readWrite: draft.readOnly === false };
  return {
    type,
    // before the target is made absolute, as BuildKit has it: the same words mean the same cache
    id: draft.id || cleanPath(draft.target),
    target,
    source,
    from,
    readOnly: draft.readOnly ?? false,
    sharing: draft.sharing ?? "shared",
    mode: draft.mode ?? 0o755,
    ...owner,
  };
}

const baseName = (path: string): string => cleanPath(path).split("/").at(-1) ?? "";

const resolve = (cwd: string, path: string): string =>
  cleanPath(path.startsWith("/") ? path : `/${cwd}/${path}`);
