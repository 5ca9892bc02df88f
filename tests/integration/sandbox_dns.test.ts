/** Names in containers' network namespaces, asked by the programs that containers have, over what nf_tables makes of port 53. */
import { afterAll, beforeAll, beforeEach, expect, it } from "vitest";
import { userNetworkResolvConf } from "../../net/dns/resolv_conf.ts";
import { BUSYBOX, describeWith, need, program } from "../support/needs.ts";
import type { Command } from "../support/sandbox_dns_child.ts";
import { dnsQuery } from "../support/dns.ts";
import { Random } from "../fuzz/random.ts";

const CHILD = new URL("../support/sandbox_dns_child.ts", import.meta.url).pathname;
const TABLE = new URL("../support/dns_table_child.ts", import.meta.url).pathname;
const unshare = new Deno.Command("unshare", { args: ["-Urmn", "true"] }).outputSync();

describeWith(
  need(unshare.success, "no user namespace can be made here"),
  program("dig", "bind9-dnsutils"),
  program("ip", "iproute2"),
  program("nft", "nftables"),
  BUSYBOX,
)("SandboxDns", () => {
  let directory: string;
  let child: Deno.ChildProcess;
  let lines: AsyncGenerator<string>;
  let writer: WritableStreamDefaultWriter<Uint8Array>;
  let pids: number[];
  const servers: Deno.ChildProcess[] = [];

  beforeAll(async () => {
    directory = Deno.makeTempDirSync();
    Deno.chmodSync(directory, 0o755);
    Deno.writeTextFileSync(
      `${directory}/resolv.conf`,
      userNetworkResolvConf({ hostText: "", hostPath: "/etc/resolv.conf", fallback: [] }).text,
    );
    Deno.writeTextFileSync(`${directory}/host-resolv.conf`, "nameserver 127.0.0.53\n");
    child = new Deno.Command("unshare", {
      args: ["-Urmn", Deno.execPath(), "run", "-A", CHILD, directory, "3"],
      stdin: "piped",
      stdout: "piped",
      stderr: "inherit",
    }).spawn();
    lines = linesOf(child.stdout);
    writer = child.stdin.getWriter();
    pids = JSON.parse((await lines.next()).value ?? "[]") as number[];
    expect(pids).toHaveLength(3);
    await serve(child.pid, "127.0.0.53", { "outside.example": "192.0.2.1", single: "192.0.2.2" });
    await serve(child.pid, "127.0.0.9", { "at.host.example": "192.0.2.9" });
    await serve(pids[1] ?? 0, "0.0.0.0", { "inside.example": "192.0.2.3", nas: "192.0.2.4" });
  });

  afterAll(async () => {
    await writer.close();
    await child.status;
    await child.stdout.cancel().catch(() => {});
    for (const server of servers) {
      server.kill("SIGKILL");
      await server.status;
    }
    Deno.removeSync(directory, { recursive: true });
  });

  beforeEach(async () => {
    await tell({
      op: "subnets",
      subnets: [
        { network: "x1", address: "172.18.0.0", length: 16, gateway: "172.18.0.1" },
        { network: "x2", address: "172.19.0.0", length: 16, gateway: "172.19.0.1" },
        { network: "in", address: "172.20.0.0", length: 16, gateway: "172.20.0.1", internal: true },
      ],
    });
    await tell({ op: "add", container: 0, endpoints: [C0], upstreams: ["127.0.0.53"] });
    await tell({
      op: "add",
      container: 1,
      endpoints: [{ network: "x1", address: "172.18.0.3", names: ["c1", "web", "bbbbbbbbbbbb"] }],
      upstreams: ["127.0.0.53"],
    });
  });

  const C0 = { network: "x1", address: "172.18.0.2", names: ["c0", "web", "aaaaaaaaaaaa"] };

  /** A DNS server at port 53, in the network namespace of a process. */
  async function serve(pid: number, address: string, table: Record<string, string>): Promise<void> {
    const script = 'exec "$@"';
    const server = new Deno.Command("nsenter", {
      args: enter(pid, script, Deno.execPath(), "run", "-A", TABLE, address, JSON.stringify(table)),
      stdin: "null",
      stdout: "piped",
    }).spawn();
    servers.push(server);
    expect((await linesOf(server.stdout).next()).value).toBe("ready");
  }

  const enter = (pid: number, script: string, ...args: string[]): string[] => [
    ...["-t", `${pid}`, "-U", "-m", "-n", "--preserve-credentials", "sh", "-c", script, "sh"],
    ...args,
  ];

  async function inside(container: number, script: string, ...args: string[]): Promise<string> {
    const { stdout, stderr } = await new Deno.Command("nsenter", {
      args: enter(pids[container] ?? 0, script, ...args),
      stdin: "null",
    }).output();
    return new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr);
  }

  async function tell(command: Command): Promise<number> {
    await writer.write(new TextEncoder().encode(`${JSON.stringify(command)}\n`));
    const answer = JSON.parse((await lines.next()).value ?? "{}") as { ms?: number; error?: string };
    if (answer.ms === undefined) throw new Error(answer.error ?? "no answer");
    return answer.ms;
  }

  const lookup = async (container: number, ...words: string[]): Promise<string> =>
    (await inside(container, 'dig +short +tries=1 +time=3 "$@"', ...words)).trim();

  it("answers names, short ids, shared aliases, addresses and empty families", async () => {
    expect(await lookup(0, "c1")).toBe("172.18.0.3");
    expect(await lookup(0, "+tcp", "C1.x1")).toBe("172.18.0.3");
    expect(await lookup(1, "aaaaaaaaaaaa")).toBe("172.18.0.2");
    expect((await lookup(1, "web")).split("\n").sort()).toEqual(["172.18.0.2", "172.18.0.3"]);
    expect(await lookup(0, "-x", "172.18.0.3")).toBe("c1.x1.");
    expect(await inside(0, "dig AAAA c1")).toMatch(/status: NOERROR[^]*ANSWER: 0/);
    expect(await inside(0, "getent ahostsv4 c1")).toMatch(/^172\.18\.0\.3\s+STREAM c1$/m);
    expect(await inside(0, "busybox nslookup c1")).toMatch(/Name:\s+c1\nAddress:\s+172\.18\.0\.3/);
    // both orders come
    const firsts = await inside(0, "for i in $(seq 40); do dig +short web | head -1; done | sort -u");
    expect(firsts).toBe("172.18.0.2\n172.18.0.3\n");
  });

  it("follows containers that come, are renamed, connected and disconnected, and go", async () => {
    expect(await lookup(0, "db")).toBe("");
    await tell({
      op: "name",
      id: "db",
      endpoints: [{ network: "x1", address: "172.18.0.9", names: ["db"] }],
    });
    expect(await lookup(0, "db")).toBe("172.18.0.9");
    await tell({
      op: "name",
      id: "db",
      endpoints: [{ network: "x1", address: "172.18.0.9", names: ["base"] }],
    });
    expect([await lookup(0, "db"), await lookup(0, "base")]).toEqual(["", "172.18.0.9"]);
    await tell({
      op: "name",
      id: "db",
      endpoints: [{ network: "x2", address: "172.19.0.9", names: ["base"] }],
    });
    expect(await lookup(0, "base")).toBe("");
    const x2 = { network: "x2", address: "172.19.0.2", names: ["c0"], links: { sql: "base" } };
    await tell({ op: "update", container: 0, endpoints: [C0, x2], upstreams: ["127.0.0.53"] });
    expect([
      await lookup(0, "base"),
      await lookup(0, "base.x2"),
      await lookup(0, "sql"),
      await lookup(1, "sql"),
    ])
      .toEqual(["172.19.0.9", "172.19.0.9", "172.19.0.9", ""]);
    expect(await lookup(0, "base.x1")).toBe("");
    await tell({ op: "update", container: 0, endpoints: [C0], upstreams: ["127.0.0.53"] });
    expect(await lookup(0, "base")).toBe("");
    await tell({ op: "remove", id: "db" });
    await tell({ op: "remove", id: "db" });
  });

  it("passes the rest on to the host's side, also past a server that is dead", async () => {
    expect(await lookup(0, "outside.example")).toBe("192.0.2.1");
    const endpoints = [C0];
    await tell({ op: "update", container: 0, endpoints, upstreams: ["127.0.0.99", "127.0.0.53"] });
    expect(await lookup(0, "outside.example")).toBe("192.0.2.1");
    await tell({ op: "update", container: 0, endpoints, upstreams: ["192.0.2.77"] });
    expect(await inside(0, "dig outside.example")).toContain("status: SERVFAIL");
    await tell({ op: "update", container: 0, endpoints, upstreams: ["127.0.0.53"], ndotsSet: true });
    expect(await inside(0, "dig single")).toMatch(/status: NOERROR[^]*ANSWER: 0/);
    await tell({ op: "update", container: 0, endpoints, upstreams: ["127.0.0.53"] });
    expect(await lookup(0, "single")).toBe("192.0.2.2");
  });

  it("asks 10.0.2.3 for the host's servers, gateways for the host", async () => {
    const endpoints = [C0];
    await tell({ op: "update", container: 0, endpoints, upstreams: ["10.0.2.3"] });
    expect(await lookup(0, "outside.example")).toBe("192.0.2.1");
    for (const server of ["172.18.0.1", "10.0.2.2"]) {
      await tell({ op: "update", container: 0, endpoints, upstreams: [server] });
      expect(await lookup(0, "at.host.example")).toBe("192.0.2.9");
    }
  });

  it("asks a container of the same network, and none of another", async () => {
    await tell({ op: "update", container: 0, endpoints: [C0], upstreams: ["172.18.0.3"] });
    expect(await lookup(0, "inside.example")).toBe("192.0.2.3");
    const subnets = [
      { network: "x1", address: "172.18.128.0", length: 17, gateway: "172.18.128.1" },
      { network: "x2", address: "172.18.0.0", length: 17, gateway: "172.18.0.1" },
    ];
    await tell({ op: "subnets", subnets });
    expect(await inside(0, "dig inside.example")).toContain("status: SERVFAIL");
  });

  it("passes nothing on from internal networks, but to their own containers", async () => {
    const endpoints = [{ network: "in", address: "172.20.0.2", names: ["c0"] }];
    await tell({
      op: "update",
      container: 0,
      endpoints,
      upstreams: ["127.0.0.53", "10.0.2.3", "172.20.0.1"],
    });
    expect(await inside(0, "dig outside.example")).toContain("status: SERVFAIL");
    expect(await lookup(0, "c0")).toBe("172.20.0.2");
    await tell({ op: "update", container: 0, endpoints: [...endpoints, C0], upstreams: ["127.0.0.53"] });
    expect(await lookup(0, "outside.example")).toBe("192.0.2.1");
  });

  it("leaves port 53 to a DNS server of the container's own", async () => {
    expect(await lookup(1, "@127.0.0.1", "nas")).toBe("192.0.2.4");
    expect(await lookup(0, "@172.18.0.3", "nas")).toBe("192.0.2.4");
    expect(await lookup(1, "c0")).toBe("172.18.0.2");
    expect(await inside(1, "cat /proc/net/nf_conntrack 2>/dev/null | wc -l")).toBe("0\n");
    // nobody else reaches ours
    expect(await inside(2, "dig +time=1 +tries=1 @172.18.0.2 c0")).toMatch(/refused|no servers/);
  });

  it("holds port 53 where the kernel has no netfilter", async () => {
    await tell({ op: "add", container: 2, endpoints: [{ ...C0, names: ["c2"] }], plain: true });
    expect(await inside(2, "busybox netstat -lun")).toContain("127.0.0.11:53 ");
    expect(await lookup(2, "c0")).toBe("172.18.0.2");
    await tell({ op: "remove", id: "s2" });
    expect(await inside(2, "busybox netstat -lun")).not.toContain("127.0.0.11");
  });

  it("goes on after netd was killed, on the same ports, or on others when those are taken", async () => {
    const tables = () => inside(0, "nft list tables");
    const before = await tables();
    expect(before).toMatch(/^table ip berth-dns-\d+-\d+\n$/);
    await tell({ op: "restart" });
    const ms = await tell({ op: "add", container: 0, endpoints: [C0], upstreams: ["127.0.0.53"] });
    expect(await tables()).toBe(before);
    expect(await lookup(0, "c0")).toBe("172.18.0.2");
    expect(await lookup(0, "+tcp", "c0")).toBe("172.18.0.2");
    await tell({ op: "restart" });
    const taken = new Deno.Command("nsenter", {
      args: enter(pids[0] ?? 0, "echo; exec busybox nc -l -p $1", /-(\d+)\n/.exec(before)?.[1] ?? ""),
      stdin: "null",
      stdout: "piped",
    }).spawn();
    await expect.poll(() => inside(0, "busybox netstat -ltn")).toContain(`:${/-(\d+)\n/.exec(before)?.[1]} `);
    await tell({ op: "add", container: 0, endpoints: [C0], upstreams: ["127.0.0.53"] });
    taken.kill("SIGKILL");
    await taken.stdout.cancel();
    await taken.status;
    expect(await tables()).toMatch(/^table ip berth-dns-\d+-\d+\n$/);
    expect(await tables()).not.toBe(before);
    expect(await lookup(0, "c0")).toBe("172.18.0.2");
    expect(await lookup(0, "+tcp", "c0")).toBe("172.18.0.2");
    expect(ms).toBeGreaterThan(0);
  });

  it("tells of port 53 when the container tracks connections and filters", async () => {
    await tell({
      op: "add",
      container: 2,
      endpoints: [{ network: "x1", address: "172.18.0.4", names: ["c2"] }],
    });
    const rules = `table ip own {
      chain out { type filter hook output priority 0; policy drop; ct state new,established accept; }
      chain in { type filter hook input priority 0; policy drop; ct state new udp sport != 53 accept; ct state new meta l4proto tcp accept; ct state established accept; }
    }`;
    expect(await inside(2, 'printf "%s" "$1" | nft -f -', rules)).toBe("");
    expect(await lookup(2, "c0")).toBe("172.18.0.2");
    expect(await lookup(2, "+tcp", "c0")).toBe("172.18.0.2");
    await inside(2, "nft delete table ip own");
  });

  it("serves a thousand names, and their coming and going while they are asked for", async () => {
    const state = (n: number) => ({
      op: "name" as const,
      id: `n${n}`,
      endpoints: [{ network: "x1", address: `172.18.${4 + (n >> 8)}.${n & 255}`, names: [`n${n}`, "many"] }],
    });
    for (let n = 0; n < 1000; n++) await tell(state(n));
    expect(await lookup(0, "n999")).toBe("172.18.7.231");
    expect(await inside(0, "dig +ignore +notcp +noedns many")).toMatch(/flags: qr tc rd ra/);
    expect((await lookup(0, "many")).split("\n").length).toBe(1000);
    const asked = inside(0, "for i in $(seq 0 199); do dig +short +tries=1 c1; done");
    for (let n = 0; n < 1000; n++) {
      await tell({ op: "remove", id: `n${n}` });
      if (n % 2 === 0) await tell(state(n));
    }
    expect(await asked).toBe("172.18.0.3\n".repeat(200));
    for (let n = 0; n < 1000; n += 2) await tell({ op: "remove", id: `n${n}` });
    expect(await lookup(0, "many")).toBe("");
  });

  it("survives what is no query", async () => {
    const random = new Random(11);
    const file = `${directory}/noise`;
    const messages = Array.from({ length: 300 }, () => {
      const message = dnsQuery(
        random.pick(["c1", "outside.example", "web.x1"]),
        random.pick([1, 12, 28, 33, 255]),
      );
      for (let left = random.below(8); left > 0; left--) {
        message[random.below(message.length)] = random.below(256);
      }
      return message.slice(0, random.chance(4) ? random.below(message.length) : message.length);
    });
    const octal = messages.map((message) =>
      [...message].map((byte) => `\\0${byte.toString(8).padStart(3, "0")}`).join("")
    );
    Deno.writeTextFileSync(
      file,
      octal.map((text) => `printf '%b' '${text}' > /dev/udp/127.0.0.11/53\n`).join(""),
    );
    Deno.writeTextFileSync(
      `${file}-tcp`,
      octal.slice(0, 40).map((text) => `printf '%b' '${text}' > /dev/tcp/127.0.0.11/53\n`).join(""),
    );
    await inside(0, `bash ${file}; bash ${file}-tcp`);
    expect(await lookup(0, "c1")).toBe("172.18.0.3");
    expect(await lookup(0, "+tcp", "c1")).toBe("172.18.0.3");
  });
});

async function* linesOf(stream: ReadableStream<Uint8Array>): AsyncGenerator<string> {
  let rest = "";
  for await (const chunk of stream) {
    rest += new TextDecoder().decode(chunk);
    for (let end; (end = rest.indexOf("\n")) >= 0; rest = rest.slice(end + 1)) yield rest.slice(0, end);
  }
}
