/** The parts of netd's core that ask no kernel. */
import { describe, expect, it, onTestFinished } from "vitest";
import { NetdClient, NetdRefused } from "../../net/netd/client.ts";
import { Undo } from "../../net/netd/ensure.ts";
import type { EndpointState, NetdAnswer, NetdRequest } from "../../net/netd/protocol.ts";
import { addressesOf, gatewaysOf, sysctlsOf } from "../../net/netd/sandbox_interfaces.ts";
import { NetworkTopology, type Subnet } from "../../net/netd/topology.ts";

const v4 = (text: string) => Uint8Array.from(text.split("."), Number);
const endpoint = (changes: Partial<EndpointState>): EndpointState => ({
  id: "e",
  networkId: "n",
  interface: "eth0",
  mac: "02:42:ac:11:00:02",
  ipv4: "172.17.0.2/16",
  linkLocal: [],
  dnsNames: [],
  links: {},
  sysctls: {},
  ...changes,
});

describe("NetworkTopology", () => {
  const subnet = (address: string, length: number, gateway?: string): Subnet => ({
    networkId: address,
    link: "br",
    address: v4(address),
    length,
    gateway: gateway === undefined ? undefined : v4(gateway),
    internal: false,
  });

  it("finds the subnet and the gateway of addresses of both families", () => {
    const topology = new NetworkTopology();
    const six = { ...subnet("0.0.0.0", 60), networkId: "six", address: new Uint8Array(16).fill(0xfd, 0, 8) };
    topology.set([
      subnet("172.17.0.0", 16, "172.17.0.1"),
      subnet("192.168.0.128", 25),
      subnet("203.0.113.7", 32),
      six,
    ]);
    const of = (text: string) => topology.subnetOf(v4(text))?.networkId;
    expect(
      ["172.17.255.255", "172.18.0.0", "192.168.0.127", "192.168.0.128", "203.0.113.7", "203.0.113.6"].map(
        of,
      ),
    )
      .toEqual(["172.17.0.0", undefined, undefined, "192.168.0.128", "203.0.113.7", undefined]);
    const near = six.address.slice();
    near[7] = 0xf2;
    const far = six.address.slice();
    far[7] = 0xef;
    expect([near, far].map((address) => topology.subnetOf(address)?.networkId)).toEqual(["six", undefined]);
    expect(["172.17.0.1", "172.17.0.2", "192.168.0.129"].map((text) => topology.isGateway(v4(text))))
      .toEqual([true, false, false]);
  });

  it("says that it has changed", () => {
    const topology = new NetworkTopology();
    const before = topology.version;
    topology.set([]);
    expect(topology.version).not.toBe(before);
  });
});

describe("interfaces", () => {
  it("have the addresses of the endpoint, and those of the link with the prefixes of the RFCs", () => {
    const all = addressesOf(endpoint({ ipv6: "fd00::2/64", linkLocal: ["169.254.3.4", "fe80::9"] }));
    expect(
      all.map(({ address, length, broadcast }) => [[...address].slice(-2), length, broadcast?.join(".")]),
    )
      .toEqual([[[0, 2], 16, "172.17.255.255"], [[0, 2], 64, undefined], [[3, 4], 16, undefined], [
        [0, 9],
        64,
        undefined,
      ]]);
  });

  it("have no broadcast address in networks of one or two", () => {
    const broadcasts = ["10.0.0.0/31", "10.0.0.1/32", "10.0.0.1/30", "10.0.5.1/22"].map((ipv4) =>
      addressesOf(endpoint({ ipv4 }))[0]?.broadcast?.join(".")
    );
    expect(broadcasts).toEqual([undefined, undefined, "10.0.0.3", "10.0.7.255"]);
  });

  it("have IPv6 only where they have an address of it, and their sysctls under their own name, dots or not", () => {
    expect(sysctlsOf(endpoint({ sysctls: { "net.ipv4.conf.IFNAME.log_martians": "1" } }), true)).toEqual([
      ["ipv6/conf/eth0/disable_ipv6", "1"],
      ["ipv4/conf/eth0/log_martians", "1"],
    ]);
    expect(sysctlsOf(endpoint({ interface: "vlan.7", ipv6: "fd00::2/64" }), true)).toEqual([
      ["ipv6/conf/vlan.7/disable_ipv6", "0"],
      ["ipv6/conf/vlan.7/accept_dad", "0"],
    ]);
    expect(sysctlsOf(endpoint({}), false)).toEqual([]);
  });

  it("lead outside by the endpoints that have the gateways", () => {
    const endpoints = [
      endpoint({}),
      endpoint({ interface: "eth1", gateway4: "172.18.0.1" }),
      endpoint({ interface: "eth2", gateway6: "fd00::1" }),
    ];
    expect(gatewaysOf(endpoints)).toEqual({
      v4: { interface: "eth1", gateway: "172.18.0.1" },
      v6: { interface: "eth2", gateway: "fd00::1" },
    });
  });
});

describe("Undo", () => {
  it("takes steps back from the last to the first, goes on when one fails, and tells the first error", () => {
    const done: string[] = [];
    const failures: unknown[] = [];
    const run = () =>
      Undo.all((undo) => {
        undo.push(() => done.push("a"));
        undo.push(() => {
          throw new Error("b");
        });
        undo.push(() => done.push("c"));
        throw new Error("first");
      }, (failure) => failures.push(failure));
    expect(run).toThrow("first");
    expect(done).toEqual(["c", "a"]);
    expect(failures).toEqual([new Error("b")]);
    expect(Undo.all((undo) => undo.push(() => done.push("never")), () => {})).toBeUndefined();
    expect(done).toHaveLength(2);
  });
});

