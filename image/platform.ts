import { EngineError, invalid } from "../base/errors.ts";

/** Operating system and processor as image configurations name them (Go's GOOS and GOARCH). */
export interface Platform {
  readonly os: string;
  readonly architecture: string;
  readonly variant?: string;
}

/** This machine's. */
export const HOST_PLATFORM: Platform = Deno.build.arch === "aarch64"
  ? { os: "linux", architecture: "arm64", variant: "v8" }
  : { os: "linux", architecture: "amd64" };

/** Other spellings (github.com/containerd/platforms, database.go). */
const ARCHITECTURES: Readonly<Record<string, Pick<Platform, "architecture" | "variant">>> = {
  x86_64: { architecture: "amd64" },
  "x86-64": { architecture: "amd64" },
  aarch64: { architecture: "arm64" },
  i386: { architecture: "386" },
  armhf: { architecture: "arm", variant: "v7" },
  armel: { architecture: "arm", variant: "v6" },
};

/** What a platform of one word can mean (github.com/containerd/platforms, database.go). */
const KNOWN_SYSTEMS =
  "aix android darwin dragonfly freebsd hurd illumos ios js linux nacl netbsd openbsd plan9 solaris windows zos"
    .split(" ");
const KNOWN_ARCHITECTURES =
  ("386 amd64 amd64p32 arm armbe arm64 arm64be ppc ppc64 ppc64le loong64 mips mipsle mips64 mips64le mips64p32 mips64p32le " +
    "riscv riscv64 s390 s390x sparc sparc64 wasm").split(" ");

/**
 * `linux/arm64/v8`, `linux/amd64`, `arm64`.
 *
 * @throws {EngineError} invalid
 */
export function parsePlatform(text: string): Platform {
  const parts = text.toLowerCase().split("/");
  if (parts.length > 3 || !parts.every((part) => /^[a-z0-9_.-]+$/.test(part))) {
    throw invalid(`"${text}" is an invalid OS or architecture: unknown operating system or architecture`);
  }
  const [only = ""] = parts;
  const isSystem = KNOWN_SYSTEMS.includes(only);
  if (
    parts.length === 1 && !isSystem &&
    !KNOWN_ARCHITECTURES.includes(ARCHITECTURES[only]?.architecture ?? only)
  ) {
    throw invalid(`"${text}": unknown operating system or architecture: invalid argument`);
  }
  const [os, name, variant] = parts.length === 1 && !isSystem ? ["linux", only] : parts;
  if (name === undefined) return { ...HOST_PLATFORM, os: os ?? "linux" };
  const known = ARCHITECTURES[name] ?? { architecture: name };
  return { os: os ?? "linux", ...known, ...(variant === undefined ? {} : { variant }) };
}

/** Whether an image made for `image` runs on `host`; without a variant any will do. arm64's v8 goes without saying. */
export function matches(image: Platform, host: Platform): boolean {
  const variant = (p: Platform) => p.architecture === "arm64" && p.variant === "v8" ? undefined : p.variant;
  return image.os === host.os && image.architecture === host.architecture &&
    (variant(image) === undefined || variant(host) === undefined || variant(image) === variant(host));
}

/** `linux/arm64/v8`: what {@link parsePlatform} reads. */
export const formatPlatform = ({ os, architecture, variant }: Platform): string =>
  [os, architecture, ...(variant ? [variant] : [])].join("/");

/** What an image says of itself. */
export const platformOf = ({ os, architecture, variant }: Omit<Platform, "variant"> & {
  readonly variant?: string | undefined;
}): Platform => ({ os, architecture, ...(variant === undefined ? {} : { variant }) });

/** Docker's refusal where an image is for another platform than the one asked for. */
export const platformMismatch = (name: string, actual: Platform, wanted: Platform): EngineError =>
  new EngineError(
    "not-found",
    `image with reference ${name} was found but its platform (${formatPlatform(actual)}) ` +
      `does not match the specified platform (${formatPlatform(wanted)})`,
  );

/**
 * An image is for one platform here: asking for another one is asking for an image that is not there.
 *
 * @param config the image's configuration.
 * @param wanted undefined: anything will do.
 * @throws {EngineError} not-found
 */
export function requirePlatform(
  name: string,
  config: Omit<Platform, "variant"> & { readonly variant?: string | undefined },
  wanted: Platform | undefined,
): void {
  const actual = platformOf(config);
  if (wanted !== undefined && !matches(actual, wanted)) throw platformMismatch(name, actual, wanted);
}
