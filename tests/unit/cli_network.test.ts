/** `network`, `port` and the flags of networks: what they print, and that docker's command line does the same. */
import { describe, expect, test } from "vitest";
import { ipamConfigs } from "../../cli/network/ipam_configs.ts";
import { goTimeOf } from "../../cli/output/durations.ts";
import { compareNaturally } from "../../cli/output/natural_order.ts";
import { displayPorts } from "../../cli/output/ports.ts";
import { runBerth } from "../support/berth_cli.ts";
import { compare, DOCKER_28 } from "../support/cli_comparison.ts";
import { describeWith } from "../support/needs.ts";
import { type Handler, scriptedEngine } from "../support/scripted_engine.ts";

const network = (Name: string, letter: string, more: object = {}) => ({
  Name,
  Id: letter.repeat(64),
  Created: "2025-06-01T10:11:12.123456789Z",
  Scope: "local",
  Driver: "bridge",
  EnableIPv4: true,
  EnableIPv6: false,
  IPAM: { Driver: "default", Options: null, Config: [{ Subnet: "172.17.0.0/16", Gateway: "172.17.0.1" }] },
  Internal: false,
  Attachable: false,
  Ingress: false,
  ConfigFrom: { Network: "" },
  ConfigOnly: false,
  Containers: {},
  Options: {},
  Labels: {},
  ...more,
});

const NETWORKS = [
  network("x10", "b", { Labels: { a: "1" }, EnableIPv6: true, Created: "2025-06-01T10:11:12.5+02:00" }),
  network("bridge", "a"),
  network("x2", "c", { Driver: "macvlan", Internal: true, Labels: null }),
];

const CONTAINER = {
  Id: "d".repeat(64),
  NetworkSettings: {
    Ports: {
      "10/tcp": [{ HostIp: "0.0.0.0", HostPort: "91" }],
      "443/tcp": null,
      "53/udp": [{ HostIp: "127.0.0.1", HostPort: "49153" }],
      "80/tcp": [{ HostIp: "0.0.0.0", HostPort: "8080" }, { HostIp: "::", HostPort: "8080" }],
      "9/tcp": [{ HostIp: "0.0.0.0", HostPort: "90" }],
    },
  },
};

const PATHS = {
  protocol: 1,
  version: "0",
  pid: 1,
  hostPid: 2,
  outbound: "tproxy",
  paths: [
    {
      name: "ping",
      works: false,
      detail: "net.ipv4.ping_group_range is 1 0",
      hint: "Type:\nsudo sysctl …",
    },
    { name: "tun", works: true, detail: "/dev/net/tun" },
  ],
};

/** An engine with these networks and one container. */
const engine: Handler = async (request, connection) => {
  const path = request.target.replace(/^\/v1\.\d+/, "").replace(/\?.*/, "");
  const answer = (status: number, body?: unknown) =>
    connection.answer(status, body, { "Content-Type": "application/json", "Api-Version": "1.51" });
  const name = /^\/networks\/([^/]+)/.exec(path)?.[1];
  const found = NETWORKS.find((one) => one.Name === name || one.Id.startsWith(name ?? "-"));
  switch (`${request.method} ${path.replace(/^\/networks\/(?!create|prune)[^/]+/, "/networks/:name")}`) {
    case "GET /_ping":
      return await answer(200, "OK");
    case "GET /networks":
      return await answer(200, NETWORKS);
    case "POST /networks/create":
      return await answer(201, { Id: "e".repeat(64), Warning: "" });
    case "POST /networks/prune":
      return await answer(200, { NetworksDeleted: ["x10", "x2"] });
    case "GET /networks/:name":
    case "DELETE /networks/:name":
      if (found === undefined) return await answer(404, { message: `network ${name} not found` });
      return await (request.method === "GET" ? answer(200, found) : answer(204));
    case "POST /networks/:name/connect":
    case "POST /networks/:name/disconnect":
      return await (found ? answer(200) : answer(404, { message: `network ${name} not found` }));
    case "GET /containers/c1/json":
      return await answer(200, CONTAINER);
    case "GET /berth/network":
      return await answer(200, PATHS);
    default:
      return await answer(404, { message: `page not found` });
  }
};

