import { EngineError } from "../base/errors.ts";
import { API_VERSION, MIN_API_VERSION, TOLERATED_API_VERSIONS } from "../base/version.ts";

/** gorilla/mux' matcher in Docker's server: `/v{version:[0-9.]+}`. */
const PREFIX = /^\/v([0-9.]+)(?=\/)/;

/** `/a/b` of `http://localhost/a/b?c`. */
export function pathOf(url: string): string {
  const start = url.indexOf("/", url.indexOf("://") + 3);
  const query = url.indexOf("?", start);
  return start < 0 ? "/" : query < 0 ? url.slice(start) : url.slice(start, query);
}

/** `["1.43", "/containers/json"]` of `/v1.43/containers/json`; undefined where no version is asked for. */
export function splitVersion(path: string): [string | undefined, string] {
  const match = PREFIX.exec(path);
  return match === null ? [undefined, path] : [match[1], path.slice(match[0].length)];
}

/** Compares part by part, a missing or unreadable part being 0; below 0 when `a` is older. */
export function compareVersions(a: string, b: string): number {
  const left = a.split(".");
  const right = b.split(".");
  for (let i = 0; i < Math.max(left.length, right.length); i++) {
    const difference = (Number(left[i]) || 0) - (Number(right[i]) || 0);
    if (difference !== 0) return difference;
  }
  return 0;
}

/**
 * The version to answer in: what the client asked for, the newest when it did not say, and the minimum for the few older ones that
 * are let pass.
 *
 * @throws EngineError "invalid" with Docker's words, from which clients learn what to ask for instead.
 */
export function negotiate(asked: string | undefined): string {
  if (asked === undefined) return API_VERSION;
  if (TOLERATED_API_VERSIONS.includes(asked)) return MIN_API_VERSION;
  if (compareVersions(asked, API_VERSION) > 0) {
    throw new EngineError(
      "invalid",
      `client version ${asked} is too new. Maximum supported API version is ${API_VERSION}`,
    );
  }
  if (compareVersions(asked, MIN_API_VERSION) < 0) {
    throw new EngineError(
      "invalid",
      `client version ${asked} is too old. Minimum supported API version is ${MIN_API_VERSION}, please upgrade your client to a newer version`,
    );
  }
  return asked;
}
