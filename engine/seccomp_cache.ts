import { compileSeccomp, defaultProfile, parseSeccompProfile } from "../runtime/seccomp/mod.ts";
import { type HostFacts, kernelVersion } from "./host_facts.ts";

/** Compiled programs that are kept. Nearly all containers share one; profiles given inline come and go. */
const LIMIT = 16;
const cache = new Map<string, string>();

/**
 * The seccomp program for a profile and a set of capabilities, in base64, compiled once.
 *
 * @param profile JSON in Docker's format; undefined = the default profile.
 * @throws {EngineError} invalid profile.
 */
export function seccompFor(
  facts: Pick<HostFacts, "machine" | "kernel">,
  profile: string | undefined,
  caps: readonly string[],
): string {
  const key = `${caps.join(" ")}\n${profile ?? ""}`;
  const known = cache.get(key);
  if (known !== undefined) return known;
  const program = compileSeccomp(profile === undefined ? defaultProfile() : parseSeccompProfile(profile), {
    arch: facts.machine === "aarch64" ? "aarch64" : "x86_64",
    caps,
    kernel: kernelVersion(facts.kernel),
  });
  const text = program.toBase64();
  const [oldest] = cache.keys();
  if (cache.size >= LIMIT && oldest !== undefined) cache.delete(oldest);
  cache.set(key, text);
  return text;
}