const berth = async (...argv: string[]) => {
  await using scripted = scriptedEngine(engine);
  return { ...await runBerth(["-H", scripted.host, ...argv]), log: scripted.log };
};

describe("berth network ls", () => {
  test("lists in natural order, shortened or whole", async () => {
    expect((await berth("network", "ls")).stdout).toBe(
      "NETWORK ID     NAME      DRIVER    SCOPE\n" +
        "aaaaaaaaaaaa   bridge    bridge    local\n" +
        "cccccccccccc   x2        macvlan   local\n" +
        "bbbbbbbbbbbb   x10       bridge    local\n",
    );
    expect((await berth("network", "list", "-q", "--no-trunc")).stdout).toBe(
      ["a", "c", "b"].map((letter) => `${letter.repeat(64)}\n`).join(""),
    );
  });

  test("has all fields in templates", async () => {
    const format = '{{.Name}} {{.Internal}} {{.IPv4}} {{.IPv6}} {{.Labels}} {{.Label "a"}} {{.CreatedAt}}';
    expect((await berth("network", "ls", "--format", format)).stdout).toBe(
      "bridge false true false   2025-06-01 10:11:12.123456789 +0000 UTC\n" +
        "x2 true true false   2025-06-01 10:11:12.123456789 +0000 UTC\n" +
        "x10 false true true a=1 1 2025-06-01 10:11:12.5 +0200 +0200\n",
    );
  });
});

describe("berth network rm", () => {
  test("goes on after a network that is not there, and fails unless forced", async () => {
    expect(await berth("network", "rm", "nope", "x2")).toMatchObject({
      code: 1,
      stdout: "x2\n",
      stderr: "Error response from daemon: network nope not found\n",
    });
    expect(await berth("network", "rm", "-f", "nope", "x2")).toMatchObject({
      code: 0,
      stdout: "x2\n",
      stderr: "",
    });
  });
});

describe("berth network doctor", () => {
  test("shows what works, and how to switch on the rest", async () => {
    expect((await berth("network", "doctor")).stdout).toBe(
      "Connections to the outside: tproxy\n\n" +
        "PATH      WORKS     DETAIL\n" +
        "tun       yes       /dev/net/tun\n" +
        "ping      no        net.ipv4.ping_group_range is 1 0\n" +
        "\nping:\n  Type:\n  sudo sysctl …\n",
    );
    const { stdout, log } = await berth("network", "doctor", "--format", "{{.Name}}={{.Works}}");
    expect(stdout).toBe("tun=yes\nping=no\n");
    // as it is now: the user may have typed what the last answer said
    expect(log.some((line) => line.endsWith("/berth/network?fresh=true"))).toBe(true);
  });

  test("says of an engine that is not berth's that it is none", async () => {
    await using scripted = scriptedEngine((_request, connection) =>
      connection.answer(404, { message: "page not found" })
    );
    const result = await runBerth(["-H", scripted.host, "network", "doctor"]);
    expect(result).toMatchObject({ code: 1, stdout: "" });
    expect(result.stderr).toContain(`${scripted.host} is no engine of berth's\n\nThis command looks into`);
  });
});

describe("berth netns", () => {
  test("refuses an engine on another machine, and a process that is not here", async () => {
    const remote = await runBerth(["-H", "tcp://192.0.2.1:2375", "netns", "ip", "address"]);
    expect(remote).toMatchObject({ code: 1, stdout: "" });
    expect(remote.stderr).toContain("cannot enter the network of the engine at tcp://192.0.2.1:2375");
    await using scripted = scriptedEngine((_request, connection) =>
      connection.answer(200, { ...PATHS, hostPid: 2 ** 31 - 1 })
    );
    const gone = await runBerth(["-H", scripted.host, "netns", "true"]);
    expect(gone).toMatchObject({ code: 1, stdout: "" });
    expect(gone.stderr).toContain("cannot enter the network of process 2147483647");
  });
});

