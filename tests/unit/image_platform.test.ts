/** Platforms as people write them. */
import { expect, test } from "vitest";
import { HOST_PLATFORM, parsePlatform } from "../../image/platform.ts";

test("parsePlatform() takes one word for a system or a processor that it knows, and refuses others as Docker does", () => {
  expect(parsePlatform("linux")).toEqual(HOST_PLATFORM);
  expect(parsePlatform("windows")).toEqual({ ...HOST_PLATFORM, os: "windows" });
  expect(parsePlatform("aarch64")).toEqual({ os: "linux", architecture: "arm64" });
  expect(parsePlatform("armhf")).toEqual({ os: "linux", architecture: "arm", variant: "v7" });
  expect(parsePlatform("linux/other/v1")).toEqual({ os: "linux", architecture: "other", variant: "v1" });
  expect(() => parsePlatform("arm46")).toThrow(
    '"arm46": unknown operating system or architecture: invalid argument',
  );
});
