/** `manifest`: lists of images for several architectures, beside docker's command line, at a real registry. */
import { afterAll, beforeAll, expect, it } from "vitest";
import { digestOf } from "../../base/digest.ts";
import { runBerth } from "../support/berth_cli.ts";
import { DOCKER_28 } from "../support/cli_comparison.ts";
import { dockerClients } from "../support/docker_clients.ts";
import { describeWith } from "../support/needs.ts";
import { REGISTRY, Registry } from "../support/registry.ts";
import { testDir } from "../support/users.ts";

const PASSWORDS = { reader: "secret" };
const AUTH = `Basic ${new TextEncoder().encode("reader:secret").toBase64()}`;
const DOCKER_TYPE = "application/vnd.docker.distribution.manifest.v2+json";
const OCI_TYPE = "application/vnd.oci.image.manifest.v1+json";
const docker = dockerClients().find(({ version }) => version.startsWith("28."))?.path ?? "docker";

describeWith(DOCKER_28, REGISTRY)("manifest", () => {
  let registry: Registry;
  let name: (rest: string) => string;
  const homes = { docker: "", berth: "" };

  /** Puts an image of one small layer into the registry. */
  async function push(repository: string, tag: string, platform: object, type: string): Promise<void> {
    const url = (rest: string) => `http://${registry.host}/v2/${repository}/${rest}`;
    const request = async (address: string, init: RequestInit) => {
      const response = await fetch(address, { ...init, headers: { ...init.headers, Authorization: AUTH } });
      await response.body?.cancel();
      expect(response.ok).toBe(true);
      return response;
    };
    const blob = async (text: string) => {
      const started = await request(url("blobs/uploads/"), { method: "POST" });
      const at = new URL(started.headers.get("location") ?? "", url(""));
      const digest = await digestOf(text);
      at.searchParams.set("digest", digest);
      await request(at.href, { method: "PUT", body: text });
      return { size: text.length, digest };
    };
    const oci = type === OCI_TYPE;
    const config = await blob(JSON.stringify({ ...platform, rootfs: { type: "layers", diff_ids: [] } }));
    const layer = await blob(`layer of ${repository}:${tag}`);
    const manifest = {
      schemaVersion: 2,
      mediaType: type,
      config: {
        mediaType: oci
          ? "application/vnd.oci.image.config.v1+json"
          : "application/vnd.docker.container.image.v1+json",
        ...config,
      },
      layers: [{
        mediaType: oci
          ? "application/vnd.oci.image.layer.v1.tar+gzip"
          : "application/vnd.docker.image.rootfs.diff.tar.gzip",
        ...layer,
      }],
      ...(oci ? { annotations: { "com.example.note": "a<b & c" } } : {}),
    };
    await request(url(`manifests/${tag}`), {
      method: "PUT",
      headers: { "Content-Type": type },
      body: JSON.stringify(manifest, null, 2),
    });
  }

  const as = {
    async docker(...args: string[]) {
      const { code, stdout, stderr } = await new Deno.Command(docker, {
        args: ["manifest", ...args],
        env: { DOCKER_CONFIG: homes.docker },
        stdin: "null",
      }).output();
      const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
      return { code, stdout: text(stdout), stderr: text(stderr) };
    },
    berth: (...args: string[]) => runBerth(["manifest", ...args], { env: { DOCKER_CONFIG: homes.berth } }),
  };
  async function both(...args: string[]) {
    const [docker, berth] = await Promise.all([as.docker(...args), as.berth(...args)]);
    expect(berth).toEqual(docker);
    return berth;
  }

  beforeAll(async () => {
    registry = await Registry.start({ dir: testDir(), users: PASSWORDS });
    name = (rest) => `${registry.host}/${rest}`;
    await push("team/app", "amd64", { architecture: "amd64", os: "linux" }, DOCKER_TYPE);
    await push("other/arm", "1", { architecture: "arm", os: "linux", variant: "v6" }, DOCKER_TYPE);
    await push("oci/app", "1", { architecture: "riscv64", os: "linux" }, OCI_TYPE);
    for (const who of ["docker", "berth"] as const) {
      homes[who] = Deno.makeTempDirSync({ dir: testDir(), prefix: `manifest-${who}-` });
      const auths = { [registry.host]: { auth: AUTH.replace("Basic ", "") } };
      Deno.writeTextFileSync(`${homes[who]}/config.json`, JSON.stringify({ auths }));
    }
  });
  afterAll(() => registry?.[Symbol.asyncDispose]());

  it("shows images of both kinds, and says what is not there", async () => {
    for (const image of ["team/app:amd64", "oci/app:1", "other/arm:1"]) {
      expect((await both("inspect", "--insecure", name(image))).code).toBe(0);
      expect((await both("inspect", "--insecure", "-v", name(image))).code).toBe(0);
    }
    expect((await both("inspect", "--insecure", name("team/nope:1"))).stderr).toMatch(/^no such manifest: /);
    await both("inspect", "No/Upper");
    await both("inspect", name("team/app:list"), name("team/app:amd64"));
  });

  it("creates, annotates, shows, pushes and removes a list as docker does, byte for byte", async () => {
    const list = name("team/app:multi"), [amd, arm] = [name("team/app:amd64"), name("other/arm:1")];
    expect((await both("create", "--insecure", list, amd, arm)).stdout).toBe(
      `Created manifest list ${list}\n`,
    );
    await both("create", "--insecure", list, amd);
    await both("create", "--insecure", "--amend", list, amd);
    await both("annotate", list, arm, "--variant", "v7", "--os-features", "a,b", "--os-version", "5");
    await both("annotate", list, arm, "--os", "amiga");
    await both("annotate", list, name("other/arm:2"), "--os", "linux");
    for (const args of [[list], ["-v", list], [list, arm], ["-v", list, arm]]) await both("inspect", ...args);

    const pushed = await both("push", "--insecure", list);
    expect(pushed.code).toBe(0);
    expect(pushed.stdout).toMatch(
      /^Pushed ref \S+\/team\/app@sha256:\S+ with digest: sha256:\S+\nsha256:\S+\n$/,
    );
    await both("rm", list, "nothing", list);
    await both("push", "--insecure", list);
    expect((await both("inspect", "--insecure", list)).code).toBe(0);
    expect((await both("inspect", "--insecure", "-v", list)).stdout).toContain('"variant": "v7"');
    await both("create", "--insecure", name("team/app:nested"), list);
  });

  it("makes an OCI index of OCI manifests, and understands lists that docker has begun", async () => {
    const list = name("oci/app:multi");
    expect((await as.docker("create", "--insecure", list, name("oci/app:1"), name("other/arm:1"))).code).toBe(
      0,
    );
    const own = homes.berth;
    homes.berth = homes.docker;
    try {
      await both("inspect", "-v", list);
      expect((await both("inspect", list)).stdout).toContain("application/vnd.oci.image.index.v1+json");
      expect((await as.berth("annotate", list, name("oci/app:1"), "--variant", "x")).code).toBe(0);
      expect((await as.docker("inspect", list, name("oci/app:1"))).code).toBe(0);
      expect((await as.berth("push", "--insecure", "--purge", list)).code).toBe(0);
      expect((await as.docker("push", "--insecure", list)).stderr).toContain("No such manifest");
    } finally {
      homes.berth = own;
    }
    expect((await both("inspect", "--insecure", list)).stdout).toContain('"variant": "x"');
  });

  it("goes without --insecure on loopback, where registries may be spoken to in the clear", async () => {
    expect((await as.berth("inspect", name("team/app:amd64"))).code).toBe(0);
  });

  it("refuses a damaged file by its name", async () => {
    const list = name("team/app:damaged");
    expect((await as.berth("create", list, name("team/app:amd64"))).code).toBe(0);
    const dir = `${homes.berth}/manifests/${list.replaceAll(":", "-").replaceAll("/", "_")}`;
    for (const { name } of Deno.readDirSync(dir)) Deno.writeTextFileSync(`${dir}/${name}`, '{"Ref":"x"}');
    const { code, stderr } = await as.berth("inspect", list);
    expect(code).toBe(1);
    expect(stderr).toContain("invalid manifest file");
    expect(stderr).toContain("berth manifest rm");
  });
});
