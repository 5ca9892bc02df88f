import { DockerIgnore, readDockerignore } from "../../base/dockerignore.ts";
import type { IgnoreCheck } from "./step.ts";

/**
 * For the check that warns of sources that `.dockerignore` leaves out.
 *
 * @param text of the file.
 * @returns undefined: there is nothing to say, also where exceptions (`!`) make it hard to.
 * @throws {EngineError} invalid
 */
export function ignoreCheck(text: string): IgnoreCheck | undefined {
  const ignore = new DockerIgnore(readDockerignore(text));
  if (ignore.hasExceptions) return undefined;
  return (pattern) => {
    const path = pattern.replace(/^\/+|\/+$/g, "");
    // the context itself is there, unless all that is in it is not
    return path === "" || path === "." ? ignore.coversAll : ignore.ignores(path);
  };
}
