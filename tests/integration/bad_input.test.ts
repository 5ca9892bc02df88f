/** Whatever a client sends: a clear error with Docker's status, an engine that goes on, and nothing half-made. */
import { afterAll, beforeAll, expect, it } from "vitest";
import { busyboxArchive, busyboxRootfs, packDockerArchive } from "../support/busybox_image.ts";
import { type Engine, startEngine } from "../support/engine.ts";
import { currentUser, testDir, usersToTest } from "../support/users.ts";
import { BUSYBOX, describeWith, ROOT } from "../support/needs.ts";

interface Answer {
  status: number;
  body: string;
  message: string;
}

describeWith(BUSYBOX).each(usersToTest())("bad input to the engine of $name", (user) => {
  let engine: Engine;
  let archive: string;
  beforeAll(async () => {
    engine = await startEngine({ user });
    archive = await busyboxArchive(testDir());
    await engine.berth(["load", "-q", "-i", archive]);
  });
  afterAll(async () => {
    await engine?.[Symbol.asyncDispose]();
  });
  const call = async (
    method: string,
    path: string,
    body?: unknown,
    type = "application/json",
  ): Promise<Answer> => {
    using client = Deno.createHttpClient({ proxy: { transport: "unix", path: engine.socket } });
    const init: RequestInit & { client: Deno.HttpClient } = { method, client };
    if (body !== undefined) {
      init.body = typeof body === "string" || body instanceof Uint8Array
        ? body as BodyInit
        : JSON.stringify(body);
      init.headers = { "Content-Type": type };
    }
    const response = await fetch(`http://d${path}`, init);
    const text = await response.text();
    let message = "";
    try {
      message = String((JSON.parse(text) as { message?: unknown }).message ?? "");
    } catch {
      // Not JSON: the test looks at the body.
    }
    return { status: response.status, body: text, message };
  };
  const create = (body: unknown, query = "") => call("POST", `/v1.47/containers/create${query}`, body);
  const nothingMade = async () => {
    expect((await engine.berth(["ps", "-aq"])).stdout).toBe("");
    expect([...Deno.readDirSync(`${engine.dataRoot}/containers`)]).toEqual([]);
    expect((await call("GET", "/_ping")).body).toBe("OK");
  };

  it.each<[string, unknown, number, RegExp]>([
    ["no JSON", "{", 400, /./],
    ["an empty body", "", 400, /EOF|body/i],
    ["a list", [], 400, /./],
    ["a number for Image", { Image: 5 }, 400, /./],
    ["a string for Tty", { Image: "busybox", Tty: "yes" }, 400, /./],
    ["an object for Cmd", { Image: "busybox", Cmd: { a: 1 } }, 400, /./],
    ["a number in Env", { Image: "busybox", Env: [1] }, 400, /./],
    ["a string for Memory", { Image: "busybox", HostConfig: { Memory: "1g" } }, 400, /./],
    [
      "too little memory",
      { Image: "busybox", HostConfig: { Memory: 1024 } },
      400,
      /Minimum memory limit allowed is 6MB/,
    ],
    ["a negative ShmSize", { Image: "busybox", HostConfig: { ShmSize: -1 } }, 400, /SHM size/i],
    ["absurd CPUs", { Image: "busybox", HostConfig: { NanoCpus: 1e18 } }, 400, /[Rr]ange of CPUs/],
    [
      "an unknown capability",
      { Image: "busybox", HostConfig: { CapAdd: ["FLY"] } },
      400,
      /unknown capability/,
    ],
    ["a missing image", { Image: "no/such:thing" }, 404, /No such image: no\/such:thing/],
    ["an invalid reference", { Image: "UPPER case" }, 400, /invalid reference format|repository name/],
    ["a relative workdir", { Image: "busybox", WorkingDir: "a/b" }, 400, /absolute/],
    ["a relative bind target", { Image: "busybox", HostConfig: { Binds: ["/tmp:tmp"] } }, 400, /absolute/],
    ["a NUL in a path", { Image: "busybox", HostConfig: { Binds: ["/tmp\u0000:/x"] } }, 400, /./],
    [
      "a bind over root",
      { Image: "busybox", HostConfig: { Binds: ["/tmp:/"] } },
      400,
      /destination can't be '\/'|can't be/,
    ],
    [
      "auto-remove with restart",
      { Image: "busybox", HostConfig: { AutoRemove: true, RestartPolicy: { Name: "always" } } },
      400,
      /AutoRemove/,
    ],
    [
      "an unknown restart policy",
      { Image: "busybox", HostConfig: { RestartPolicy: { Name: "maybe" } } },
      400,
      /restart policy/,
    ],
    [
      "a broken seccomp profile",
      { Image: "busybox", HostConfig: { SecurityOpt: ['seccomp={"defaultAction":5}'] } },
      400,
      /seccomp/i,
    ],
    [
      "an unknown security option",
      { Image: "busybox", HostConfig: { SecurityOpt: ["color=blue"] } },
      400,
      /security-opt/i,
    ],
    [
      "an unknown ulimit",
      { Image: "busybox", HostConfig: { Ulimits: [{ Name: "luck", Soft: 1, Hard: 1 }] } },
      400,
      /ulimit/i,
    ],
    ["a bad stop signal", { Image: "busybox", StopSignal: "SIGNONE" }, 400, /[Ii]nvalid signal/],
  ])("create with %s", async (_, body, status, message) => {
    const answer = await create(body);
    expect(answer.message).toMatch(message);
    expect(answer.status).toBe(status);
    await nothingMade();
  });

  it("an unknown network: found out at the start, as by Docker, which would pull an image for a 404 at create", async () => {
    const run = await engine.berth(["run", "--rm", "--network", "nowhere", "busybox", "true"]);
    expect(run).toMatchObject({ code: 125 });
    expect(run.stderr).toContain("network nowhere not found");
    await nothingMade();
  });

  it("bad names, ids, queries, versions, methods and paths", async () => {
    expect(await create({ Image: "busybox" }, "?name=-bad")).toMatchObject({ status: 400 });
    expect((await create({ Image: "busybox" }, "?name=a%2Fb")).message).toContain(
      "only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed",
    );
    for (const id of ["none", "%2e%2e", "..%2f..%2fetc", "a".repeat(5000), "%00", "😀"]) {
      const answer = await call("GET", `/containers/${id}/json`);
      expect([400, 404], `${id}: ${answer.body}`).toContain(answer.status);
    }
    expect(await call("GET", "/containers/json?filters=%7B")).toMatchObject({ status: 400 });
    expect(await call("GET", "/containers/json?limit=x")).toMatchObject({ status: 400 });
    expect(await call("GET", "/v1.99/info")).toMatchObject({ status: 400 });
    expect(await call("GET", "/v1.2/info")).toMatchObject({ status: 400 });
    expect(await call("GET", "/no/such/page")).toMatchObject({ status: 404 });
    expect([404, 405]).toContain((await call("PATCH", "/info")).status);
    expect(await call("POST", "/containers/none/start")).toMatchObject({
      status: 404,
      message: "No such container: none",
    });
    expect(await call("POST", "/containers/create", "Image=busybox", "text/plain")).toMatchObject({
      status: 400,
    });
    await nothingMade();
  });

  it("a platform that the image is not for is a 404, at which clients pull; its own is taken", async () => {
    expect(await create({ Image: "busybox" }, "?platform=linux/s390x")).toMatchObject({
      status: 404,
      message: expect.stringMatching(
        /^image with reference busybox was found but its platform \(linux\/\w+\) does not match the specified platform \(linux\/s390x\)$/,
      ),
    });
    expect(await create({ Image: "busybox" }, "?platform=linux/")).toMatchObject({ status: 400 });
    await nothingMade();
    const own = await engine.berth(["image", "inspect", "-f", "{{.Os}}/{{.Architecture}}", "busybox"]);
    const run = await engine.berth(["run", "--rm", "--platform", own.stdout.trim(), "busybox", "echo", "hi"]);
    expect(run).toMatchObject({ code: 0, stdout: "hi\n", stderr: "" });
  });

  it("a container that cannot run: 400 or 404 with the reason, and it can be removed", async () => {
    const image = await busyboxArchive(testDir(), {
      reference: "noshell:1",
      empty: true,
      files: { "data/readme": "text" },
      config: { Cmd: ["sh"] },
    });
    expect((await engine.berth(["load", "-q", "-i", image])).code).toBe(0);
    const none = await engine.berth(["run", "--rm", "noshell:1"]);
    expect(none.code).toBe(127);
    expect(none.stderr).toContain('exec: "sh": executable file not found in $PATH');
    const format = await engine.berth(["run", "--rm", "noshell:1", "/data/readme"]);
    expect(format.stderr).toMatch(/exec format error|no such file/);
    expect([126, 127, 255]).toContain(format.code);
    await nothingMade();
  });

  it("paths with a new line, a space, an emoji or a quote are just paths", async () => {
    for (const name of ["a\nb", "with space", "⚓", 'it\'s "q"', "-dash", "ü,ö"]) {
      const dir = `${engine.dir}/${name}`;
      Deno.mkdirSync(dir);
      Deno.chownSync(dir, user.uid, user.gid);
      const body = {
        Image: "busybox",
        Cmd: ["sh", "-c", 'echo "$1" >"$0/out"', `/m/${name}`, name],
        HostConfig: { Mounts: [{ Type: "bind", Source: dir, Target: `/m/${name}` }] },
      };
      const made = await create(body);
      expect(made.status, made.body).toBe(201);
      const id = (JSON.parse(made.body) as { Id: string }).Id;
      expect(await call("POST", `/containers/${id}/start`)).toMatchObject({ status: 204 });
      expect(JSON.parse((await call("POST", `/containers/${id}/wait`)).body)).toMatchObject({
        StatusCode: 0,
      });
      expect(Deno.readTextFileSync(`${dir}/out`)).toBe(`${name}\n`);
      await call("DELETE", `/containers/${id}?force=1`);
    }
    await nothingMade();
  });

  it("an archive that is cut, empty, rubbish or hostile loads nothing", async () => {
    // Not the archive that is loaded: a layer that is there already is not read again, as in Docker.
    const other = await busyboxArchive(testDir(), {
      reference: "other:1",
      files: { "data/marker": String(Deno.pid) },
    });
    const bytes = Deno.readFileSync(other);
    const before = (await call("GET", "/images/json")).body;
    const evil = await evilArchive();
    const cases: [string, Uint8Array][] = [
      ["empty", new Uint8Array()],
      ["rubbish", new TextEncoder().encode("not a tar archive".repeat(100))],
      ["cut in the head", bytes.subarray(0, 700)],
      ["cut in the middle", bytes.subarray(0, bytes.length >> 1)],
      ["a flipped byte in the layer", bytes.map((byte, i) => (i === bytes.length >> 1 ? byte ^ 1 : byte))],
      ["hostile paths", evil],
    ];
    for (const [name, data] of cases) {
      const answer = await call("POST", "/images/load", data, "application/x-tar");
      expect(
        answer.status >= 400 || answer.body.includes('"error"'),
        `${name}: ${answer.status} ${answer.body}`,
      ).toBe(true);
    }
    expect((await call("GET", "/images/json")).body).toBe(before);
    expect([...Deno.readDirSync(`${engine.dataRoot}/tmp`)]).toEqual([]);
    expect(() => Deno.statSync("/tmp/berth-evil")).toThrow();
    await nothingMade();
  });

  /** A layer with `../` members and a link to the outside that is written through. */
  async function evilArchive(): Promise<Uint8Array> {
    const rootfs = await Deno.makeTempDir({ dir: testDir() });
    await busyboxRootfs(rootfs, { links: { out: "/tmp" } });
    const tar = `${testDir()}/evil-${user.uid}`;
    await Deno.mkdir(tar, { recursive: true });
    const path = await packDockerArchive(rootfs, tar, { reference: "evil:2" });
    const name = `${tar}/x`;
    await Deno.mkdir(name);
    const script = `cd "$0" && tar -xf "$1" && d=$(ls -d */) && cd $d && echo evil >f &&
      tar -P --transform 's,^f$,../../../../../../tmp/berth-evil,' -rf layer.tar f && tar --transform 's,^f$,out/berth-evil,' -rf layer.tar f &&
      new=$(sha256sum layer.tar | cut -d' ' -f1) && rm f && cd .. && sed -i "s/sha256:[0-9a-f]*/sha256:$new/" [0-9a-f]*.json &&
      tar -cf ../evil.tar manifest.json *.json */layer.tar`;
    const made = await new Deno.Command("sh", { args: ["-c", script, name, path] }).output();
    if (!made.success) throw new Error(new TextDecoder().decode(made.stderr));
    const bytes = Deno.readFileSync(`${tar}/evil.tar`);
    await Deno.remove(tar, { recursive: true });
    await Deno.remove(rootfs, { recursive: true });
    return bytes;
  }
});

describeWith(BUSYBOX, ROOT)("a full disk and a read-only directory", () => {
  it("a data root on a small tmpfs: load and create fail with words, the engine goes on, the space is given back", async () => {
    const user = currentUser();
    const archive = await busyboxArchive(testDir());
    // The small file system lives in a mount namespace of its own, made by unshare around the engine.
    await using engine = await startEngine({ user, smallDisk: "1m" });
    const load = await engine.berth(["load", "-i", archive]);
    expect(load.code).toBe(1);
    expect(load.stderr + load.stdout).toMatch(/no space left on device/i);
    expect((await engine.berth(["images", "-q", "--filter", "reference=busybox"])).stdout).toBe("");
    expect((await engine.berth(["version"])).code).toBe(0);
  });

  it("a data root that cannot be written: the engine says which and ends", async () => {
    const [user] = usersToTest();
    if (user === undefined || user.uid === 0) return;
    const dir = await Deno.makeTempDir({ dir: testDir() });
    await Deno.chmod(dir, 0o555);
    await expect(startEngine({ user, args: ["--data-root", `${dir}/data`] })).rejects.toThrow(
      /[Pp]ermission denied|cannot/,
    );
    await Deno.remove(dir);
  });
});
