import { describe, expect, it } from "vitest";
import { canonicalString, familiarString, parseReference, withDefaultTag } from "../../base/reference.ts";

const DIGEST = `sha256:${"0123456789abcdef".repeat(4)}`;

describe("parseReference()", () => {
  // [given, canonical, familiar]
  it.each([
    ["busybox", "docker.io/library/busybox:latest", "busybox:latest"],
    ["busybox:1.36", "docker.io/library/busybox:1.36", "busybox:1.36"],
    ["library/busybox", "docker.io/library/busybox:latest", "busybox:latest"],
    ["docker.io/busybox", "docker.io/library/busybox:latest", "busybox:latest"],
    ["index.docker.io/busybox", "docker.io/library/busybox:latest", "busybox:latest"],
    ["docker.io/library/busybox", "docker.io/library/busybox:latest", "busybox:latest"],
    ["berth/host", "docker.io/berth/host:latest", "berth/host:latest"],
    ["library/a/b", "docker.io/library/a/b:latest", "library/a/b:latest"],
    ["localhost/x", "localhost/x:latest", "localhost/x:latest"],
    ["localhost:5000/x:v1", "localhost:5000/x:v1", "localhost:5000/x:v1"],
    ["[::1]:5000/x", "[::1]:5000/x:latest", "[::1]:5000/x:latest"],
    ["quay.io/a/b/c:1", "quay.io/a/b/c:1", "quay.io/a/b/c:1"],
    ["Registry/a", "Registry/a:latest", "Registry/a:latest"],
    ["x/a__b-c.d/e--f", "docker.io/x/a__b-c.d/e--f:latest", "x/a__b-c.d/e--f:latest"],
    [`busybox@${DIGEST}`, `docker.io/library/busybox@${DIGEST}`, `busybox@${DIGEST}`],
    [`h.io/x:1@${DIGEST}`, `h.io/x:1@${DIGEST}`, `h.io/x:1@${DIGEST}`],
    ["sha256:abc", "docker.io/library/sha256:abc", "sha256:abc"],
  ])("normalises %s", (given, canonical, familiar) => {
    const reference = withDefaultTag(parseReference(given));
    expect(canonicalString(reference)).toBe(canonical);
    expect(familiarString(reference)).toBe(familiar);
    expect(canonicalString(parseReference(canonical))).toBe(canonical);
  });

  it.each([
    ["", "invalid reference format"],
    [":latest", "invalid reference format"],
    ["a b", "invalid reference format"],
    ["busybox:", "invalid reference format"],
    ["busybox:-x", "invalid reference format"],
    [`busybox:${"x".repeat(129)}`, "invalid reference format"],
    ["a//b", "invalid reference format"],
    ["a/", "invalid reference format"],
    ["-a", "invalid reference format"],
    ["a..b", "invalid reference format"],
    ["a__b-c.d/e", "invalid reference format"],
    ["a___b", "invalid reference format"],
    ["a\nb", "invalid reference format"],
    ["😀", "invalid reference format"],
    ["busybox@sha256:abc", "invalid reference format"],
    ["Busybox", "invalid reference format: repository name (library/Busybox) must be lowercase"],
    ["h.io/A/b", "invalid reference format: repository name (A/b) must be lowercase"],
    [`a/${"b".repeat(260)}`, "repository name must not be more than 255 characters"],
    [
      "f".repeat(64),
      `invalid repository name (${"f".repeat(64)}), cannot specify 64-byte hexadecimal strings`,
    ],
  ])("refuses %j", (given, message) => {
    expect(() => parseReference(given)).toThrow(expect.objectContaining({ kind: "invalid", message }));
  });
});
