/** The programs that keep passwords for docker: `docker-credential-pass`, `-secretservice`, `-ecr-login`… (docker/docker-credential-helpers). */

import { CliError } from "../errors.ts";
import type { Credentials } from "./config_file.ts";

/** A user of this name means that the secret is an identity token. */
const TOKEN_USER = "<token>";

const NOT_FOUND = /credentials not found/;

async function call(helper: string, action: string, input: string): Promise<string> {
  const program = `docker-credential-${helper}`;
  if (!/^[\w.-]+$/.test(helper)) throw new CliError(`invalid credential helper ${JSON.stringify(helper)}`);
  let child: Deno.ChildProcess;
  try {
    child = new Deno.Command(program, { args: [action], stdin: "piped", stdout: "piped", stderr: "inherit" })
      .spawn();
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    throw new CliError(
      `error getting credentials - err: exec: "${program}": executable file not found in $PATH, out: \`\``,
    );
  }
  const writer = child.stdin.getWriter();
  await writer.write(new TextEncoder().encode(input)).catch(() => {});
  await writer.close().catch(() => {});
  const { code, stdout } = await child.output();
  const text = new TextDecoder().decode(stdout).trim();
  if (code !== 0) {
    throw new CliError(`error ${verb(action)} credentials - err: exit status ${code}, out: \`${text}\``);
  }
  return text;
}

const verb = (action: string): string =>
  ({ get: "getting", store: "storing", erase: "erasing" })[action] ?? "listing";

/** Undefined when the helper has none. */
export async function getCredentials(helper: string, server: string): Promise<Credentials | undefined> {
  let text: string;
  try {
    text = await call(helper, "get", server);
  } catch (error) {
    if (error instanceof CliError && NOT_FOUND.test(error.message)) return undefined;
    throw error;
  }
  const { Username = "", Secret = "" } = JSON.parse(text) as { Username?: string; Secret?: string };
  return Username === TOKEN_USER
    ? { username: "", password: "", identityToken: Secret }
    : { username: Username, password: Secret, identityToken: "" };
}

export async function storeCredentials(
  helper: string,
  server: string,
  credentials: Credentials,
): Promise<void> {
  const { username, password, identityToken } = credentials;
  const [Username, Secret] = identityToken === "" ? [username, password] : [TOKEN_USER, identityToken];
  await call(helper, "store", JSON.stringify({ ServerURL: server, Username, Secret }));
}

export async function eraseCredentials(helper: string, server: string): Promise<void> {
  try {
    await call(helper, "erase", server);
  } catch (error) {
    if (!(error instanceof CliError && NOT_FOUND.test(error.message))) throw error;
  }
}

/** The servers that the helper knows. */
export async function listCredentials(helper: string): Promise<string[]> {
  return Object.keys(JSON.parse(await call(helper, "list", "unused")) as Record<string, string>);
}
