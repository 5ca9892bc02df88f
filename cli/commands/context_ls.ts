import { messageOf } from "../../base/errors.ts";
import { defineCommand } from "../command.ts";
import { DEFAULT_DESCRIPTION } from "../context/source.ts";
import { type ContextMeta, ContextStore, DEFAULT_CONTEXT } from "../context/store.ts";
import { bool, text } from "../flags/spec.ts";
import { LIST_FORMAT_HELP } from "../output/help_texts.ts";
import { formatList } from "../output/list_format.ts";
import { compareNaturally } from "../output/natural_order.ts";
import { print, printError } from "../stdio.ts";

/** Longer errors are cut. */
const MAX_ERROR = 45;

const TABLE = "table {{.Name}}{{if .Current}} *{{end}}\t{{.Description}}\t{{.DockerEndpoint}}\t{{.Error}}";

interface Listed {
  readonly name: string;
  readonly description: string;
  readonly host: string;
  readonly error: string;
}

export const command = defineCommand({
  flags: {
    format: text(LIST_FORMAT_HELP),
    quiet: bool("Only show context names", { short: "q" }),
  },
  usage: "",
  count: { min: 0, max: 0 },
  async run({ flags, session }) {
    const store = new ContextStore();
    const current = session.context;
    const items = store.list().map(listed);
    items.push({
      name: DEFAULT_CONTEXT,
      description: DEFAULT_DESCRIPTION,
      host: session.defaultHost,
      error: "",
    });
    if (!items.some(({ name }) => name === current)) items.push(missing(store, current));
    const isTable = flags.format === "" || flags.format === "table";
    print(
      await formatList({
        items: items.sort((a, b) => compareNaturally(a.name, b.name)),
        row: ({ name, description, host, error }) => ({
          Current: () => name === current,
          Description: () => description,
          DockerEndpoint: () => host,
          Error: () => error.length > MAX_ERROR ? `${error.slice(0, MAX_ERROR - 1)}…` : error,
          Name: () => name,
        }),
        type: "*formatter.clientContextContext",
        headers: {
          Name: "NAME",
          Description: "DESCRIPTION",
          DockerEndpoint: "DOCKER ENDPOINT",
          Error: "ERROR",
        },
        columns: [],
        format: flags.quiet ? "" : isTable ? TABLE : flags.format,
        quiet: flags.quiet ? "Name" : undefined,
      }),
    );
    if (Deno.env.get("DOCKER_HOST")) {
      printError(
        "Warning: DOCKER_HOST environment variable overrides the active context. To use a context, either set the global " +
          "--context flag, or unset DOCKER_HOST environment variable.",
      );
    }
  },
});

const listed = ({ Name, Metadata, Endpoints }: ContextMeta): Listed => ({
  name: Name,
  description: Metadata.Description ?? "",
  host: Endpoints.docker?.Host ?? "",
  error: "",
});

/** The current context, when there is none of that name. */
function missing(store: ContextStore, name: string): Listed {
  try {
    return listed(store.find(name));
  } catch (error) {
    return { name, description: "", host: "", error: messageOf(error) };
  }
}
