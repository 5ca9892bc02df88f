import { invalid } from "./errors.ts";

/** An image's name, taken apart: `docker.io/library/busybox:latest`, `host:5000/a/b@sha256:…`. */
export interface Reference {
  /** Registry's host with its port, "docker.io" by default. */
  readonly domain: string;
  /** Repository at that registry, "library/busybox". */
  readonly path: string;
  readonly tag: string | undefined;
  /** `sha256:…` */
  readonly digest: string | undefined;
}

export const DEFAULT_DOMAIN = "docker.io";
const LEGACY_DEFAULT_DOMAIN = "index.docker.io";
const OFFICIAL_PREFIX = "library/";
export const DEFAULT_TAG = "latest";

// Grammar: github.com/distribution/reference, reference.go and regexp.go
const DOMAIN_COMPONENT = "(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])";
const IPV6 = "\\[(?:[a-fA-F0-9:]+)\\]";
const DOMAIN = new RegExp(`^(?:${DOMAIN_COMPONENT}(?:\\.${DOMAIN_COMPONENT})*|${IPV6})(?::[0-9]+)?$`);
const PATH_COMPONENT = "[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*";
const PATH = new RegExp(`^${PATH_COMPONENT}(?:/${PATH_COMPONENT})*$`);
const TAG = /^\w[\w.-]{0,127}$/;
const DIGEST = /^[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}$/;
const SHA256 = /^sha256:[0-9a-f]{64}$/;
const FULL_ID = /^[0-9a-f]{64}$/;

/** Longest name (domain and path together) that registries accept. */
const MAX_NAME = 255;

const FORMAT = "invalid reference format";

/**
 * Parses a name as users write it, in any of its short forms.
 *
 * @throws {EngineError} invalid, in Docker's words.
 */
export function parseReference(text: string): Reference {
  if (FULL_ID.test(text)) {
    throw invalid(`invalid repository name (${text}), cannot specify 64-byte hexadecimal strings`);
  }
  const at = text.indexOf("@");
  const digest = at < 0 ? undefined : text.slice(at + 1);
  const named = at < 0 ? text : text.slice(0, at);
  const { domain, rest } = splitDomain(named);
  // behind the last slash a colon is the tag's: a port stands before a slash
  const colon = rest.indexOf(":", rest.lastIndexOf("/") + 1);
  const tag = colon < 0 ? undefined : rest.slice(colon + 1);
  const path = colon < 0 ? rest : rest.slice(0, colon);
  if (path !== path.toLowerCase()) {
    throw invalid(`${FORMAT}: repository name (${path}) must be lowercase`);
  }
  if (!DOMAIN.test(domain) || !PATH.test(path)) throw invalid(FORMAT);
  if (tag !== undefined && !TAG.test(tag)) throw invalid(FORMAT);
  if (digest !== undefined && !DIGEST.test(digest)) throw invalid(FORMAT);
  if (digest?.startsWith("sha256:") && !SHA256.test(digest)) throw invalid("invalid checksum digest length");
  if (domain.length + 1 + path.length > MAX_NAME) {
    throw invalid(`repository name must not be more than ${MAX_NAME} characters`);
  }
  return { domain, path, tag, digest };
}

/** The first component is a registry when it looks like a host name: has a dot or a port, is localhost, or has capitals. */
function splitDomain(text: string): { domain: string; rest: string } {
  const slash = text.indexOf("/");
  const first = text.slice(0, Math.max(0, slash));
  const isHost = slash >= 0 && (/[.:]/.test(first) || first === "localhost" || first !== first.toLowerCase());
  let domain = isHost ? first : DEFAULT_DOMAIN;
  let rest = isHost ? text.slice(slash + 1) : text;
  if (domain === LEGACY_DEFAULT_DOMAIN) domain = DEFAULT_DOMAIN;
  if (domain === DEFAULT_DOMAIN && !rest.includes("/")) rest = OFFICIAL_PREFIX + rest;
  return { domain, rest };
}

/** Whether a text can stand behind the colon of a name. */
export const isTag = (text: string): boolean => TAG.test(text);

/** Adds `:latest` to a name without tag and digest. */
export function withDefaultTag(reference: Reference): Reference {
  if (reference.tag !== undefined || reference.digest !== undefined) return reference;
  return { ...reference, tag: DEFAULT_TAG };
}

/** `docker.io/library/busybox` */
export function canonicalName({ domain, path }: Reference): string {
  return `${domain}/${path}`;
}

/** `docker.io/library/busybox:latest`: how references are stored and compared. */
export function canonicalString(reference: Reference): string {
  return canonicalName(reference) + suffix(reference);
}

/** `busybox`: the shortest name that means the same. */
export function familiarName({ domain, path }: Reference): string {
  if (domain !== DEFAULT_DOMAIN) return `${domain}/${path}`;
  const short = path.startsWith(OFFICIAL_PREFIX) ? path.slice(OFFICIAL_PREFIX.length) : path;
  return short.includes("/") ? path : short;
}

/** `busybox:latest` */
export function familiarString(reference: Reference): string {
  return familiarName(reference) + suffix(reference);
}

function suffix({ tag, digest }: Reference): string {
  return (tag === undefined ? "" : `:${tag}`) + (digest === undefined ? "" : `@${digest}`);
}

/** The form in which names are stored: with a digest the tag does not count. */
export function storedName(reference: Reference): string {
  return reference.digest === undefined
    ? canonicalString(reference)
    : `${canonicalName(reference)}@${reference.digest}`;
}