describe("ipamConfigs()", () => {
  const configs = (subnets: string[], ranges: string[], gateways: string[], auxiliary = {}) =>
    ipamConfigs({ subnets, ranges, gateways, auxiliary });

  test("puts everything to the subnet it lies in", () => {
    expect(
      configs(["10.0.0.0/24", "2001:db8::/64"], ["10.0.0.128/25"], ["2001:db8::1", "10.0.0.1"], {
        a: "10.0.0.5",
      }),
    ).toEqual([
      {
        Subnet: "10.0.0.0/24",
        IPRange: "10.0.0.128/25",
        Gateway: "10.0.0.1",
        AuxiliaryAddresses: { a: "10.0.0.5" },
      },
      { Subnet: "2001:db8::/64", Gateway: "2001:db8::1" },
    ]);
  });

  test.each([
    [[], ["10.0.0.0/25"], [], "every ip-range or gateway must have a corresponding subnet"],
    [["10.0.0.0/8", "10.1.0.0/16"], [], [], "multiple overlapping subnet configuration is not supported"],
    [["10.0.0.0/24"], ["10.1.0.0/25"], [], "no matching subnet for range 10.1.0.0/25"],
    [["10.0.0.0/24"], [], ["x"], "no matching subnet for gateway x"],
    [["10.0.0.0/24"], ["x"], [], "invalid CIDR address: x"],
    [
      ["10.0.0.0/24", "10.1.0.0/24"],
      [],
      ["10.0.0.1", "10.0.0.2"],
      "cannot configure multiple gateways (10.0.0.2, 10.0.0.1) for the same subnet (10.0.0.0/24)",
    ],
  ])("refuses %j %j %j", (subnets, ranges, gateways, message) => {
    expect(() => configs(subnets, ranges, gateways)).toThrow(message);
  });
});

test("compareNaturally() knows numbers within words", () => {
  const sorted = ["x10", "x2", "x02", "x", "1", "10/tcp", "9/tcp", "a1b", "a1", "é"];
  expect([...sorted].sort(compareNaturally)).toEqual(
    ["1", "9/tcp", "10/tcp", "a1", "a1b", "x", "x2", "x02", "x10", "é"],
  );
});

test("goTimeOf() keeps a time's own zone and drops zeros of the fraction", () => {
  expect(goTimeOf("2025-06-01T10:11:12.120000000Z")).toBe("2025-06-01 10:11:12.12 +0000 UTC");
  expect(goTimeOf("2025-06-01T10:11:12-03:30")).toMatch(/^2025-06-01 10:11:12 -0330 /);
  expect(goTimeOf("soon")).toBe("soon");
});

test("displayPorts() joins runs of equal ports and keeps the others apart", () => {
  const port = (PrivatePort: number, PublicPort?: number, IP?: string, Type = "tcp") => ({
    PrivatePort,
    Type,
    ...(PublicPort === undefined ? {} : { PublicPort }),
    ...(IP === undefined ? {} : { IP }),
  });
  expect(displayPorts([
    port(8000, 8000, "0.0.0.0"),
    port(8001, 8001, "0.0.0.0"),
    port(8000, 8000, "::"),
    port(8001, 8001, "::"),
    port(80, 8080, "127.0.0.1"),
    port(53, undefined, undefined, "udp"),
    port(54, undefined, undefined, "udp"),
  ])).toBe(
    "53-54/udp, 0.0.0.0:8000-8001->8000-8001/tcp, [::]:8000-8001->8000-8001/tcp, 127.0.0.1:8080->80/tcp",
  );
});

/** Words are split at blanks, except within single quotes. */
const words = (line: string) => [...line.matchAll(/'([^']*)'|(\S+)/g)].map((m) => m[1] ?? m[2] ?? "");

