import { describe, expect, it } from "vitest";
import { matchFilters, selectContainers } from "../../engine/container_filters.ts";
import type { ContainerState } from "../../engine/container_record.ts";
import { humanDuration, parseDuration, parseFilterTime } from "../../engine/human_time.ts";
import {
  imageHistoryView,
  imageInspectView,
  imageListView,
  matchesReference,
  selectImages,
} from "../../engine/image_views.ts";
import { inspectView, listView, statusText } from "../../engine/views.ts";
import { containerRecord, filters, ID, image } from "../support/records.ts";

const NOW = Date.UTC(2026, 5, 1, 12);
const ago = (seconds: number) => new Date(NOW - seconds * 1000).toISOString();

const RUNNING: Partial<ContainerState> = {
  status: "running",
  pid: 42,
  startedAt: ago(180),
  hasBeenStarted: true,
};

describe("humanDuration()", () => {
  it.each([
    [0, "Less than a second"],
    [999, "Less than a second"],
    [1000, "1 second"],
    [59_999, "59 seconds"],
    [60_000, "About a minute"],
    [119_999, "About a minute"],
    [120_000, "2 minutes"],
    [59 * 60_000, "59 minutes"],
    [3_600_000, "About an hour"],
    [1.6 * 3_600_000, "2 hours"],
    [47 * 3_600_000, "47 hours"],
    [48 * 3_600_000, "2 days"],
    [13 * 86_400_000, "13 days"],
    [14 * 86_400_000, "2 weeks"],
    [60 * 86_400_000, "2 months"],
    [800 * 86_400_000, "2 years"],
  ])("calls %d ms %s", (ms, text) => {
    expect(humanDuration(ms)).toBe(text);
  });
});

describe("parseFilterTime()", () => {
  it("takes seconds, durations and dates", () => {
    expect(parseFilterTime("1700000000.25", NOW)).toBe(1_700_000_000_250);
    expect(parseFilterTime("1h30m", NOW)).toBe(NOW - 5_400_000);
    expect(parseFilterTime("2026-01-01T00:00:00Z", NOW)).toBe(Date.UTC(2026, 0, 1));
    expect(parseDuration("1.5s")).toBe(1500);
    expect(parseDuration("5")).toBeUndefined();
    expect(() => parseFilterTime("soon", NOW)).toThrow("failed to parse value as time or duration");
  });
});

describe("statusText()", () => {
  const text = (state: Partial<ContainerState>) => statusText(containerRecord({ state }).state, NOW);
  it.each<[Partial<ContainerState>, string]>([
    [{}, "Created"],
    [{ exitCode: 127, error: "no such file" }, "Created"],
    [RUNNING, "Up 3 minutes"],
    [{ ...RUNNING, startedAt: ago(-5) }, "Up Less than a second"],
    [{ ...RUNNING, status: "exited", exitCode: 137, finishedAt: ago(7200) }, "Exited (137) 2 hours ago"],
    [{ ...RUNNING, status: "restarting", exitCode: 1, finishedAt: ago(5) }, "Restarting (1) 5 seconds ago"],
    [{ ...RUNNING, status: "dead" }, "Dead"],
    [{ ...RUNNING, status: "removing" }, "Removal In Progress"],
    [{ status: "starting" }, "Created"],
    [{ ...RUNNING, status: "starting", exitCode: 0, finishedAt: ago(60) }, "Exited (0) About a minute ago"],
  ])("of %j is %s", (state, expected) => {
    expect(text(state)).toBe(expected);
  });
});

