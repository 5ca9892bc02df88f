/** Driver options, `docker network create -o`: those that Docker's drivers know; others are kept for inspect and have no effect. */
import { EngineError, invalid } from "../base/errors.ts";
import { type Family, formatAddress, tryParseAddress } from "../base/address.ts";

const PREFIX = "com.docker.network";

/** Keys of Docker's options that have a meaning here. */
export const OPTION = {
  bridgeName: `${PREFIX}.bridge.name`,
  defaultBridge: `${PREFIX}.bridge.default_bridge`,
  enableIcc: `${PREFIX}.bridge.enable_icc`,
  masquerade: `${PREFIX}.bridge.enable_ip_masquerade`,
  hostBinding: `${PREFIX}.bridge.host_binding_ipv4`,
  inhibitIpv4: `${PREFIX}.bridge.inhibit_ipv4`,
  gatewayMode4: `${PREFIX}.bridge.gateway_mode_ipv4`,
  gatewayMode6: `${PREFIX}.bridge.gateway_mode_ipv6`,
  trustedInterfaces: `${PREFIX}.bridge.trusted_host_interfaces`,
  mtu: `${PREFIX}.driver.mtu`,
  interfacePrefix: `${PREFIX}.container_iface_prefix`,
  hostIpv4: `${PREFIX}.host_ipv4`,
  hostIpv6: `${PREFIX}.host_ipv6`,
  enableIpv4: `${PREFIX}.enable_ipv4`,
  enableIpv6: `${PREFIX}.enable_ipv6`,
  endpointSysctls: `${PREFIX}.endpoint.sysctls`,
  endpointInterface: `${PREFIX}.endpoint.ifname`,
} as const;

export type GatewayMode = "nat" | "nat-unprotected" | "routed" | "isolated";
const GATEWAY_MODES: readonly string[] = ["nat", "nat-unprotected", "routed", "isolated"];

export interface BridgeOptions {
  readonly driver: "bridge";
  /** The link's name; empty: `br-` and the network's short id. */
  readonly bridgeName: string;
  readonly defaultBridge: boolean;
  /** Containers of the network reach each other. */
  readonly enableIcc: boolean;
  readonly masquerade: boolean;
  /** Where ports are published that name no address; empty: 0.0.0.0 and `::`. */
  readonly hostBinding: string;
  /** The bridge gets no IPv4 address. */
  readonly inhibitIpv4: boolean;
  readonly gatewayMode4: GatewayMode;
  readonly gatewayMode6: GatewayMode;
  readonly trustedInterfaces: readonly string[];
  /** Bytes; 0: the default. */
  readonly mtu: number;
  /** Of the names of interfaces in containers. */
  readonly interfacePrefix: string;
}

export interface MacvlanOptions {
  readonly driver: "macvlan";
  /** The link below; empty: a dummy of berth's own. */
  readonly parent: string;
  readonly mode: string;
  readonly interfacePrefix: string;
}

export interface IpvlanOptions {
  readonly driver: "ipvlan";
  readonly parent: string;
  readonly mode: string;
  readonly flag: string;
  readonly interfacePrefix: string;
}

export interface PlainOptions {
  readonly driver: "host" | "null" | "overlay";
}

export type DriverOptions = BridgeOptions | MacvlanOptions | IpvlanOptions | PlainOptions;

/**
 * Reads the options of one driver. `internal` is the network's: some options are no sense without it.
 * @throws {EngineError} invalid, or system where Docker answers 500
 */
export function parseDriverOptions(
  driver: DriverOptions["driver"],
  options: Readonly<Record<string, string>>,
  internal: boolean,
): DriverOptions {
  switch (driver) {
    case "bridge":
      return bridgeOptions(options, internal);
    case "macvlan":
      return {
        driver,
        ...childLink("macvlan", options),
        mode: oneOf(options["macvlan_mode"], ["bridge", "private", "passthru", "vepa"], "macvlan mode"),
      };
    case "ipvlan":
      return {
        driver,
        ...childLink("ipvlan", options),
        mode: oneOf(options["ipvlan_mode"], ["l2", "l3", "l3s"], "ipvlan mode"),
        flag: oneOf(options["ipvlan_flag"], ["bridge", "private", "vepa"], "ipvlan flag"),
      };
    default:
      return { driver };
  }
}

/** The families for which the driver wants no gateway chosen (moby: GetSkipGwAlloc of each driver). */
export function familiesWithoutGateway(options: DriverOptions, internal: boolean): Family[] {
  if (options.driver === "macvlan" || options.driver === "ipvlan") return [4, 6];
  if (options.driver !== "bridge") return [];
  const without4 = options.gatewayMode4 === "isolated" || (options.inhibitIpv4 && internal);
  return [...(without4 ? [4 as const] : []), ...(options.gatewayMode6 === "isolated" ? [6 as const] : [])];
}