const SAME = `
network ls
network ls -q --no-trunc
network ls -f driver=bridge -f name=x --filter name=y
network ls -f bogus
network ls --format raw
network ls --format '{{.ID}} {{.Name}} {{.CreatedAt}} {{.Label "a"}} {{.Labels}}'
network ls --format 'table {{.ID}}\\t{{.IPv6}}\\t{{.Internal}}'
network ls --format json
network ls --format '{{.Bogus}}'
network ls --format '{{.Name'
network ls x
network bogus
network create
network create -d bridge x1
network create --driver macvlan -o parent=eth0 --opt a=b --opt c --internal --attachable --label a=b --label c x
network create --subnet 10.0.0.0/24 --gateway 10.0.0.1 --ip-range 10.0.0.128/25 --aux-address a=10.0.0.5 x
network create --subnet 2001:db8::/64 --gateway 2001:db8::1 --ipv6 x
network create --subnet 10.0.0.0/24 --aux-address a x
network create --subnet 10.0.0.0/24 --ip-range zz x
network create --subnet zz --gateway 10.0.0.1 x
network create --ipv4=false --ipv6 --scope local --ipam-driver d --ipam-opt a=b --config-from y x
network create --config-only --ingress x
network create --label =b x
network create x y
network inspect
network inspect bridge zz x2
network inspect -f '{{.Name}} {{.ID}} {{.IPAM}} {{.Containers}} {{.Created}}' bridge
network inspect -f '{{range .IPAM.Config}}{{.Subnet}} {{.IPRange}} {{.AuxAddress}}{{end}}{{json .IPAM}}' bridge
network inspect -f '{{.Labels.a}} {{index .Labels "a"}} {{.Options}} {{.ConfigFrom.Network}}' x10
network inspect -f '{{.Bogus}}' bridge
network inspect -f json bridge x2
network inspect -v bridge
network connect x
network connect x10 c1
network connect --alias a --alias b,c --ip 10.0.0.5 --ip6 2001:db8::5 --link c2:al --gw-priority -5 x10 c1
network connect --link-local-ip 169.254.1.1 --driver-opt a=b,c=d x10 c1
network connect --driver-opt a x10 c1
network connect --link a:b:c x10 c1
network connect nope c1
network connect x10 ''
network disconnect -f x10 c1
network disconnect nope c1
network prune -f --filter label=a
network prune
network prune x
port c1
port c1 80
port c1 53/udp
port c1 53
port c1 443
port c1 zz
port c1 99999
port nope
port
port ''
`.trim().split("\n");

describeWith(DOCKER_28)("compared with docker 28", () => {
  test.each(SAME)("berth %s", async (line) => {
    const { docker, berth } = await compare(words(line), engine);
    expect(berth).toEqual(docker);
  });

  test("berth ps shows ports of all kinds, 300 containers", async () => {
    const containers = Array.from({ length: 300 }, (_, i) => ({
      Id: i.toString(16).padStart(64, "0"),
      Names: [`/c${i}`],
      Image: "x",
      Created: 1700000000,
      Ports: randomPorts(i),
      NetworkSettings: { Networks: {} },
    }));
    const { docker, berth } = await compare(
      ["ps", "--format", "{{.Names}} {{.Ports}}"],
      (request, connection) =>
        connection.answer(200, request.target === "/_ping" ? "OK" : containers, {
          "Content-Type": "application/json",
          "Api-Version": "1.51",
        }),
    );
    expect(berth.stdout.split("\n")).toEqual(docker.stdout.split("\n"));
  });
});

/** Neighbouring ports, published and not, under the same number and another one; the same for each `seed`. */
function randomPorts(seed: number): object[] {
  let state = seed * 2654435761 % 4294967296;
  const below = (n: number) => {
    state = (state * 1664525 + 1013904223) % 4294967296;
    return Math.floor(state / 65536) % n;
  };
  const ports = Array.from({ length: below(9) }, () => {
    const PrivatePort = 80 + below(6);
    const Type = ["tcp", "udp", "sctp"][below(3)];
    if (below(4) === 0) return { PrivatePort, Type };
    const IP = ["0.0.0.0", "::", "127.0.0.1", "192.0.2.1"][below(4)];
    return { PrivatePort, PublicPort: below(2) === 0 ? PrivatePort : 90 + below(5), Type, IP };
  });
  return [...new Map(ports.map((port) => [JSON.stringify(port), port])).values()];
}
