import { defineCommand } from "../command.ts";
import { filter, filterQuery } from "../flags/filter.ts";
import { bool, text } from "../flags/spec.ts";
import { goTimeOf } from "../output/durations.ts";
import { LIST_FORMAT_HELP } from "../output/help_texts.ts";
import { formatList, type Row } from "../output/list_format.ts";
import { shortId } from "../output/names.ts";
import { compareNaturally } from "../output/natural_order.ts";
import { print } from "../stdio.ts";

interface NetworkSummary {
  readonly Id: string;
  readonly Name: string;
  readonly Driver: string;
  readonly Scope: string;
  readonly Created: string;
  readonly EnableIPv4?: boolean;
  readonly EnableIPv6?: boolean;
  readonly Internal?: boolean;
  readonly Labels?: Readonly<Record<string, string>> | null;
}

const HEADERS = {
  ID: "NETWORK ID",
  Name: "NAME",
  Driver: "DRIVER",
  Scope: "SCOPE",
  IPv4: "IPV4",
  IPv6: "IPV6",
  Internal: "INTERNAL",
  Labels: "LABELS",
  CreatedAt: "CREATED AT",
};

/** What `--format raw` stands for. */
const RAW = "network_id: {{.ID}}\nname: {{.Name}}\ndriver: {{.Driver}}\nscope: {{.Scope}}\n";

export const command = defineCommand({
  flags: {
    "filter": filter(`Provide filter values (e.g. "driver=bridge")`, { short: "f" }),
    "format": text(LIST_FORMAT_HELP),
    "no-trunc": bool("Do not truncate the output"),
    "quiet": bool("Only display network IDs", { short: "q" }),
  },
  usage: "",
  formatKey: "networksFormat",
  count: { min: 0, max: 0 },
  async run({ flags, client }) {
    const networks = await client.json<NetworkSummary[] | null>("GET", "/networks", {
      query: { filters: filterQuery(flags.filter) },
    });
    const raw = flags.quiet ? "network_id: {{.ID}}" : RAW;
    print(
      await formatList({
        items: (networks ?? []).sort((a, b) => compareNaturally(a.Name, b.Name)),
        row: (network) => row(network, !flags["no-trunc"]),
        methods: ({ Labels }) => ({ Label: (name: string) => Labels?.[name] ?? "" }),
        type: "*network.networkContext",
        headers: HEADERS,
        columns: ["ID", "Name", "Driver", "Scope"],
        format: flags.format === "raw" ? raw : flags.format,
        quiet: flags.quiet ? "ID" : undefined,
      }),
    );
  },
});

function row(network: NetworkSummary, short: boolean): Row {
  return {
    CreatedAt: () => goTimeOf(network.Created),
    Driver: () => network.Driver,
    ID: () => short ? shortId(network.Id) : network.Id,
    // engines before version 1.47 of the API have no networks without IPv4
    IPv4: () => String(network.EnableIPv4 ?? true),
    IPv6: () => String(network.EnableIPv6 ?? false),
    Internal: () => String(network.Internal ?? false),
    Labels: () =>
      Object.entries(network.Labels ?? {}).map(([key, value]) => `${key}=${value}`).sort().join(","),
    Name: () => network.Name,
    Scope: () => network.Scope,
  };
}