describe("inspectView()", () => {
  it("has the fields of Docker's ContainerJSON", () => {
    const view = inspectView(containerRecord({ state: RUNNING, config: { Cmd: ["sh", "-c", "x y"] } }), {
      execIds: ["e1"],
      graphData: { UpperDir: "/u" },
      sizeRw: 5,
    });
    expect(view).toMatchObject({
      Id: ID,
      Name: "/merry_ship",
      Path: "sh",
      Args: ["-c", "x y"],
      Driver: "overlay",
      GraphDriver: { Name: "overlay", Data: { UpperDir: "/u" } },
      ExecIDs: ["e1"],
      SizeRw: 5,
      Image: `sha256:${"1".repeat(64)}`,
      State: {
        Status: "running",
        Running: true,
        Paused: false,
        Restarting: false,
        OOMKilled: false,
        Dead: false,
        Pid: 42,
        ExitCode: 0,
        Error: "",
        FinishedAt: "0001-01-01T00:00:00Z",
      },
      NetworkSettings: { Ports: {}, IPAddress: "", Networks: { bridge: { NetworkID: "", IPAddress: "" } } },
      Mounts: [],
    });
    expect(view).not.toHaveProperty("SizeRootFs");
    expect(view["State"]).not.toHaveProperty("Health");
    expect(JSON.parse(JSON.stringify(view))).toEqual(view);
  });

  it("names the mounts and the network", () => {
    const record = containerRecord({
      hostConfig: {
        Binds: ["/src:/dst:ro,z"],
        Mounts: [{ Type: "tmpfs", Target: "/t" }],
        Tmpfs: { "/hidden": "" },
        NetworkMode: "none",
      },
    });
    expect(inspectView(record)["Mounts"]).toEqual([
      { Type: "bind", Source: "/src", Destination: "/dst", Mode: "ro,z", RW: false, Propagation: "rprivate" },
      { Type: "tmpfs", Source: "", Destination: "/t", Mode: "", RW: true, Propagation: "" },
    ]);
    expect(inspectView(record)).toMatchObject({ NetworkSettings: { Networks: { none: {} } } });
    const joined = containerRecord({ hostConfig: { NetworkMode: "container:x" } });
    expect(inspectView(joined)).toMatchObject({ NetworkSettings: { Networks: {} } });
  });
});

describe("listView()", () => {
  it("has the fields of Docker's list", () => {
    const record = containerRecord({
      state: RUNNING,
      config: { Cmd: ["echo", "a b", "c"], Labels: { a: "b" }, ExposedPorts: { "80/tcp": {} } },
    });
    expect(listView(record, { now: NOW })).toEqual({
      Id: ID,
      Names: ["/merry_ship"],
      Image: "busybox:latest",
      ImageID: `sha256:${"1".repeat(64)}`,
      Command: "echo 'a b' c",
      Created: Math.floor(Date.UTC(2026, 0, 2, 3, 4, 5) / 1000),
      Ports: [],
      Labels: { a: "b" },
      State: "running",
      Status: "Up 3 minutes",
      HostConfig: { NetworkMode: "bridge" },
      NetworkSettings: { Networks: { bridge: expect.objectContaining({ NetworkID: "" }) } },
      Mounts: [],
    });
  });
});