describe("NetdClient", () => {
  /** A netd of paper, which ends when it is told so. */
  class PaperNetd {
    readonly requests: string[] = [];
    readonly #listener: Deno.UnixListener;
    #conns: Deno.UnixConn[] = [];
    protocol = 1;
    onRequest: (request: NetdRequest) => NetdAnswer | "die" = ({ seq }) => ({ seq, ok: true });

    constructor(dir: string) {
      Deno.mkdirSync(dir, { recursive: true });
      this.#listener = Deno.listen({ transport: "unix", path: `${dir}/ctl.sock` });
      void this.#serve();
    }

    end(): void {
      try {
        this.#listener.close();
      } catch {
        // closed already
      }
      for (const conn of this.#conns.splice(0)) conn.close();
    }

    async #serve(): Promise<void> {
      for await (const conn of this.#listener) {
        this.#conns.push(conn);
        void this.#read(conn).catch(() => {});
      }
    }

    async #read(conn: Deno.UnixConn): Promise<void> {
      const buffer = new Uint8Array(65536);
      let text = "";
      for (let count; (count = await conn.read(buffer)) !== null;) {
        text += new TextDecoder().decode(buffer.subarray(0, count));
        const lines = text.split("\n");
        text = lines.pop() ?? "";
        for (const line of lines) {
          const request = JSON.parse(line) as NetdRequest;
          this.requests.push(request.op);
          const answer: NetdAnswer | "die" = request.op === "hello"
            ? {
              seq: request.seq,
              ok: true,
              hello: {
                protocol: this.protocol,
                version: "p",
                pid: Deno.pid,
                hostPid: 1,
                outbound: "none",
                paths: [],
              },
            }
            : this.onRequest(request);
          if (answer === "die") return this.end();
          // in two pieces: a line may come in any
          const bytes = new TextEncoder().encode(`${JSON.stringify(answer)}\n`);
          await conn.write(bytes.subarray(0, 5));
          await conn.write(bytes.subarray(5));
        }
      }
    }
  }

  const temporary = (): string => {
    const dir = Deno.makeTempDirSync();
    onTestFinished(() => Deno.removeSync(dir, { recursive: true }));
    return `${dir}/netd`;
  };

  it("starts netd once it is asked, restores first, and makes requests again that were under way when it ended", async () => {
    const dir = temporary();
    const started: PaperNetd[] = [];
    let restored = 0;
    using client = await NetdClient.open({
      dir,
      version: "v",
      onRestart: async (netd) => {
        await netd.request({ op: "network.remove", id: "restoring" });
        restored++;
      },
      spawn: (at) => {
        Deno.removeSync(at, { recursive: true });
        const netd = new PaperNetd(at);
        if (started.length === 0) {
          netd.onRequest = ({ op, seq }) => op === "sandbox.remove" ? "die" : { seq, ok: true };
        }
        started.push(netd);
        return Promise.resolve();
      },
    });
    await client.request({ op: "sandbox.remove", containerId: "c" });
    expect([started.length, restored, client.starts]).toEqual([2, 2, 2]);
    expect(started[1]?.requests).toEqual(["hello", "network.remove", "hello", "sandbox.remove"]);
    started.forEach((netd) => netd.end());
  });

  it("tells netd's errors as errors of the engine", async () => {
    const dir = temporary();
    const netd = new PaperNetd(dir);
    netd.onRequest = ({ seq }) => ({
      seq,
      ok: false,
      error: { kind: "conflict", message: "taken", hint: "Use another." },
    });
    using client = await NetdClient.open({ dir, version: "v", onRestart: () => Promise.resolve() });
    await expect(client.request({ op: "network.remove", id: "x" })).rejects.toMatchObject({
      name: "EngineError",
      kind: "conflict",
      message: "taken",
      hint: "Use another.",
    });
    expect(client.starts).toBe(0);
    netd.end();
  });

  it("tries again where none has come up, and not where one has said why it cannot work", async () => {
    const tries = async (error: Error): Promise<number> => {
      let count = 0;
      await NetdClient.open({
        dir: temporary(),
        version: "v",
        onRestart: () => Promise.resolve(),
        spawn: () => {
          count++;
          return Promise.reject(error);
        },
      }).catch((failure) => expect(failure.message).toBe(`no network process: ${error.message}`));
      return count;
    };
    expect(await tries(new NetdRefused("unshare: operation not permitted"))).toBe(1);
    expect(await tries(new Error("killed"))).toBeGreaterThan(1);
  }, 20_000);

  it("says why there is none, and where its log is", async () => {
    const dir = temporary();
    const opened = NetdClient.open({
      dir,
      version: "v",
      onRestart: () => Promise.resolve(),
      spawn: () => Promise.reject(new Error("unshare: operation not permitted")),
    });
    await expect(opened).rejects.toMatchObject({
      kind: "unavailable",
      message: "no network process: unshare: operation not permitted",
      hint: `Its log is ${dir}/log.`,
    });
  }, 20_000);
});
