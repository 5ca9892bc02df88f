import { describe, expect, test } from "vitest";
import { imageTree } from "../../cli/commands/images_tree.ts";
import { compare, DOCKER_28 } from "../support/cli_comparison.ts";
import { describeWith } from "../support/needs.ts";

const id = (digit: string) => `sha256:${digit.repeat(64)}`;

const manifest = (digit: string, architecture: string, more: object = {}) => ({
  ID: id(digit),
  Descriptor: { mediaType: "application/vnd.oci.image.manifest.v1+json", digest: id(digit), size: 5 },
  Available: true,
  Kind: "image",
  Size: { Content: 1000, Total: 5000 },
  ImageData: { Platform: { os: "linux", architecture }, Containers: [], Size: { Unpacked: 4000 } },
  ...more,
});

const IMAGES = [
  { Id: id("2"), RepoTags: [], RepoDigests: [], Created: 1600000000, Size: 9, Labels: {} },
  {
    Id: id("1"),
    RepoTags: ["x:latest", "registry.example/a/b:1"],
    RepoDigests: [],
    Created: 1700000000,
    Size: 123456,
    Labels: {},
    Manifests: [
      manifest("4", "amd64", {
        ImageData: { Platform: { os: "linux", architecture: "amd64" }, Containers: ["c"] },
      }),
      manifest("5", "arm64", { Available: false, Size: { Content: 0, Total: 0 } }),
    ],
  },
];

describe("imageTree()", () => {
  test("names an image's platforms below its last name, and marks what is in use", () => {
    expect(imageTree(IMAGES, true, false).split("\n").slice(4)).toEqual([
      "registry.example/a/b:1",
      "x:latest                 111111111111        123kB            1kB   U    ",
      "├─ linux/amd64           444444444444          5kB            1kB   U    ",
      "└─ linux/arm64           555555555555           0B             0B        ",
      "",
      "<untagged>               222222222222           9B             0B        ",
      "",
      "",
    ]);
  });

  test("leaves images without a name out unless all are asked for", () => {
    expect(imageTree(IMAGES, false, false)).not.toContain("<untagged>");
  });
});

describeWith(DOCKER_28)("compared with docker 28", () => {
  test.each([[], ["--all"], ["x"], ["-q"], ["--no-trunc"], ["--digests"], ["--format", "json"]])(
    "berth images --tree %s",
    async (...more: string[]) => {
      const { docker, berth } = await compare(
        ["images", "--tree", ...more],
        (request, connection) =>
          connection.answer(200, request.target === "/_ping" ? "OK" : IMAGES, {
            "Content-Type": "application/json",
            "Api-Version": "1.51",
          }),
      );
      expect(berth).toEqual(docker);
    },
  );
});
