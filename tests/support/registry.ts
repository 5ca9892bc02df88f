/** Real registries on loopback for tests: Debian's docker-registry, with or without TLS and passwords. */
import { type Need, need, program } from "./needs.ts";
import { waitFor } from "./processes.ts";

export const REGISTRY: Need = program("docker-registry", "docker-registry");

export interface RegistryOptions {
  /** Where its files go; removed by the caller. */
  readonly dir: string;
  /** Default 127.0.0.1. */
  readonly address?: string;
  readonly tls?: { readonly cert: string; readonly key: string; readonly clientAuthority?: string };
  /** Passwords by user. */
  readonly users?: Readonly<Record<string, string>>;
}

export class Registry implements AsyncDisposable {
  readonly port: number;
  readonly #dir: string;
  readonly #options: RegistryOptions;
  #child: Deno.ChildProcess | undefined;

  private constructor(options: RegistryOptions) {
    this.#options = options;
    const address = options.address ?? "127.0.0.1";
    // nobody else takes it in the moment between: the kernel gives out ports in turn
    using probe = Deno.listen({ hostname: address, port: 0 });
    this.port = probe.addr.port;
    this.#dir = Deno.makeTempDirSync({ dir: options.dir, prefix: "registry-" });
    this.#configure(address);
  }

  static async start(options: RegistryOptions): Promise<Registry> {
    const registry = new Registry(options);
    await registry.start();
    return registry;
  }

  /** `127.0.0.1:port`, or the address and port asked for. */
  get host(): string {
    return `${this.#options.address ?? "127.0.0.1"}:${this.port}`;
  }

  #configure(address: string): void {
    const { tls, users } = this.#options;
    const lines = [
      "version: 0.1",
      "log: {level: warn, accesslog: {disabled: true}}",
      `storage: {filesystem: {rootdirectory: "${this.#dir}/data"}}`,
      "http:",
      `  addr: "${address}:${this.port}"`,
    ];
    if (tls) {
      lines.push("  tls:", `    certificate: "${tls.cert}"`, `    key: "${tls.key}"`);
      if (tls.clientAuthority) lines.push(`    clientcas: ["${tls.clientAuthority}"]`);
    }
    if (users) {
      const file = Object.entries(users).map(([user, password]) => `${user}:${bcrypt(password)}\n`).join("");
      Deno.writeTextFileSync(`${this.#dir}/htpasswd`, file);
      lines.push("auth:", `  htpasswd: {realm: "tests", path: "${this.#dir}/htpasswd"}`);
    }
    Deno.writeTextFileSync(`${this.#dir}/config.yml`, `${lines.join("\n")}\n`);
  }

  /** Again after {@link kill9}, with what it has stored. */
  async start(): Promise<void> {
    const log = `${this.#dir}/log`;
    this.#child = new Deno.Command("sh", {
      args: ["-c", 'exec docker-registry serve "$0" >>"$1" 2>&1', `${this.#dir}/config.yml`, log],
      stdin: "null",
      stdout: "null",
      stderr: "null",
    }).spawn();
    let ended = false;
    this.#child.status.then(() => ended = true);
    await waitFor(
      async () => {
        if (ended) throw new Error(`docker-registry ended: ${Deno.readTextFileSync(log)}`);
        try {
          (await Deno.connect({ hostname: this.#options.address ?? "127.0.0.1", port: this.port })).close();
          return true;
        } catch {
          return false;
        }
      },
      10_000,
      () => `docker-registry does not answer: ${Deno.readTextFileSync(log)}`,
    );
  }

  async kill9(): Promise<void> {
    const child = this.#child;
    if (child === undefined) return;
    this.#child = undefined;
    child.kill("SIGKILL");
    await child.status;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.kill9();
  }
}

/** As htpasswd -B: the registry takes no other kind. */
function bcrypt(password: string): string {
  const { stdout } = new Deno.Command("perl", {
    args: ["-e", 'print crypt($ARGV[0], "\\$2b\\$05\\$berthberthberthberthb.")', password],
  }).outputSync();
  return new TextDecoder().decode(stdout);
}

/** Paths of PEM files: an authority, a server's certificate for `name` and a client's, both signed by it. */
export interface Certificates {
  readonly authority: string;
  readonly server: { readonly cert: string; readonly key: string };
  readonly client: { readonly cert: string; readonly key: string };
}

function openssl(...args: string[]): void {
  const { success, stderr } = new Deno.Command("openssl", { args, stdin: "null" }).outputSync();
  if (!success) throw new Error(`openssl: ${new TextDecoder().decode(stderr)}`);
}

/** As guides have people make it: one certificate, an authority's, that the server shows as its own. */
export function makeSelfSigned(dir: string, name: string): { cert: string; key: string } {
  const files = { cert: `${dir}/self.pem`, key: `${dir}/self.key` };
  openssl(
    ...["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", files.key, "-out", files.cert],
    ...["-subj", `/CN=${name}`, "-addext", `subjectAltName=DNS:${name}`, "-days", "2"],
  );
  return files;
}

export function makeCertificates(dir: string, name: string): Certificates {
  const key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
  const authority = `${dir}/ca.pem`;
  openssl(
    "req",
    "-x509",
    ...key,
    "-keyout",
    `${dir}/ca.key`,
    "-out",
    authority,
    "-subj",
    "/CN=tests",
    "-days",
    "2",
  );
  const signed = (who: string, usage: string) => {
    const files = { cert: `${dir}/${who}.pem`, key: `${dir}/${who}.key` };
    openssl("req", ...key, "-keyout", files.key, "-out", `${dir}/${who}.csr`, "-subj", `/CN=${who}`);
    const extensions = `${dir}/${who}.ext`;
    Deno.writeTextFileSync(
      extensions,
      `basicConstraints=CA:FALSE\nextendedKeyUsage=${usage}\nsubjectAltName=DNS:${name}\n`,
    );
    const signer = ["-CA", authority, "-CAkey", `${dir}/ca.key`, "-CAcreateserial", "-days", "2"];
    openssl(
      "x509",
      "-req",
      "-in",
      `${dir}/${who}.csr`,
      ...signer,
      "-extfile",
      extensions,
      "-out",
      files.cert,
    );
    return files;
  };
  return { authority, server: signed("server", "serverAuth"), client: signed("client", "clientAuth") };
}

/** A name other than localhost that leads to this machine alone: certificates count for it. Undefined when /etc/hosts has none. */
export function loopbackName(): string | undefined {
  for (const line of Deno.readTextFileSync("/etc/hosts").split("\n")) {
    const [address = "", ...names] = line.replace(/#.*/, "").trim().split(/\s+/);
    if (!/^127\./.test(address)) continue;
    const name = names.find((one) => !/localhost/.test(one) && /^[a-z0-9-]+$/.test(one));
    if (name !== undefined) return name;
  }
  return undefined;
}

/** A registry whose certificate counts. */
export const LOOPBACK_NAME: Need = need(
  loopbackName() !== undefined,
  "/etc/hosts has no name but localhost for 127.0.0.1: add this machine's",
);
