/** What programs in a container use: the C library's resolver, busybox, dig, with a resolv.conf as on a user network. */
import { afterAll, beforeAll, expect, it } from "vitest";
import { userNetworkResolvConf } from "../../net/dns/resolv_conf.ts";
import { BUSYBOX, describeWith, need, program } from "../support/needs.ts";

const CHILD = new URL("../support/dns_server_child.ts", import.meta.url).pathname;
const unshare = new Deno.Command("unshare", { args: ["-Urmn", "true"] }).outputSync();

describeWith(
  need(unshare.success, "no user namespace can be made here"),
  program("dig", "bind9-dnsutils"),
  program("ip", "iproute2"),
  BUSYBOX,
)("a resolv.conf with 127.0.0.11", () => {
  let directory: string;
  let child: Deno.ChildProcess;

  beforeAll(async () => {
    directory = Deno.makeTempDirSync();
    const { text } = userNetworkResolvConf({ hostText: "", hostPath: "/etc/resolv.conf", fallback: [] });
    Deno.writeTextFileSync(`${directory}/resolv.conf`, text);
    // the C library asks for a family only when an interface besides loopback has an address of it
    const script = `mount --bind "$1" /etc/resolv.conf
      ip link add eth0 type veth peer name peer0; ip link set eth0 up
      ip address add 172.18.0.9/24 dev eth0; ip address add fd00::9/64 dev eth0 nodad
      exec "$2" run -A "$3"`;
    child = new Deno.Command("unshare", {
      args: ["-Urmn", "sh", "-ec", script, "sh", `${directory}/resolv.conf`, Deno.execPath(), CHILD],
      stdin: "null",
      stdout: "piped",
      stderr: "inherit",
    }).spawn();
    const reader = child.stdout.getReader();
    const { value } = await reader.read();
    reader.releaseLock();
    expect(new TextDecoder().decode(value)).toBe("ready\n");
  });

  afterAll(async () => {
    child.kill("SIGKILL");
    await child.stdout.cancel();
    await child.status;
    Deno.removeSync(directory, { recursive: true });
  });

  async function inside(command: string): Promise<string> {
    const output = await new Deno.Command("nsenter", {
      args: ["-t", `${child.pid}`, "-U", "-m", "-n", "--preserve-credentials", "sh", "-c", command],
      stdin: "null",
    }).output();
    return new TextDecoder().decode(output.stdout) + new TextDecoder().decode(output.stderr);
  }

  it("lets getent find names, both families, and names of addresses", async () => {
    expect(await inside("getent ahostsv4 c1")).toMatch(/^172\.18\.0\.2\s+STREAM c1$/m);
    expect(await inside("getent ahosts C2.x1")).toMatch(/^fd00::3\s+STREAM/m);
    expect(await inside("getent ahostsv6 c1; echo $?")).toMatch(/::ffff:172\.18\.0\.2/);
    expect(await inside("getent hosts 172.18.0.3")).toMatch(/^172\.18\.0\.3\s+c2\.x1$/m);
    expect(await inside("getent hosts elsewhere; echo $?")).toBe("2\n");
    const web = await inside("getent ahostsv4 web");
    expect(web).toContain("172.18.0.2 ");
    expect(web).toContain("172.18.0.3 ");
  });

  it("lets busybox nslookup find names", async () => {
    const text = await inside("busybox nslookup c1");
    expect(text).toMatch(/Server:\s+127\.0\.0\.11/);
    expect(text).toMatch(/Name:\s+c1\nAddress:\s+172\.18\.0\.2/);
    expect(await inside("busybox nslookup 172.18.0.2")).toContain("name = c1.x1");
    expect(await inside("busybox nslookup elsewhere.example")).toMatch(/SERVFAIL|server can't find/i);
  });

  it("lets dig find names", async () => {
    expect(await inside("dig +short c1")).toBe("172.18.0.2\n");
    expect(await inside("dig +tcp +short AAAA c2")).toBe("fd00::3\n");
  });
});
