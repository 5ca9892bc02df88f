import { VERSION } from "../../base/version.ts";
import { defineCommand } from "../command.ts";
import { ApiError, CliError, ConnectError } from "../errors.ts";
import { text } from "../flags/spec.ts";
import { describeInfo, type Info } from "../output/info_text.ts";
import { FORMAT_HELP } from "../output/help_texts.ts";
import { print, printError } from "../stdio.ts";

export const command = defineCommand({
  flags: { format: text(FORMAT_HELP, { short: "f" }) },
  usage: "",
  count: { min: 0, max: 0 },
  async run({ flags, client, session }) {
    const clientInfo = {
      Debug: session.debug,
      Version: VERSION,
      Context: session.context,
      Plugins: [],
      Warnings: null,
    };
    if (flags.format !== "") {
      const fetched = client.json<Info>("GET", "/info");
      // It is the template that is read first: what is wrong with it is told first.
      fetched.catch(() => {});
      return await formatted(fetched, clientInfo, flags.format);
    }
    let info: Info | undefined;
    let failure: unknown;
    try {
      info = await client.json<Info>("GET", "/info");
    } catch (error) {
      failure = error;
    }
    print(
      `Client:\n Version:    ${VERSION}\n Context:    ${session.context}\n Debug Mode: ${session.debug}\n\nServer:\n`,
    );
    if (info !== undefined) {
      print(describeInfo(info) + "\n");
      for (const warning of info.Warnings ?? []) printError(warning);
      return;
    }
    if (failure instanceof ConnectError) throw failure;
    if (!(failure instanceof ApiError)) throw failure;
    printError(`ERROR: Error response from daemon: ${failure.message}`);
    throw new CliError("errors pretty printing info");
  },
});

async function formatted(fetched: Promise<Info>, client: object, format: string): Promise<void> {
  const { asStruct, plainJson } = await import("../template/values.ts");
  if (format === "json") return print(`${plainJson({ ...await fetched, ClientInfo: client })}\n`);
  const { Template } = await import("../template/execute.ts");
  const { orTemplateError, TEMPLATE_ERROR, TEMPLATE_EXIT } = await import(
    "../output/template_text.ts"
  );
  const { asGoTypes } = await import("../template/go_types.ts");
  const template = orTemplateError(TEMPLATE_ERROR, () => new Template(format), TEMPLATE_EXIT);
  const info = asGoTypes({ ...await fetched, ClientInfo: client }) as object;
  print(`${orTemplateError("", () => template.render(asStruct(info, "system.dockerInfo")))}\n`);
}
