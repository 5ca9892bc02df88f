/** Containers as clients of older API versions expect to see them (moby: api/server/router/container/inspect.go). */
import { isUserDefined } from "../net/network_endpoint.ts";
import { compareVersions } from "./version.ts";

type View = Record<string, unknown>;

const isView = (value: unknown): value is View =>
  typeof value === "object" && value !== null && !Array.isArray(value);

/** An entry of `GET /containers/json`: annotations came with 1.46. */
export function listedFor(version: string, view: View): View {
  const { HostConfig: host } = view;
  if (compareVersions(version, "1.46") >= 0 || !isView(host)) return view;
  const { Annotations: _, ...rest } = host;
  return { ...view, HostConfig: rest };
}

/** Until 1.44 the short id and the host name were among the aliases, which are `DNSNames` today. */
export function inspectFor(version: string, view: View): View {
  const { NetworkSettings: settings, Config: config, Id: id } = view;
  if (compareVersions(version, "1.45") >= 0 || !isView(settings) || !isView(settings["Networks"])) {
    return view;
  }
  const own = [String(id).slice(0, 12), isView(config) ? String(config["Hostname"] ?? "") : ""];
  const networks = Object.entries(settings["Networks"]).map(([name, endpoint]) => {
    if (!isUserDefined(name) || !isView(endpoint)) return [name, endpoint];
    const aliases = Array.isArray(endpoint["Aliases"]) ? endpoint["Aliases"] : [];
    const all = [...new Set([...aliases, ...own])].filter((alias) => alias !== "");
    return [name, { ...endpoint, Aliases: all }];
  });
  return { ...view, NetworkSettings: { ...settings, Networks: Object.fromEntries(networks) } };
}
