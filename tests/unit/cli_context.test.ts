/** `berth context` against docker's own: the same words, and the same files. */
import { afterEach, beforeEach, expect, test } from "vitest";
import { runBerth } from "../support/berth_cli.ts";
import { DOCKER_28 } from "../support/cli_comparison.ts";
import { dockerClients } from "../support/docker_clients.ts";
import { describeWith, program } from "../support/needs.ts";
import { scriptedEngine } from "../support/scripted_engine.ts";

const docker = dockerClients().find(({ version }) => version.startsWith("28."))?.path ?? "docker";

interface Outcome {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

let dir: string;
beforeEach(() => {
  dir = Deno.makeTempDirSync({ prefix: "berth-context-" });
  for (const name of ["docker", "berth"]) Deno.mkdirSync(`${dir}/${name}/work`, { recursive: true });
});
afterEach(() => Deno.removeSync(dir, { recursive: true }));

/** Both programs have a directory of their own, with `work` for files; their own names and paths are evened out. */
async function both(
  args: readonly string[],
  env: Record<string, string> = {},
  stdin?: string,
): Promise<{ docker: Outcome; berth: Outcome }> {
  const variables = (name: string) => ({
    DOCKER_HOST: "",
    DOCKER_CONTEXT: "",
    BERTH_HOST: "",
    DOCKER_CONFIG: `${dir}/${name}`,
    XDG_RUNTIME_DIR: "/none",
    ...env,
  });
  const filled = (name: string) => args.map((arg) => arg.replaceAll("WORK", `${dir}/${name}/work`));
  const own = await runBerth(filled("berth"), {
    env: variables("berth"),
    ...(stdin === undefined ? {} : { stdin }),
  });
  const child = new Deno.Command(docker, {
    args: filled("docker"),
    env: variables("docker"),
    stdin: stdin === undefined ? "null" : "piped",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  if (stdin !== undefined) {
    const writer = child.stdin.getWriter();
    await writer.write(new TextEncoder().encode(stdin)).catch(() => {});
    await writer.close().catch(() => {});
  }
  const theirs = await child.output();
  const decoder = new TextDecoder();
  return {
    docker: even(
      { code: theirs.code, stdout: decoder.decode(theirs.stdout), stderr: decoder.decode(theirs.stderr) },
      "docker",
    ),
    berth: even(own, "berth"),
  };
}

function even({ code, stdout, stderr }: Outcome, name: string): Outcome {
  const text = (words: string) =>
    words.replaceAll(`${dir}/${name}`, "CONFIG").replaceAll(/unix:\/\/\/\S*(?:docker|berth)\.sock/g, "OWN")
      .replaceAll(/ {2,}/g, "  ").replaceAll("docker", "berth");
  return { code, stdout: text(stdout), stderr: text(stderr).replaceAll(/\S*…/g, "…") };
}

/** Every file below a directory with its mode and its text. */
function tree(name: string): Record<string, string> {
  const found: Record<string, string> = {};
  const walk = (path: string) => {
    for (const entry of Deno.readDirSync(path)) {
      const inner = `${path}/${entry.name}`;
      const key = inner.slice(`${dir}/${name}`.length);
      const mode = ((Deno.lstatSync(inner).mode ?? 0) & 0o777).toString(8);
      if (entry.isDirectory) {
        // An empty one is docker's after a removal.
        walk(inner);
      } else found[`${mode} ${key}`] = textOf(inner, entry.name);
    }
  };
  walk(`${dir}/${name}`);
  return found;
}

/** What berth notes for itself is its own. */
function textOf(path: string, name: string): string {
  const text = [...Deno.readFileSync(path)].map((byte) => String.fromCharCode(byte)).join("");
  if (name !== "config.json") return text.replaceAll(/unix:\/\/\/[^"]*(?:docker|berth)\.sock/g, "OWN");
  const { plugins: _, ...rest } = JSON.parse(text) as Record<string, unknown>;
  return JSON.stringify(rest);
}

async function same(args: readonly string[], env?: Record<string, string>, stdin?: string): Promise<Outcome> {
  const { docker: theirs, berth } = await both(args, env, stdin);
  expect(berth, args.join(" ")).toEqual(theirs);
  return berth;
}

/** The same PEM files for both. */
async function certificates(): Promise<string> {
  const made = await new Deno.Command("openssl", {
    args: [
      "req",
      "-x509",
      "-newkey",
      "ec",
      "-pkeyopt",
      "ec_paramgen_curve:P-256",
      "-nodes",
      "-days",
      "1",
      "-subj",
      "/CN=x",
    ]
      .concat(["-keyout", `${dir}/key.pem`, "-out", `${dir}/cert.pem`]),
    stderr: "null",
  }).output();
  expect(made.success).toBe(true);
  return `ca=${dir}/cert.pem,cert=${dir}/cert.pem,key=${dir}/key.pem`;
}

const context = (...args: string[]) => ["context", ...args];
const remote = ["--description", "a <machine> & more", "--docker", "host=tcp://h:1"];

describeWith(DOCKER_28, program("openssl", "openssl"))("berth context", () => {
  test("create, ls, inspect and show are docker's", async () => {
    const files = await certificates();
    for (
      const args of [
        context("create", "first", ...remote.slice(0, 3), `host=tcp://h:1,${files}`),
        context("create", "first"),
        context("create", "second", "--docker", "host=unix:///x.sock,skip-tls-verify=true"),
        context("create", "third", "--from", "first"),
        context("create", "fourth", "--docker", "from=first", "--description", "d"),
        context("create", "fifth", "--docker", "host=tcp://z", "--docker", "skip-tls-verify=1"),
        context("create", "sixth", "--docker", "host="),
        context("create", "of-default", "--from", "default"),
        context("ls"),
        context("ls", "-q"),
        context("ls", "--quiet", "--format", "json"),
        context("list", "--format", "json"),
        context("ls", "--format", "{{.Name}}|{{.Current}}|{{.Description}}|{{.DockerEndpoint}}|{{.Error}}"),
        context("ls", "--format", "table {{.Name}}\t{{.Error}}"),
        context("ls", "--format", "{{if .Current}}{{json .}}{{end}}"),
        context("ls", "--format", "{{.Nosuch}}"),
        context("inspect"),
        context("inspect", "first", "second", "nosuch"),
        context("inspect", "-f", "json", "first"),
        context("inspect", "-f", "{{.Name}} {{.Endpoints.docker.Host}} {{.TLSMaterial}}", "first", "second"),
        context(
          "inspect",
          "-f",
          "{{.Metadata.Name}} {{.Metadata.Metadata.Description}} {{.Metadata}}",
          "first",
        ),
        context("inspect", "-f", "{{json .Endpoints}} {{json .}}", "second"),
        context("inspect", "-f", "{{.}}", "second"),
        context("inspect", "-f", "{{.Nosuch}}", "second"),
        context("show"),
      ]
    ) await same(args);
    expect(tree("berth")).toEqual(tree("docker"));
  });

  test("names and configurations that cannot be are refused in docker's words", async () => {
    Deno.writeTextFileSync(`${dir}/text`, "hello\n");
    for (
      const args of [
        context("create", "a"),
        context("create", "b/c"),
        context("create", ""),
        context("create", "default"),
        context("create", "aa", "--from", "nosuch"),
        context("create", "aa", "--from", "default", "--docker", "host=x"),
        context("create", "aa", "--docker", "from=nosuch"),
        context("create", "aa", "--docker", "nosuch=1"),
        context("create", "aa", "--docker", ""),
        context("create", "aa", "--docker", "host"),
        context("create", "aa", "--docker", `ca=${dir}/nothing`),
        context("create", "aa", "--docker", `host=tcp://h,ca=${dir}/text`),
        context("create", "aa", "--docker", "host=tcp://h,skip-tls-verify=maybe"),
        context("create"),
        context("update", "default", "--description", "x"),
        context("update", "nosuch", "--description", "x"),
        context("use", "nosuch"),
        context("use", ""),
        context("inspect", "nosuch"),
        context("rm", "nosuch", "default"),
        context("rm", "-f", "nosuch", "default"),
        context("export", "nosuch", "-"),
        context("import", "default", "WORK/x"),
        context("import", "aa", "WORK/x"),
        context("nosuch"),
        context("ls", "-f", "x"),
      ]
    ) await same(args);
    expect(tree("berth")).toEqual(tree("docker"));
  });

  test("use, update and rm change the same files", async () => {
    await same(context("create", "first", ...remote.slice(0, 3), `host=tcp://h:1,${await certificates()}`));
    await same(context("create", "second", "--docker", "host=tcp://k"));
    const env = { DOCKER_HOST: "unix:///q" };
    for (
      const [args, variables] of [
        [context("use", "first")],
        [context("show")],
        [context("ls")],
        [context("inspect")],
        [context("create", "copy")],
        [context("rm", "first")],
        [context("update", "first", "--description", "new")],
        [context("update", "first")],
        [context("inspect", "first")],
        [context("update", "first", "--docker", "host=tcp://other")],
        [context("inspect", "first")],
        [context("use", "second"), env],
        [context("show"), env],
        [context("ls"), env],
        [context("ls"), { DOCKER_CONTEXT: "copy" }],
        [context("show"), { DOCKER_CONTEXT: "nosuch" }],
        [context("ls"), { DOCKER_CONTEXT: "nosuch" }],
        [context("rm", "copy"), { DOCKER_CONTEXT: "copy" }],
        [["-c", "copy", "context", "show"]],
        [["-H", "unix:///qq", "context", "ls"]],
        [context("use", "default")],
        [context("use", "second")],
        [context("rm", "-f", "second", "first")],
        [context("ls")],
      ] as const
    ) await same(args, variables);
    expect(tree("berth")).toEqual(tree("docker"));
  });

  test("export and import understand each other's archives", async () => {
    await same(context("create", "first", ...remote.slice(0, 3), `host=tcp://h:1,${await certificates()}`));
    await same(context("export", "first", "WORK/archive"));
    await same(context("export", "first", "WORK/archive"));
    await same(context("export", "first", "-"));
    await same(context("export", "default", "-"), { DOCKER_HOST: "unix:///q" });
    await same(context("import", "second", "WORK/archive"));
    await same(context("import", "second", "WORK/archive"));
    await same(context("inspect", "second"));
    await same(context("import", "third", "-"), {}, Deno.readTextFileSync(`${dir}/docker/work/archive`));
    Deno.writeTextFileSync(`${dir}/text`, "hello\n");
    Deno.writeTextFileSync(`${dir}/empty`, "");
    for (const file of ["text", "empty"]) await same(context("import", "fourth", `${dir}/${file}`));
    expect(tree("berth")).toEqual(tree("docker"));
  });

  test("--help of each is docker's", async () => {
    // That of rm leaves [OPTIONS] out, and lists one.
    for (const verb of ["create", "export", "import", "inspect", "ls", "show", "update", "use"]) {
      await same(context(verb, "--help"));
    }
  });

  test("counts for berth when berth chose it, not when docker did", async () => {
    await both(context("create", "first", "--docker", "host=tcp://h:1"));
    const env = { DOCKER_CONFIG: `${dir}/berth`, DOCKER_CONTEXT: "" };
    const show = async () => (await runBerth(context("show"), { env })).stdout;
    expect(await show()).toBe("default\n");
    await runBerth(context("use", "first"), { env });
    expect(await show()).toBe("first\n");
    // docker keeps berth's note, and changes the context.
    const use = (name: string) => new Deno.Command(docker, { args: context("use", name), env }).output();
    await use("default");
    expect(await show()).toBe("default\n");
    await use("first");
    expect(await show()).toBe("first\n");
  });

  test("info names the one that counts", async () => {
    await using engine = scriptedEngine((_request, connection) =>
      connection.answer(200, {}, { "Api-Version": "1.51" })
    );
    const env = { DOCKER_CONFIG: `${dir}/berth` };
    await runBerth(context("create", "first", "--docker", `host=${engine.host}`), { env });
    const info = async (...args: string[]) => (await runBerth([...args], { env })).stdout;
    expect(await info("-c", "first", "info")).toContain("\n Context:    first\n");
    expect(await info("-c", "first", "info", "-f", "{{.ClientInfo.Context}}")).toBe("first\n");
    expect(await info("-H", engine.host, "info", "-f", "{{.ClientInfo.Context}}")).toBe("default\n");
  });
});
