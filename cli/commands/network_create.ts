import { defineCommand } from "../command.ts";
import { label } from "../flags/checks.ts";
import { pairs } from "../flags/pairs.ts";
import { bool, list, map, strings, text } from "../flags/spec.ts";
import { ipamConfigs } from "../network/ipam_configs.ts";
import { printError, printLine } from "../stdio.ts";

export const command = defineCommand({
  flags: {
    "attachable": bool("Enable manual container attachment"),
    "aux-address": map("Auxiliary IPv4 or IPv6 addresses used by Network driver"),
    "config-from": text("The network from which to copy the configuration"),
    "config-only": bool("Create a configuration only network"),
    "driver": text("Driver to manage the Network", {
      short: "d",
      default: "bridge",
      completes: ["bridge", "ipvlan", "macvlan"],
    }),
    "gateway": strings("IPv4 or IPv6 Gateway for the master subnet"),
    "ingress": bool("Create swarm routing-mesh network"),
    "internal": bool("Restrict external access to the network"),
    "ip-range": strings("Allocate container ip from a sub-range"),
    "ipam-driver": text("IP Address Management Driver", { default: "default" }),
    "ipam-opt": map("Set IPAM driver specific options"),
    "ipv4": bool("Enable or disable IPv4 address assignment", { default: true }),
    "ipv6": bool("Enable or disable IPv6 address assignment"),
    "label": list("Set metadata on a network", { check: label }),
    "opt": map("Set driver specific options", { short: "o" }),
    "scope": text("Control the network's scope"),
    "subnet": strings("Subnet in CIDR format that represents a network segment"),
  },
  usage: "NETWORK",
  count: { min: 1, max: 1 },
  async run({ flags, changed, args: [name = ""], client }) {
    const Config = ipamConfigs({
      subnets: flags.subnet,
      ranges: flags["ip-range"],
      gateways: flags.gateway,
      auxiliary: flags["aux-address"],
    });
    const answer = await client.json<{ Id: string; Warning?: string; Warnings?: string[] | null }>(
      "POST",
      "/networks/create",
      {
        json: {
          Name: name,
          Driver: flags.driver,
          Scope: flags.scope,
          // not said: the engine's default, or the network's of --config-from
          ...(changed.has("ipv4") ? { EnableIPv4: flags.ipv4 } : {}),
          ...(changed.has("ipv6") ? { EnableIPv6: flags.ipv6 } : {}),
          IPAM: { Driver: flags["ipam-driver"], Options: flags["ipam-opt"], Config },
          Internal: flags.internal,
          Attachable: flags.attachable,
          Ingress: flags.ingress,
          ConfigOnly: flags["config-only"],
          ConfigFrom: flags["config-from"] === "" ? null : { Network: flags["config-from"] },
          Options: flags.opt,
          Labels: pairs(flags.label),
        },
      },
    );
    for (const warning of [answer.Warning ?? "", ...answer.Warnings ?? []]) {
      if (warning !== "") printError(`WARNING: ${warning}`);
    }
    printLine(answer.Id);
  },
});
