/**
 * What this berth is: its version, the API versions it speaks, and how it was built.
 *
 * The `BERTH_*` names are replaced by string literals when scripts/build.ts bundles; in the source form they
 * do not exist, hence the `typeof` guards.
 */

declare const BERTH_PACKAGING: string | undefined;
declare const BERTH_GIT_COMMIT: string | undefined;
declare const BERTH_BUILD_TIME: string | undefined;

/** berth's own version (semantic versioning), the same as in package.json. */
export const VERSION = "0.1.0";

/** Newest Docker Engine API version that is spoken; what `/_ping` answers in `Api-Version`. */
export const API_VERSION = "1.51";

/** Oldest Docker Engine API version that is accepted, as in Docker 25 and later. */
export const MIN_API_VERSION = "1.24";

/**
 * Versions older than the minimum that are answered as the minimum. `docker-daemon:` of containers/image asks for 1.22
 * (seen with skopeo 1.9.3), and only for routes that are the same in 1.24.
 */
export const TOLERATED_API_VERSIONS: readonly string[] = ["1.22", "1.23"];

/** How berth was packed: see docs/architecture.md, "One executable". */
export type Packaging = "compiled" | "self-extracting" | "source";

/** How this process was packed. `berth version` shows it. */
export function packaging(): Packaging {
  const built = typeof BERTH_PACKAGING === "string" ? BERTH_PACKAGING : "";
  return built === "compiled" || built === "self-extracting" ? built : "source";
}

/** Short hash of the commit that was built, with `-dirty` when the tree had changes; "unknown" in the source form. */
export function gitCommit(): string {
  return typeof BERTH_GIT_COMMIT === "string" && BERTH_GIT_COMMIT !== "" ? BERTH_GIT_COMMIT : "unknown";
}

/** When berth was built (the commit's date, RFC 3339, so that builds can be repeated); "" in the source form. */
export function buildTime(): string {
  return typeof BERTH_BUILD_TIME === "string" ? BERTH_BUILD_TIME : "";
}
