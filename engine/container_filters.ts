/** Filters of `GET /containers/json` (moby: daemon/list.go). */
import { invalid, notFound } from "../base/errors.ts";
import type { ContainerRecord } from "./container_record.ts";
import { ZERO_TIME } from "./container_record.ts";
import type { Filters } from "./types.ts";
import { parsePort } from "./validate_network.ts";
import { mountsView, statusOf } from "./views.ts";

const KNOWN = new Set(
  ("ancestor before exited expose health id is-task isolation label name network publish since status volume")
    .split(" "),
);
const STATES = ["created", "running", "paused", "restarting", "removing", "exited", "dead"];
const HEALTHS = ["none", "starting", "healthy", "unhealthy"];

/** Ids of the images that a filter `ancestor=x` means: the image and those made from it. Throws when there is none. */
export type AncestorIds = (reference: string) => readonly string[];

const quoted = (filters: Filters, key: string) => `[${(filters.get(key) ?? []).join(" ")}]`;

/**
 * Checks names and values of filters.
 *
 * @throws EngineError invalid.
 */
export function checkFilters(filters: Filters): void {
  for (const key of filters.keys()) {
    if (!KNOWN.has(key)) throw invalid(`invalid filter '${key}'`);
  }
  for (const value of filters.get("status") ?? []) {
    if (!STATES.includes(value)) {
      throw invalid(
        `invalid filter 'status=${value}': invalid value for state (${value}): must be one of ${
          STATES.join(", ")
        }`,
      );
    }
  }
  for (const value of filters.get("health") ?? []) {
    if (!HEALTHS.includes(value)) {
      throw invalid(
        `invalid filter 'health=${value}': invalid value for health (${value}): must be one of ${
          HEALTHS.join(", ")
        }`,
      );
    }
  }
  for (const value of filters.get("exited") ?? []) {
    if (!/^[+-]?\d+$/.test(value)) {
      throw invalid(
        `invalid filter 'exited=${value}': strconv.Atoi: parsing ${JSON.stringify(value)}: invalid syntax`,
      );
    }
  }
  for (const value of filters.get("is-task") ?? []) {
    if (!/^(1|0|true|false)$/i.test(value)) {
      throw invalid(`invalid filter 'is-task=${quoted(filters, "is-task")}'`);
    }
  }
  for (const key of ["publish", "expose"]) for (const value of filters.get(key) ?? []) parsePort(value);
}

/** A pattern of the user's, as Go's regexp.MatchString with a plain comparison for what is no pattern. */
export function matchesPattern(patterns: readonly string[], text: string): boolean {
  return patterns.some((pattern) => {
    if (pattern === text) return true;
    try {
      return new RegExp(pattern).test(text);
    } catch {
      return false;
    }
  });
}

/** All of the given labels are there: "key" or "key=value". */
export function matchesLabels(wanted: readonly string[], labels: Readonly<Record<string, string>>): boolean {
  return wanted.every((entry) => {
    const at = entry.indexOf("=");
    const key = at < 0 ? entry : entry.slice(0, at);
    return Object.hasOwn(labels, key) && (at < 0 || labels[key] === entry.slice(at + 1));
  });
}

/** The container that `before` or `since` names: by id, name or unique prefix. */
function findRecord(all: readonly ContainerRecord[], reference: string): ContainerRecord {
  const name = reference.startsWith("/") ? reference.slice(1) : reference;
  const found = all.find((r) => r.id === name || r.name === name);
  if (found) return found;
  const byPrefix = name === "" ? [] : all.filter((r) => r.id.startsWith(name));
  if (byPrefix.length === 1 && byPrefix[0]) return byPrefix[0];
  throw notFound(`No such container: ${reference}`);
}

/**
 * Whether a container passes the filters: every key, any of its values.
 *
 * @param all every container, among which `before` and `since` are looked up.
 * @throws EngineError invalid for an unknown filter or value, not-found for a container that does not exist.
 */
