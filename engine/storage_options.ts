import { invalid } from "../base/errors.ts";

/**
 * Checks `--storage-opt` of a container and answers Docker's kind of warning for what cannot be applied.
 *
 * `size` would be a project quota. Linux lets nobody set one from within a user namespace (quotactl wants CAP_SYS_ADMIN of the
 * initial one, FS_IOC_FSSETXATTR refuses to change the project id there), and the engine is always in one: there is no file
 * system on which the option could work.
 *
 * @throws {EngineError} invalid for unknown options and for what is no size.
 */
export function storageOptionWarnings(options: Readonly<Record<string, string>>): string[] {
  const warnings: string[] = [];
  for (const [key, value] of Object.entries(options)) {
    if (key.toLowerCase() !== "size") throw invalid(`unknown option ${key}`);
    if (!/^\d+(?:\.\d+)? ?[kmgtp]?i?b?$/i.test(value)) throw invalid(`invalid size: '${value}'`);
    warnings.push(
      "Your kernel does not support a size limit for containers of an engine without root (a project quota cannot be set " +
        "in a user namespace). Limitation discarded.",
    );
  }
  return warnings;
}
