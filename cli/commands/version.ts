import { API_VERSION, buildTime, gitCommit, packaging, VERSION } from "../../base/version.ts";
import { compareVersions } from "../api_client.ts";
import { defineCommand } from "../command.ts";
import { ConnectError, describeError } from "../errors.ts";
import { text } from "../flags/spec.ts";
import { FORMAT_HELP } from "../output/help_texts.ts";
import { alignTabs } from "../output/table.ts";
import { print, printError } from "../stdio.ts";

interface ServerVersion {
  Platform?: { Name?: string };
  Components?: { Name: string; Version: string; Details?: Record<string, string> | null }[] | null;
  Version?: string;
  ApiVersion?: string;
  [key: string]: unknown;
}

export const command = defineCommand({
  flags: { format: text(FORMAT_HELP, { short: "f" }) },
  usage: "",
  count: { min: 0, max: 0 },
  async run({ flags, client, session }) {
    const show = await printer(flags.format);
    let server: ServerVersion | null = null;
    let failure: unknown;
    let apiVersion = API_VERSION;
    try {
      server = await client.json<ServerVersion>("GET", "/version");
      apiVersion = await client.version();
    } catch (error) {
      failure = error;
    }
    if (server?.ApiVersion !== undefined && compareVersions(server.ApiVersion, apiVersion) < 0) {
      apiVersion = server.ApiVersion;
    }
    const versions = {
      Client: {
        Version: VERSION,
        ApiVersion: apiVersion,
        DefaultAPIVersion: API_VERSION,
        GitCommit: gitCommit(),
        GoVersion: "",
        DenoVersion: Deno.version.deno,
        V8Version: Deno.version.v8,
        Os: Deno.build.os,
        Arch: architecture(),
        BuildTime: buildTime(),
        Packaging: packaging(),
        Context: session.context,
        Host: session.endpoint.url,
      },
      Server: server,
    };
    show(versions, apiVersion);
    if (failure === undefined) return 0;
    if (!(failure instanceof ConnectError)) throw failure;
    printError(describeError(failure));
    return 1;
  },
});

/** Go's name for the processor. */
function architecture(): string {
  return Deno.build.arch === "aarch64" ? "arm64" : "amd64";
}

interface Versions {
  Client: Record<string, string>;
  Server: ServerVersion | null;
}

async function printer(format: string): Promise<(versions: Versions, apiVersion: string) => void> {
  if (format === "") {
    return (versions, apiVersion) => print(alignTabs(describeVersions(versions, apiVersion), 20, 1) + "\n");
  }
  const { asStruct, plainJson } = await import("../template/values.ts");
  if (format === "json") return (versions) => print(`${plainJson(versions)}\n`);
  const { Template } = await import("../template/execute.ts");
  const { orTemplateError, TEMPLATE_ERROR, TEMPLATE_EXIT } = await import(
    "../output/template_text.ts"
  );
  const { asGoTypes } = await import("../template/go_types.ts");
  const template = orTemplateError(
    TEMPLATE_ERROR,
    () => new Template(format, "version"),
    TEMPLATE_EXIT,
  );
  return ({ Client, Server }, apiVersion) => {
    // Templates know both spellings: the JSON one, and Go's field name.
    const client = { ...Client, APIVersion: apiVersion };
    const server = Server && { ...Server, APIVersion: Server.ApiVersion };
    const versions = asStruct({
      Client: asStruct(asGoTypes(client) as object, "system.clientVersion"),
      Server: server && asStruct(asGoTypes(server) as object, "*types.Version"),
    }, "system.versionInfo");
    print(`${orTemplateError("", () => template.render(versions))}\n`);
  };
}

function describeVersions({ Client, Server }: Versions, apiVersion: string): string {
  const downgraded = apiVersion === API_VERSION ? "" : ` (downgraded from ${API_VERSION})`;
  const lines = [
    "Client: berth",
    ` Version:\t${Client.Version}`,
    ` API version:\t${apiVersion}${downgraded}`,
    ` Deno version:\t${Client.DenoVersion}`,
    ` Git commit:\t${Client.GitCommit}`,
    ` Built:\t${Client.BuildTime}`,
    ` Packaging:\t${Client.Packaging}`,
    ` OS/Arch:\t${Client.Os}/${Client.Arch}`,
    ` Context:\t${Client.Context}`,
  ];
  if (Server === null) return lines.join("\n");
  const platform = Server.Platform?.Name ?? "";
  lines.push("", `Server:${platform === "" ? "" : ` ${platform}`}`);
  const components = Server.Components ??
    [{ Name: "Engine", Version: Server.Version ?? "", Details: details(Server) }];
  for (const { Name, Version, Details } of components) {
    const known = Details ?? {};
    lines.push(` ${Name}:`, `  Version:\t${Version}`);
    if (Name !== "Engine") {
      lines.push(...Object.keys(known).sort().map((key) => `  ${key}:\t${known[key]}`));
      continue;
    }
    const rows: [string, string | undefined][] = [
      [
        "API version",
        known.ApiVersion && `${known.ApiVersion} (minimum version ${known.MinAPIVersion ?? ""})`,
      ],
      ["Go version", known.GoVersion],
      ["Deno version", known.DenoVersion],
      ["Git commit", known.GitCommit],
      ["Built", known.BuildTime],
      ["Packaging", known.Packaging],
      ["OS/Arch", `${known.Os ?? ""}/${known.Arch ?? ""}`],
      ["Experimental", known.Experimental],
    ];
    lines.push(...rows.filter(([, value]) => value).map(([name, value]) => `  ${name}:\t${value}`));
  }
  return lines.join("\n");
}

function details(server: ServerVersion): Record<string, string> {
  return Object.fromEntries(
    Object.entries(server).flatMap(([key, value]): [string, string][] =>
      typeof value === "string" || typeof value === "boolean" ? [[key, String(value)]] : []
    ),
  );
}