export function matchFilters(
  record: ContainerRecord,
  filters: Filters,
  all: readonly ContainerRecord[],
  ancestorIds: AncestorIds = (reference) => [reference],
): boolean {
  checkFilters(filters);
  const any = (key: string, test: (value: string) => boolean) => {
    const values = filters.get(key);
    return values === undefined || values.length === 0 || values.some(test);
  };
  const { state } = record;
  const created = Date.parse(record.createdAt);
  const age = (other: string) => all.indexOf(findRecord(all, other));
  const own = all.indexOf(record);
  const older = (value: string) => {
    const limit = Date.parse(findRecord(all, value).createdAt);
    return created === limit ? own < age(value) : created < limit;
  };
  const given = (key: string) => filters.get(key) ?? [];
  const names = given("name");
  if (names.length > 0 && !matchesPattern(names, record.name) && !matchesPattern(names, `/${record.name}`)) {
    return false;
  }
  const byPort = given("publish").length + given("expose").length > 0;
  return any("id", (value) => matchesPattern([value], record.id)) &&
    any("is-task", (value) => /^(0|false)$/i.test(value)) &&
    any("isolation", (value) => value === "default" || value === "") &&
    matchesLabels(given("label"), record.config.Labels ?? {}) &&
    any("before", older) &&
    any("since", (value) => !older(value) && findRecord(all, value).id !== record.id) &&
    any(
      "exited",
      (value) =>
        state.status !== "running" && state.startedAt !== ZERO_TIME && Number(value) === state.exitCode,
    ) &&
    any("status", (value) => value === statusOf(state)) &&
    any("health", (value) => value === (state.health?.Status ?? "none")) &&
    any(
      "volume",
      (value) =>
        mountsView(record).some((m) =>
          m["Name"] === value || m["Source"] === value || m["Destination"] === value
        ),
    ) &&
    any("network", (value) => isIn(record, value)) &&
    any("ancestor", (value) => {
      try {
        return ancestorIds(value).includes(record.imageId);
      } catch {
        return false; // an image that does not exist is nobody's ancestor
      }
    }) &&
    // Either of the two is enough.
    (!byPort || given("publish").some((value) => published(record).some((port) => coversPort(value, port))) ||
      given("expose").some((value) => exposed(record).some((port) => coversPort(value, port))));
}

/** Whether a container belongs to a network, which goes by its name or the beginning of its id. */
function isIn({ network }: ContainerRecord, wanted: string): boolean {
  return Object.entries(network.attachments).some(([name, { networkId }]) =>
    name === wanted || networkId.startsWith(wanted)
  );
}

const exposed = ({ config }: ContainerRecord): string[] => Object.keys(config.ExposedPorts ?? {});

/** Host's ports, as `8080/tcp`. */
function published({ network }: ContainerRecord): string[] {
  return (network.sandbox?.published ?? []).map(({ hostPort, protocol }) => `${hostPort}/${protocol}`);
}

function coversPort(filter: string, port: string): boolean {
  const wanted = parsePort(filter);
  const have = parsePort(port);
  return wanted.protocol === have.protocol && have.first >= wanted.first && have.last <= wanted.last;
}

/**
 * The containers that a list shows, newest first: running ones unless `all`, a limit or a filter on the status says
 * otherwise.
 *
 * @param records every container, oldest first.
 */
export function selectContainers(
  records: readonly ContainerRecord[],
  options: { readonly all: boolean; readonly limit: number | undefined; readonly filters: Filters },
  ancestorIds?: AncestorIds,
): ContainerRecord[] {
  const { filters } = options;
  checkFilters(filters);
  const idsOf = ancestorIds === undefined ? undefined : once(ancestorIds);
  const limit = options.limit ?? 0;
  const everything = options.all || limit > 0 || (filters.get("status") ?? []).length > 0;
  const shown = records.filter((record) => {
    const running = ["running", "paused", "restarting"].includes(statusOf(record.state));
    return (everything || running) && matchFilters(record, filters, records, idsOf);
  });
  const byAge = shown.toReversed().sort((a, b) => Date.parse(b.createdAt) - Date.parse(a.createdAt));
  return limit > 0 ? byAge.slice(0, limit) : byAge;
}

/** Asks for each image once, not once for each container. */
function once(ancestorIds: AncestorIds): AncestorIds {
  const known = new Map<string, readonly string[]>();
  return (reference) => {
    let ids = known.get(reference);
    if (ids === undefined) known.set(reference, ids = ancestorIds(reference));
    return ids;
  };
}
