import { defineCommand } from "../command.ts";
import { CliError } from "../errors.ts";
import { bool, text } from "../flags/spec.ts";
import { ConfigFile, type Credentials } from "../registry/config_file.ts";
import { serverKey } from "../registry/server.ts";
import { print, printError, printLine, readLine, stdinBytes } from "../stdio.ts";
import type { ApiClient } from "../api_client.ts";

export const command = defineCommand({
  flags: {
    password: text("Password or Personal Access Token (PAT)", { short: "p" }),
    "password-stdin": bool("Take the Password or Personal Access Token (PAT) from stdin"),
    username: text("Username", { short: "u" }),
  },
  usage: "[SERVER]",
  count: { min: 0, max: 1 },
  async run({ flags, changed, args: [address = ""], client }) {
    if (changed.has("password") && flags["password-stdin"]) {
      throw new CliError("conflicting options: cannot specify both --password and --password-stdin");
    }
    if (flags["password-stdin"] && flags.username === "") {
      throw new CliError("the --password-stdin option requires --username to be set");
    }
    if (changed.has("password")) {
      printError("WARNING! Using --password via the CLI is insecure. Use --password-stdin.");
    }
    const server = serverKey(address);
    const config = ConfigFile.load();
    const password = flags["password-stdin"] ? await passwordFromStdin() : flags.password;
    if (flags.username === "" && password === "") {
      const known = await config.credentials(server);
      if (known !== undefined && await tryKnown(client, server, known)) return;
    }
    const given = await ask(flags.username, password);
    await login(client, config, server, given);
  },
});

/** Whether what is stored still works. */
async function tryKnown(client: ApiClient, server: string, known: Credentials): Promise<boolean> {
  const name = known.username === "" ? "" : ` [Username: ${known.username}]`;
  printLine(`Authenticating with existing credentials...${name}`);
  try {
    await attempt(client, server, known);
  } catch (error) {
    printError(`Login did not succeed, error: ${error instanceof Error ? error.message : error}`);
    return false;
  }
  printLine("\nLogin Succeeded");
  return true;
}

async function login(
  client: ApiClient,
  config: ConfigFile,
  server: string,
  given: Credentials,
): Promise<void> {
  const { Status = "", IdentityToken = "" } = await attempt(client, server, given);
  const changed = await config.store(server, {
    username: given.username,
    password: IdentityToken === "" ? given.password : "",
    identityToken: IdentityToken,
  });
  if (changed && config.helperOf(server) === "") {
    printError(
      `\nWARNING! Your credentials are stored unencrypted in '${config.path}'.\n` +
        "Configure a credential helper to remove this warning. See\n" +
        "https://docs.docker.com/go/credential-store/\n",
    );
  }
  if (Status !== "") printLine(Status);
}

async function attempt(
  client: ApiClient,
  server: string,
  { username, password, identityToken }: Credentials,
): Promise<{ Status?: string; IdentityToken?: string }> {
  return await client.json("POST", "/auth", {
    json: {
      ...(username === "" ? {} : { username }),
      ...(password === "" ? {} : { password }),
      serveraddress: server,
      ...(identityToken === "" ? {} : { identitytoken: identityToken }),
    },
  });
}

async function passwordFromStdin(): Promise<string> {
  const decoder = new TextDecoder();
  let text = "";
  for await (const chunk of stdinBytes()) text += decoder.decode(chunk, { stream: true });
  const password = (text + decoder.decode()).replace(/\r?\n$/, "");
  if (password === "") throw new CliError("password is empty");
  return password;
}

/** Asks for what is missing. */
async function ask(username: string, password: string): Promise<Credentials> {
  const missing = username === "" || password === "";
  if (missing && !Deno.stdin.isTerminal()) {
    throw new CliError("Error: Cannot perform an interactive login from a non TTY device");
  }
  const user = username || (await askUsername()).trim();
  if (user === "") throw new CliError("Error: Non-null Username Required");
  const secret = password || await askPassword();
  if (secret === "") throw new CliError("Error: Password Required");
  return { username: user, password: secret, identityToken: "" };
}

async function askUsername(): Promise<string> {
  print("Username: ");
  return await readLine();
}

async function askPassword(): Promise<string> {
  const { hiddenLine } = await import("../terminal/hidden_line.ts");
  return hiddenLine("Password: ");
}
