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
      Context: "default",
      Plugins: [],
      Warnings: null,
    };
    let info: Info | undefined;
    let failure: unknown;
    try {
      info = await client.json<Info>("GET", "/info");
    } catch (error) {
      failure = error;
    }
    if (flags.format !== "") {
      if (failure !== undefined) throw failure;
      await formatted({ ...info, ClientInfo: clientInfo }, flags.format);
      return;
    }
    print(
      `Client:\n Version:    ${VERSION}\n Context:    default\n Debug Mode: ${session.debug}\n\nServer:\n`,
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

async function formatted(info: object, format: string): Promise<void> {
  const { goJson } = await import("../template/values.ts");
  if (format === "json") return print(`${goJson(info)}\n`);
  const { Template } = await import("../template/execute.ts");
  const { asTemplateText } = await import("../output/template_text.ts");
  const { asGoTypes } = await import("../template/go_types.ts");
  try {
    print(`${new Template(asTemplateText(format)).render(asGoTypes(info))}\n`);
  } catch (error) {
    throw new CliError(error instanceof Error ? error.message : String(error));
  }
}
