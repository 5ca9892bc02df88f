/** A container's /etc/hosts (hosts(5)). Some of its rows are the engine's and change with the container's networks; all others are the user's. */

export interface HostsRow {
  readonly address: string;
  /** The first one is the canonical name. */
  readonly names: readonly string[];
}

const LOCAL: readonly HostsRow[] = [{ address: "127.0.0.1", names: ["localhost"] }];
const LOCAL_6: readonly HostsRow[] = [
  { address: "::1", names: ["localhost", "ip6-localhost", "ip6-loopback"] },
  { address: "fe00::", names: ["ip6-localnet"] },
  { address: "ff00::", names: ["ip6-mcastprefix"] },
  { address: "ff02::1", names: ["ip6-allnodes"] },
  { address: "ff02::2", names: ["ip6-allrouters"] },
];

const BEGIN = "# berth: the rows down to the end mark change with the container's networks";
const END = "# berth: end";

const line = ({ address, names }: HostsRow): string => `${address}\t${names.join(" ")}`;

export interface HostsInput {
  readonly ipv6: boolean;
  /** `--add-host`. */
  readonly extra: readonly HostsRow[];
  /** The engine's: the container's own addresses and names, and links of the default bridge. */
  readonly rows: readonly HostsRow[];
}

/** The file as a container starts with it. */
export function newHosts({ ipv6, extra, rows }: HostsInput): string {
  const fixed = [...LOCAL, ...(ipv6 ? LOCAL_6 : []), ...extra].map(line);
  return replaceRows(`${fixed.join("\n")}\n`, rows);
}

/**
 * The same file with these rows of the engine's. Everything outside the marks stays as it is. A mark that is missing is taken to be
 * where it does no harm to the user's rows: without both in this order nothing is removed.
 */
export function replaceRows(text: string, rows: readonly HostsRow[]): string {
  const lines = text.split("\n");
  const begin = lines.indexOf(BEGIN);
  const end = lines.indexOf(END, begin + 1);
  const section = rows.length === 0 ? [] : [BEGIN, ...rows.map(line), END];
  if (begin >= 0 && end >= 0) return lines.toSpliced(begin, end - begin + 1, ...section).join("\n");
  if (section.length === 0) return text;
  const start = text === "" || text.endsWith("\n") ? text : `${text}\n`;
  return `${start}${section.join("\n")}\n`;
}
