import { compareVersions } from "./version.ts";

type View = Record<string, unknown>;

/** Fields of a configuration that up to 1.49 are there without a value, and later only with one (moby: legacyConfigFields). */
const CONFIG_DEFAULTS: Readonly<View> = {
  AttachStderr: false,
  AttachStdin: false,
  AttachStdout: false,
  Domainname: "",
  Hostname: "",
  Image: "",
  OpenStdin: false,
  StdinOnce: false,
  Tty: false,
};

/** An image of `GET /images/json` as a version of the API has it (moby: api/server/router/image/image_routes.go). */
export function adaptListed(version: string, image: View): View {
  const before = (other: string) => compareVersions(version, other) < 0;
  const { VirtualSize, ...rest } = image;
  const none = (key: string) => !Array.isArray(image[key]) || image[key].length === 0;
  return {
    ...rest,
    ...(before("1.44") ? { VirtualSize } : {}),
    ...(before("1.43") && none("RepoTags") && none("RepoDigests")
      ? { RepoTags: ["<none>:<none>"], RepoDigests: ["<none>@<none>"] }
      : {}),
    ...(before("1.51") ? { Containers: -1 } : {}),
  };
}

/**
 * docker-compose 1.x asks in the newest version that there is, and reads from images what 1.45 has no more: with Docker's engine it
 * cannot make a container anew.
 */
const OLD_COMPOSE = /^docker-compose\/1\./;

/** `GET /images/{name}/json` as a version of the API has it, and one client that does not keep to its version. */
export function adaptInspect(version: string, image: View, userAgent = ""): View {
  const isOldCompose = OLD_COMPOSE.test(userAgent);
  const before = (other: string) => compareVersions(version, other) < 0;
  const { VirtualSize, ...rest } = image;
  return {
    ...rest,
    ...(before("1.44") ? { VirtualSize } : {}),
    ...(before("1.45") ? { Container: "" } : {}),
    ...(before("1.45") || isOldCompose ? { ContainerConfig: image["Config"] ?? {} } : {}),
    ...(before("1.50") ? {} : { Config: withoutDefaults(image["Config"]) }),
  };
}

function withoutDefaults(config: unknown): View {
  return Object.fromEntries(
    Object.entries(config ?? {}).filter(([key, value]) => CONFIG_DEFAULTS[key] !== value),
  );
}
