import { compileSeccomp, defaultProfile, parseSeccompProfile, seccompFlags } from "../runtime/seccomp/mod.ts";
import type { ProcessSpec } from "../runtime/spec.ts";
import { type HostFacts, kernelVersion } from "./host_facts.ts";

/** Compiled programs that are kept. Nearly all containers share one; profiles given inline come and go. */
const LIMIT = 16;
const cache = new Map<string, SeccompSpec>();

/** The filter of a process, and what to load it with; nothing for a profile that says nothing. */
export type SeccompSpec = Pick<ProcessSpec, "seccomp" | "seccompFlags">;

/**
 * The seccomp program for a profile and a set of capabilities, compiled once.
 *
 * @param profile JSON in Docker's format; undefined = the default profile.
 * @throws {EngineError} invalid profile.
 */
export function seccompFor(
  facts: Pick<HostFacts, "machine" | "kernel">,
  profile: string | undefined,
  caps: readonly string[],
): SeccompSpec {
  const key = `${caps.join(" ")}\n${profile ?? ""}`;
  const known = cache.get(key);
  if (known !== undefined) return known;
  const parsed = profile === undefined ? defaultProfile() : parseSeccompProfile(profile);
  const program = compileSeccomp(parsed, {
    arch: facts.machine === "aarch64" ? "aarch64" : "x86_64",
    caps,
    kernel: kernelVersion(facts.kernel),
  });
  const spec = program.length === 0
    ? {}
    : { seccomp: program.toBase64(), seccompFlags: seccompFlags(parsed) };
  const [oldest] = cache.keys();
  if (cache.size >= LIMIT && oldest !== undefined) cache.delete(oldest);
  cache.set(key, spec);
  return spec;
}