describe("matchFilters()", () => {
  const id = (digit: string) => digit.repeat(64);
  const one = containerRecord({
    id: id("1"),
    name: "web_1",
    createdAt: ago(300),
    state: RUNNING,
    config: { Labels: { app: "web", tier: "" }, ExposedPorts: { "80/tcp": {}, "9000-9010/udp": {} } },
    hostConfig: { Binds: ["/src:/dst"] },
  });
  const two = containerRecord({
    id: id("2"),
    name: "db",
    createdAt: ago(200),
    state: { ...RUNNING, status: "exited", exitCode: 3, finishedAt: ago(1) },
    hostConfig: { NetworkMode: "host" },
    imageId: "sha256:other",
  });
  const three = containerRecord({ id: id("3"), name: "web_2", createdAt: ago(100) });
  const all = [one, two, three];
  const names = (entries: Record<string, string[]>) =>
    all.filter((record) => matchFilters(record, filters(entries), all, (ref) => [ref])).map(({ name }) =>
      name
    );

  it.each<[Record<string, string[]>, string[]]>([
    [{}, ["web_1", "db", "web_2"]],
    [{ id: ["^1"] }, ["web_1"]],
    [{ id: ["1", "2"] }, ["web_1", "db"]],
    [{ name: ["web"] }, ["web_1", "web_2"]],
    [{ name: ["^/db$"] }, ["db"]],
    [{ name: ["^b"] }, []],
    [{ name: ["web_["] }, []],
    [{ label: ["app"] }, ["web_1"]],
    [{ label: ["app=web", "tier="] }, ["web_1"]],
    [{ label: ["app=db"] }, []],
    [{ status: ["exited", "created"] }, ["db", "web_2"]],
    [{ exited: ["3"] }, ["db"]],
    [{ exited: ["0"] }, []],
    [{ before: ["db"] }, ["web_1"]],
    [{ since: ["db"] }, ["web_2"]],
    [{ since: ["1111"] }, ["db", "web_2"]],
    [{ ancestor: ["sha256:other"] }, ["db"]],
    [{ volume: ["/dst"] }, ["web_1"]],
    [{ volume: ["/src"] }, ["web_1"]],
    [{ network: ["host"] }, ["db"]],
    [{ network: ["bridge"] }, ["web_1", "web_2"]],
    [{ health: ["none"] }, ["web_1", "db", "web_2"]],
    [{ health: ["healthy"] }, []],
    [{ "is-task": ["true"] }, []],
    [{ expose: ["80"] }, ["web_1"]],
    [{ expose: ["9000-9020/udp"] }, ["web_1"]],
    [{ publish: ["80"] }, []],
    [{ publish: ["80"], expose: ["80"] }, ["web_1"]],
    [{ name: ["web"], status: ["running"] }, ["web_1"]],
  ])("by %j finds %j", (entries, expected) => {
    expect(names(entries)).toEqual(expected);
  });

  it("refuses what it does not know", () => {
    expect(() => names({ colour: ["red"] })).toThrow("invalid filter 'colour'");
    expect(() => names({ status: ["up"] })).toThrow(
      "invalid filter 'status=up': invalid value for state (up): must be one of created, running",
    );
    expect(() => names({ exited: ["x"] })).toThrow("invalid syntax");
    expect(() => names({ before: ["ghost"] })).toThrow("No such container: ghost");
    expect(() => names({ "is-task": ["x"] })).toThrow("invalid filter 'is-task=[x]'");
  });

  it("finds the containers of a network by the beginning of its id", () => {
    const networkId = "abc".padEnd(64, "0");
    const place = { networkId, settings: {}, endpoint: null };
    const member = { ...one, network: { ...one.network, attachments: { front: place } } };
    const found = (network: string) => matchFilters(member, filters({ network: [network] }), [member]);
    expect(["abc0000", networkId, "front", "fro", "bc"].map(found)).toEqual([true, true, true, false, false]);
  });

  it("finds nothing for an ancestor that does not exist", () => {
    const lost = () => {
      throw new Error("No such image");
    };
    expect(matchFilters(one, filters({ ancestor: ["x"] }), all, lost)).toBe(false);
  });

  it("selectContainers() shows running ones newest first, and the others when asked", () => {
    const list = (options: { all?: boolean; limit?: number; filters?: Record<string, string[]> }) =>
      selectContainers(all, {
        all: options.all ?? false,
        limit: options.limit,
        filters: filters(options.filters ?? {}),
      }).map(({ name }) => name);
    expect(list({})).toEqual(["web_1"]);
    expect(list({ all: true })).toEqual(["web_2", "db", "web_1"]);
    expect(list({ limit: 2 })).toEqual(["web_2", "db"]);
    expect(list({ filters: { status: ["exited"] } })).toEqual(["db"]);
    expect(list({ filters: { name: ["web"] } })).toEqual(["web_1"]);
    expect(list({ filters: { before: ["web_2"] } })).toEqual(["web_1"]);
    expect(list({ all: true, filters: { before: ["web_2"] } })).toEqual(["db", "web_1"]);
  });
});

