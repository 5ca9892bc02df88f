/** Ports as `ps` shows them: "0.0.0.0:8080->80/tcp, 8000-8002/tcp". */

import type { PortSummary } from "../api_types.ts";

interface Group {
  first: number;
  last: number;
}

/** Runs of equal published and private ports are joined; a port that is published under another number stands alone. */
export function displayPorts(ports: readonly PortSummary[]): string {
  const sorted = [...ports].sort(compare);
  const groups = new Map<string, Group>();
  const order: string[] = [];
  const done: string[] = [];
  const mappings: string[] = [];
  for (const port of sorted) {
    const { PrivatePort: number, Type: type, IP: ip } = port;
    let key = type;
    if (ip) {
      if (port.PublicPort !== number) {
        mappings.push(`${hostAndPort(ip, port.PublicPort ?? 0)}->${number}/${type}`);
        continue;
      }
      key = `${ip}/${type}`;
    }
    const group = groups.get(key);
    if (group === undefined) {
      groups.set(key, { first: number, last: number });
      order.push(key);
    } else if (number === group.last + 1) {
      group.last = number;
    } else if (number !== group.last) {
      done.push(groupText(key, group));
      groups.set(key, { first: number, last: number });
    }
  }
  for (const key of order) {
    const group = groups.get(key);
    if (group !== undefined) done.push(groupText(key, group));
  }
  return [...done, ...mappings].join(", ");
}

/** "0.0.0.0:80", "[::]:80". */
export const hostAndPort = (ip: string, port: number | string): string => `${host(ip)}:${port}`;

const host = (ip: string): string => ip.includes(":") ? `[${ip}]` : ip;

function groupText(key: string, { first, last }: Group): string {
  const slash = key.indexOf("/");
  const type = key.slice(slash + 1);
  const range = first === last ? `${first}` : `${first}-${last}`;
  return slash < 0 ? `${range}/${type}` : `${host(key.slice(0, slash))}:${range}->${range}/${type}`;
}

function compare(a: PortSummary, b: PortSummary): number {
  const byText = (x = "", y = "") => x < y ? -1 : x > y ? 1 : 0;
  return a.PrivatePort - b.PrivatePort || byText(a.IP, b.IP) || (a.PublicPort ?? 0) - (b.PublicPort ?? 0) ||
    byText(a.Type, b.Type);
}
