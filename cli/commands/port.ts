import { parsePortRange } from "../../base/port_spec.ts";
import { segment } from "../api_client.ts";
import { defineCommand } from "../command.ts";
import { CliError } from "../errors.ts";
import { compareNaturally } from "../output/natural_order.ts";
import { hostAndPort } from "../output/ports.ts";
import { print } from "../stdio.ts";
import { messageOf } from "../../base/errors.ts";

interface Details {
  readonly NetworkSettings?: {
    readonly Ports?: Readonly<Record<string, readonly { HostIp: string; HostPort: string }[] | null>> | null;
  };
}

export const command = defineCommand({
  flags: {},
  usage: "CONTAINER [PRIVATE_PORT[/PROTO]]",
  count: { min: 1, max: 2 },
  completes: "container",
  async run({ args: [container = "", wanted], client }) {
    const path = `/containers/${segment(container, "container")}/json`;
    const ports = (await client.json<Details>("GET", path)).NetworkSettings?.Ports ?? {};
    const lines = wanted === undefined || wanted === ""
      ? Object.entries(ports).flatMap(([port, bindings]) =>
        (bindings ?? []).map((binding) => `${port} -> ${hostAndPort(binding.HostIp, binding.HostPort)}`)
      )
      : bindingsOf(ports, wanted, container);
    print(lines.sort(compareNaturally).map((line) => `${line}\n`).join(""));
  },
});

function bindingsOf(
  ports: Readonly<Record<string, readonly { HostIp: string; HostPort: string }[] | null>>,
  wanted: string,
  container: string,
): string[] {
  const [number = "", protocol = "tcp"] = wanted.split("/", 2);
  let first: number;
  try {
    first = parsePortRange(number).first;
  } catch (error) {
    throw new CliError(`Error: invalid port (${number}): ${messageOf(error)}`);
  }
  const bindings = ports[`${first}/${protocol}`] ?? [];
  if (bindings.length === 0) {
    throw new CliError(`Error: No public port '${wanted}' published for ${container}`);
  }
  return bindings.map(({ HostIp, HostPort }) => hostAndPort(HostIp, HostPort));
}