describe("image views", () => {
  const own = image({
    repoTags: ["busybox:latest", "reg.io:5000/team/box:1"],
    config: {
      architecture: "amd64",
      os: "linux",
      author: "me",
      config: { Cmd: ["sh"], Labels: { a: "b" } },
      rootfs: { type: "layers", diff_ids: ["sha256:aa", "sha256:bb"] },
      history: [
        { created: "2026-01-01T00:00:00Z", created_by: "ADD x" },
        { created: "2026-01-02T00:00:00Z", created_by: "CMD sh", empty_layer: true },
        { created: "2026-01-03T00:00:00Z", created_by: "RUN y", comment: "c" },
      ],
    },
  });

  it("inspect has Docker's fields", () => {
    expect(imageInspectView(own, { name: "overlay" })).toMatchObject({
      Id: own.id,
      RepoTags: own.repoTags,
      Author: "me",
      Architecture: "amd64",
      Os: "linux",
      Size: 1000,
      Config: { Cmd: ["sh"], Env: null, Labels: { a: "b" } },
      GraphDriver: { Name: "overlay", Data: null },
      RootFS: { Type: "layers", Layers: ["sha256:aa", "sha256:bb"] },
      Metadata: { LastTagTime: "0001-01-01T00:00:00Z" },
    });
  });

  it("list has Docker's fields", () => {
    expect(imageListView(own)).toMatchObject({
      Id: own.id,
      Created: Date.UTC(2026, 0, 1) / 1000,
      Labels: { a: "b" },
      SharedSize: -1,
      Containers: -1,
    });
  });

  it("history goes from the top down and gives sizes to real layers only", () => {
    expect(imageHistoryView(own, [10, 20])).toEqual([
      {
        Id: own.id,
        Created: Date.UTC(2026, 0, 3) / 1000,
        CreatedBy: "RUN y",
        Tags: own.repoTags,
        Size: 20,
        Comment: "c",
      },
      {
        Id: "<missing>",
        Created: Date.UTC(2026, 0, 2) / 1000,
        CreatedBy: "CMD sh",
        Tags: null,
        Size: 0,
        Comment: "",
      },
      {
        Id: "<missing>",
        Created: Date.UTC(2026, 0, 1) / 1000,
        CreatedBy: "ADD x",
        Tags: null,
        Size: 10,
        Comment: "",
      },
    ]);
    expect(imageHistoryView(image())).toMatchObject([{ Size: 1000, Tags: ["busybox:latest"] }]);
  });

  it.each([
    ["busybox", "busybox:latest", true],
    ["busybox:latest", "busybox:latest", true],
    ["busybox:1*", "busybox:latest", false],
    ["busy*", "busybox:latest", true],
    ["*", "team/box:1", false],
    ["*/*", "team/box:1", true],
    ["docker.io/library/busybox", "busybox:latest", true],
    ["reg.io:5000/team/*", "reg.io:5000/team/box:1", true],
    ["b[tu]sybox", "busybox:latest", true],
    ["b.sybox", "busybox:latest", false],
  ])("matchesReference() of %s and %s is %s", (pattern, reference, expected) => {
    expect(matchesReference(pattern, reference)).toBe(expected);
  });

  it("selectImages() filters", () => {
    const bare = image({ id: "sha256:bare", repoTags: [], createdAt: "2026-02-01T00:00:00Z" });
    const images = [own, bare];
    const select = (entries: Record<string, string[]>) =>
      selectImages(images, filters(entries), (ref) => {
        const found = images.find(({ id }) => id === ref);
        if (!found) throw new Error(`No such image: ${ref}`);
        return found;
      }, NOW);
    const ids = (entries: Record<string, string[]>) => select(entries).map(({ id }) => id);
    expect(ids({})).toEqual([bare.id, own.id]);
    expect(ids({ dangling: ["true"] })).toEqual([bare.id]);
    expect(ids({ dangling: ["false"] })).toEqual([own.id]);
    expect(ids({ label: ["a=b"] })).toEqual([own.id]);
    expect(ids({ "label!": ["a"] })).toEqual([bare.id]);
    expect(ids({ before: [bare.id] })).toEqual([own.id]);
    expect(ids({ since: [own.id] })).toEqual([bare.id]);
    expect(ids({ until: ["2026-01-15T00:00:00Z"] })).toEqual([own.id]);
    expect(select({ reference: ["busybox"] })).toMatchObject([{ id: own.id, repoTags: ["busybox:latest"] }]);
    expect(() => ids({ colour: ["x"] })).toThrow("invalid filter 'colour'");
    expect(() => ids({ before: ["ghost"] })).toThrow("No such image");
  });
});
