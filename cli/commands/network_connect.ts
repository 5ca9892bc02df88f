import { segment } from "../api_client.ts";
import { defineCommand } from "../command.ts";
import { CliError } from "../errors.ts";
import { link } from "../flags/checks.ts";
import { list, strings, text } from "../flags/spec.ts";
import { int } from "../flags/values.ts";
import { UNDECIDED } from "../network/endpoint_fields.ts";

export const command = defineCommand({
  flags: {
    "alias": strings("Add network-scoped alias for the container"),
    "driver-opt": strings("driver options for the network"),
    "gw-priority": int(
      "Highest gw-priority provides the default gateway. Accepts positive and negative values.",
    ),
    "ip": text(`IPv4 address (e.g., "172.30.100.104")`),
    "ip6": text(`IPv6 address (e.g., "2001:db8::33")`),
    "link": list("Add link to another container", { check: link, completes: "container" }),
    "link-local-ip": strings("Add a link-local address for the container"),
  },
  usage: "NETWORK CONTAINER",
  count: { min: 2, max: 2 },
  completes: "endpoint",
  async run({ flags, args: [network = "", container = ""], client }) {
    const linkLocal = flags["link-local-ip"];
    const DriverOpts = driverOptions(flags["driver-opt"]);
    const path = `/networks/${segment(network, "network")}/connect`;
    segment(container, "container");
    await client.send("POST", path, {
      json: {
        Container: container,
        EndpointConfig: {
          IPAMConfig: {
            ...(flags.ip === "" ? {} : { IPv4Address: flags.ip }),
            ...(flags.ip6 === "" ? {} : { IPv6Address: flags.ip6 }),
            ...(linkLocal.length === 0 ? {} : { LinkLocalIPs: linkLocal }),
          },
          Links: flags.link.length === 0 ? null : flags.link,
          Aliases: flags.alias,
          MacAddress: "",
          DriverOpts,
          GwPriority: flags["gw-priority"],
          ...UNDECIDED,
        },
      },
    });
  },
});

function driverOptions(given: readonly string[]): Record<string, string> {
  return Object.fromEntries(given.map((option) => {
    const equals = option.indexOf("=");
    if (equals <= 0) throw new CliError("invalid key/value pair format in driver options");
    return [option.slice(0, equals).trim(), option.slice(equals + 1).trim()];
  }));
}