function bridgeOptions(options: Readonly<Record<string, string>>, internal: boolean): BridgeOptions {
  const read = <T>(key: string, fallback: T, parse: (value: string) => T): T => {
    const value = options[key];
    if (value === undefined) return fallback;
    try {
      return parse(value);
    } catch (error) {
      throw invalid(
        `failed to parse ${key} value: ${value} (${error instanceof Error ? error.message : error})`,
      );
    }
  };
  const gatewayMode4 = read(OPTION.gatewayMode4, "nat", gatewayMode);
  const gatewayMode6 = read(OPTION.gatewayMode6, "nat", gatewayMode);
  if ((gatewayMode4 === "isolated" || gatewayMode6 === "isolated") && !internal) {
    throw new EngineError("system", "gateway mode 'isolated' can only be used for an internal network");
  }
  const mtu = read(OPTION.mtu, 0, goInteger);
  if (mtu < 0) throw invalid(`invalid MTU number: ${mtu}`);
  for (const key of [OPTION.hostIpv4, OPTION.hostIpv6]) read(key, "", address);
  const bridgeName = options[OPTION.bridgeName] ?? "";
  // The kernel's rule for names of links (dev_valid_name); it would answer EINVAL much later.
  if (bridgeName !== "" && (!/^[^\s/:]{1,15}$/.test(bridgeName) || /^\.\.?$/.test(bridgeName))) {
    throw invalid(
      `failed to parse ${OPTION.bridgeName} value: ${bridgeName} (an interface's name has 1 to 15 characters, and no slash, colon or space)`,
    );
  }
  return {
    driver: "bridge",
    bridgeName,
    defaultBridge: read(OPTION.defaultBridge, false, goBoolean),
    enableIcc: read(OPTION.enableIcc, true, goBoolean),
    masquerade: read(OPTION.masquerade, true, goBoolean),
    hostBinding: read(OPTION.hostBinding, "", address),
    inhibitIpv4: read(OPTION.inhibitIpv4, false, goBoolean),
    gatewayMode4,
    gatewayMode6,
    trustedInterfaces: (options[OPTION.trustedInterfaces] ?? "").split(":").filter((name) => name !== ""),
    mtu,
    interfacePrefix: options[OPTION.interfacePrefix] ?? "",
  };
}

function gatewayMode(text: string): GatewayMode {
  if (!GATEWAY_MODES.includes(text)) throw new Error(`unknown gateway mode ${text}`);
  return text as GatewayMode;
}

function address(text: string): string {
  const found = tryParseAddress(text);
  if (!found || found.zone !== "") throw new Error("nil ip");
  return formatAddress(found);
}

function childLink(driver: string, options: Readonly<Record<string, string>>) {
  const parent = options["parent"] ?? "";
  if (parent === "lo") {
    throw new EngineError("system", `loopback interface is not a valid ${driver} parent link`);
  }
  return { parent, interfacePrefix: options[OPTION.interfacePrefix] ?? "" };
}

/** The first of `values` is the default. */
function oneOf(given: string | undefined, values: readonly string[], what: string): string {
  const [first = ""] = values;
  if (given === undefined || given === "") return first;
  if (values.includes(given)) return given;
  const driver = what.split(" ")[0];
  const is = what.endsWith("mode") ? `'${first}' mode is` : `'${first}' is`;
  throw new EngineError(
    "system",
    `requested ${what} '${given}' is not valid, ${is} the ${driver} driver default`,
  );
}

/** Go's strconv.ParseBool. @throws {Error} with its text */
export function goBoolean(text: string): boolean {
  if (["1", "t", "T", "true", "TRUE", "True"].includes(text)) return true;
  if (["0", "f", "F", "false", "FALSE", "False"].includes(text)) return false;
  throw new Error(`strconv.ParseBool: parsing ${JSON.stringify(text)}: invalid syntax`);
}

/** Go's strconv.Atoi. @throws {Error} with its text */
function goInteger(text: string): number {
  if (!/^[+-]?\d+$/.test(text)) {
    throw new Error(`strconv.Atoi: parsing ${JSON.stringify(text)}: invalid syntax`);
  }
  const value = Number(text);
  if (!Number.isSafeInteger(value)) {
    throw new Error(`strconv.Atoi: parsing ${JSON.stringify(text)}: value out of range`);
  }
  return value;
}
