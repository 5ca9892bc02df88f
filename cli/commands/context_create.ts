import { defineCommand } from "../command.ts";
import { CliError } from "../errors.ts";
import { text } from "../flags/spec.ts";
import { printError, printLine } from "../stdio.ts";
import { dockerFlag, readEndpointConfig } from "../context/endpoint_config.ts";
import { checkNewName, copyContext } from "../context/source.ts";
import { ContextStore } from "../context/store.ts";

export const command = defineCommand({
  flags: {
    description: text("Description of the context"),
    docker: dockerFlag,
    from: text("create context from a named context"),
  },
  usage: "CONTEXT",
  count: { min: 1, max: 1 },
  run({ flags, changed, args: [name = ""], session }) {
    const store = new ContextStore();
    checkNewName(store, name);
    if (flags.from !== "" && changed.has("docker")) {
      throw new CliError("cannot use --docker flag when --from is set");
    }
    if (flags.from !== "" || !changed.has("docker")) {
      copyContext(store, session, flags.from || session.context, name, flags.description);
    } else {
      const { endpoint, tls } = readEndpointConfig(store, session, flags.docker);
      const Metadata = flags.description === "" ? {} : { Description: flags.description };
      store.write({ Name: name, Metadata, Endpoints: { docker: endpoint } }, tls);
    }
    printLine(name);
    printError(`Successfully created context ${JSON.stringify(name)}`);
    return Promise.resolve();
  },
});
