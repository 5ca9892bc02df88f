/**
 * JSON as docker's Go structures see it. JSON does not tell a nil slice from a nil pointer, or a map (any key may be
 * missing) from a structure (a missing field is an error, or was left out because it was empty): names of fields do.
 */

import { GoNil, GoTime, isObject, markMap } from "./values.ts";

/** Fields that are maps. */
const MAPS = new Set(
  ("Labels Annotations Volumes ExposedPorts Ports Networks Sysctls Tmpfs StorageOpt Config Options PortBindings Data " +
    "DriverOpts Attributes Details Status Containers Runtimes Metadata").split(" "),
);
/** `Config` is a map only within these: a container's own `Config` is a structure. */
const MAP_OWNERS: Readonly<Record<string, string>> = { Config: "LogConfig", Status: "Volume" };

/** Fields that are slices, and null in JSON when they are nil. */
const SLICES = new Set(
  ("Args Cmd Entrypoint Env OnBuild Shell Binds VolumesFrom CapAdd CapDrop Dns DnsOptions DnsSearch ExtraHosts GroupAdd " +
    "Links SecurityOpt BlkioWeightDevice BlkioDeviceReadBps BlkioDeviceWriteBps BlkioDeviceReadIOps " +
    "BlkioDeviceWriteIOps Devices DeviceCgroupRules DeviceRequests Ulimits MaskedPaths ReadonlyPaths Mounts ExecIDs " +
    "Aliases DNSNames RepoTags RepoDigests Layers Names Test Warnings").split(" "),
);

/** Fields that are left out when empty, by the structure that has them. */
const OPTIONAL: Readonly<Record<string, Readonly<Record<string, unknown>>>> = {
  State: { Health: null },
  Config: {
    Healthcheck: null,
    StopSignal: "",
    StopTimeout: null,
    ExposedPorts: new GoNil("map"),
    Shell: new GoNil("slice"),
    ArgsEscaped: false,
    NetworkDisabled: false,
    MacAddress: "",
  },
  HostConfig: {
    Init: null,
    Annotations: new GoNil("map"),
    Mounts: new GoNil("slice"),
    StorageOpt: new GoNil("map"),
    Tmpfs: new GoNil("map"),
    Sysctls: new GoNil("map"),
    Runtime: "",
  },
  "": {
    SizeRw: null,
    SizeRootFs: null,
    ImageManifestDescriptor: null,
    Variant: "",
    OsVersion: "",
    Comment: "",
    Author: "",
    Parent: "",
  },
};

/** What a network's `IPAM.Config` entries have, in Go's order, which `{{.IPAM.Config}}` shows. */
const IPAM_CONFIG = { Subnet: "", IPRange: "", Gateway: "", AuxiliaryAddresses: {} };

/** A copy for templates, in which missing and null fields behave as in Go. */
export function asGoTypes(value: unknown): unknown {
  return convert(value, "", "");
}

function convert(value: unknown, name: string, owner: string): unknown {
  if (Array.isArray(value)) return value.map((item) => convert(item, "[]", name));
  if (!isObject(value)) {
    if (value !== null) return value;
    if (SLICES.has(name)) return new GoNil("slice");
    return isMapField(name, owner) ? new GoNil("map") : null;
  }
  const result: Record<string, unknown> = {};
  for (const [key, item] of Object.entries(value)) result[key] = convert(item, key, name);
  if (owner === "Config" && name === "[]" && "Subnet" in value) return ipamConfig(value);
  // Only a network has these; its structure holds a time, which is shown as such.
  if (owner === "" && name === "" && "ConfigOnly" in value && typeof value["Created"] === "string") {
    result["Created"] = new GoTime(value["Created"]);
  }
  if (isMapField(name, owner)) {
    markMap(result);
    return result;
  }
  // Go's spelling of the field that JSON calls Id.
  if (name === "" && Object.hasOwn(result, "Id") && !Object.hasOwn(result, "ID")) {
    Object.defineProperty(result, "ID", { value: result["Id"], enumerable: false });
  }
  // Not enumerable: {{json .}} shows what the engine sent.
  for (const [key, item] of Object.entries(OPTIONAL[name] ?? {})) {
    if (!Object.hasOwn(result, key)) Object.defineProperty(result, key, { value: item, enumerable: false });
  }
  return result;
}

function isMapField(name: string, owner: string): boolean {
  if (!MAPS.has(name)) return false;
  const wanted = MAP_OWNERS[name];
  return wanted === undefined || wanted === owner;
}

function ipamConfig(value: Readonly<Record<string, unknown>>): unknown {
  const config: Record<string, unknown> = { ...IPAM_CONFIG, ...value };
  markMap(config["AuxiliaryAddresses"] = { ...config["AuxiliaryAddresses"] as object });
  // Go's name of the field, and the shape that the engine sent.
  Object.defineProperty(config, "AuxAddress", { value: config["AuxiliaryAddresses"] });
  Object.defineProperty(config, "toJSON", { value: () => value });
  return config;
}
