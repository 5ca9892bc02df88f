/** `--link` on the default bridge: rows in /etc/hosts and variables in the environment (moby: daemon/links.go). */
import { conflict, EngineError, invalid } from "../base/errors.ts";
import { parseContainerPort } from "../net/network_ports.ts";
import { isUserDefined } from "../net/network_endpoint.ts";
import type { HostsRow } from "../net/dns/hosts_file.ts";
import type { Container } from "./container.ts";
import type { Attachment, Link } from "./container_network.ts";
import type { ContainerRecord } from "./container_record.ts";
import type { ContainerTable } from "./container_table.ts";
import { joinedContainer } from "./namespaces.ts";
import { linkRows } from "./network_files.ts";
import { parseLink } from "./network_state.ts";
import type { HostConfig } from "./types.ts";

interface Containers {
  readonly containers: Pick<ContainerTable, "find" | "get">;
}

/** The containers that a new one is linked to. Networks of users have their own links. @throws {EngineError} */
export function resolveLinks({ containers }: Containers, hostConfig: HostConfig): Link[] {
  const links = hostConfig["Links"];
  if (!Array.isArray(links) || isUserDefined(hostConfig.NetworkMode || "bridge")) return [];
  return links.map((text: string): Link => {
    const { name, alias } = parseLink(text);
    if (name === "" || text.split(":").length > 2) throw invalid(`bad format for links: ${text}`);
    let child = findChild(containers, name);
    for (
      let other = joinedContainer(mode(child));
      other !== undefined;
      other = joinedContainer(mode(child))
    ) {
      child = findChild(containers, other);
    }
    if (mode(child) === "host") {
      throw invalid(
        "conflicting options: host type networking can't be used with links. This would result in undefined behavior",
      );
    }
    return { containerId: child.id, alias };
  });
}

const mode = ({ record }: Container) => record.hostConfig.NetworkMode;

function findChild(containers: Containers["containers"], name: string): Container {
  try {
    return containers.find(name);
  } catch (error) {
    // 404 would make the docker command line pull the image.
    if (!(error instanceof EngineError)) throw error;
    throw invalid(`could not get container for ${name}: ${error.message}`);
  }
}

interface LinkedContainer {
  readonly alias: string;
  readonly child: ContainerRecord;
  readonly ipv4?: string;
  readonly ipv6?: string;
}

/** The linked containers that there still are, with their addresses on the default bridge. */
function linked({ containers }: Containers, { network }: ContainerRecord): LinkedContainer[] {
  return network.links.flatMap(({ containerId, alias }): LinkedContainer[] => {
    const child = containers.get(containerId)?.record;
    const addresses = child?.network.attachments["bridge"]?.endpoint?.addresses;
    if (child === undefined) return [];
    return [{
      alias,
      child,
      ...(addresses?.ipv4 ? { ipv4: addresses.ipv4.address } : {}),
      ...(addresses?.ipv6 ? { ipv6: addresses.ipv6.address } : {}),
    }];
  });
}

/** @throws {EngineError} conflict: one of the linked containers does not run */
export function checkLinks(ctx: Containers, record: ContainerRecord): void {
  for (const { child, alias } of linked(ctx, record)) {
    if (child.state.status !== "running") {
      throw conflict(`Cannot link to a non running container: /${child.name} AS /${record.name}/${alias}`);
    }
  }
}

/** For /etc/hosts. */
export function linkHosts(ctx: Containers, record: ContainerRecord): HostsRow[] {
  return linked(ctx, record).flatMap(({ alias, child, ...addresses }) =>
    linkRows(alias, { name: child.name, hostname: child.config.Hostname ?? "" }, addresses)
  );
}

/** `DB_PORT=tcp://172.17.0.2:5432`, `DB_PORT_5432_TCP_ADDR=172.17.0.2`, `DB_NAME=/web/db`, `DB_ENV_LANG=C`, … */
export function linkEnvironment(ctx: Containers, record: ContainerRecord): string[] {
  return linked(ctx, record).flatMap(({ alias, child, ipv4 = "" }) => {
    const prefix = alias.toUpperCase().replaceAll("-", "_");
    const ports = Object.keys(child.config.ExposedPorts ?? {}).map(parseContainerPort)
      .sort((a, b) => a.port - b.port || (a.protocol < b.protocol ? -1 : 1));
    const url = ({ port, protocol }: { port: number; protocol: string }) => `${protocol}://${ipv4}:${port}`;
    const [first] = ports;
    return [
      ...(first ? [`${prefix}_PORT=${url(first)}`] : []),
      ...ports.flatMap((port) => {
        const name = `${prefix}_PORT_${port.port}_${port.protocol.toUpperCase()}`;
        return [
          `${name}=${url(port)}`,
          `${name}_ADDR=${ipv4}`,
          `${name}_PORT=${port.port}`,
          `${name}_PROTO=${port.protocol}`,
        ];
      }),
      `${prefix}_NAME=/${record.name}/${alias}`,
      ...(child.config.Env ?? []).filter((entry) => /^[^=]+=/.test(entry) && !/^(?:HOME|PATH)=/.test(entry))
        .map((entry) => `${prefix}_ENV_${entry}`),
    ];
  });
}

/** A container has another name: links of other containers in networks of users, which are written down by names, follow it. */
export async function renameInLinks(
  ctx: { readonly containers: Pick<ContainerTable, "all" | "save"> },
  { from, to }: { readonly from: string; readonly to: string },
): Promise<void> {
  const renamed = (link: string): string => {
    const { name, alias } = parseLink(link);
    return name === from ? `${to}:${alias}` : link;
  };
  for (const container of ctx.containers.all()) {
    const named = ({ settings }: Attachment) =>
      settings.Links?.some((link) => renamed(link) !== link) ?? false;
    if (!Object.values(container.record.network.attachments).some(named)) continue;
    await container.mutex.run(() => {
      if (container.removed) return;
      const { network } = container.record;
      const attachments = Object.fromEntries(
        Object.entries(network.attachments).map(([key, attachment]): [string, Attachment] => {
          if (!named(attachment)) return [key, attachment];
          const { settings } = attachment;
          return [key, {
            ...attachment,
            settings: { ...settings, Links: settings.Links?.map(renamed) ?? [] },
          }];
        }),
      );
      ctx.containers.save(container, { network: { ...network, attachments } });
    });
  }
}

/** As inspect shows them: `/db:/web/alias`. */
export function linksView(ctx: Containers, record: ContainerRecord): string[] | null {
  const views = linked(ctx, record).map(({ child, alias }) => `/${child.name}:/${record.name}/${alias}`);
  return views.length > 0 ? views : null;
}

/**
 * `rm --link /web/db`: takes the link away, not the container.
 *
 * @throws {EngineError} when there is none of that name
 */
export async function removeLink(
  ctx: { readonly containers: Pick<ContainerTable, "find" | "save"> },
  name: string,
): Promise<void> {
  const [parent = "", alias = ""] = name.replace(/^\//, "").split("/");
  if (parent === "" || alias === "") {
    throw conflict("Conflict, cannot remove the default link name of the container");
  }
  const container = ctx.containers.find(parent);
  await container.mutex.run(() => {
    const { network } = container.record;
    const links = network.links.filter((link) => link.alias !== alias);
    if (links.length === network.links.length) throw invalid(`Could not get entity for ${name}`);
    ctx.containers.save(container, { network: { ...network, links } });
  });
}
