import { defineCommand } from "../command.ts";
import { text } from "../flags/spec.ts";
import { printError, printLine } from "../stdio.ts";
import { dockerFlag, readEndpointConfig } from "../context/endpoint_config.ts";
import { checkContextName, ContextStore } from "../context/store.ts";

export const command = defineCommand({
  flags: { description: text("Description of the context"), docker: dockerFlag },
  usage: "CONTEXT",
  count: { min: 1, max: 1 },
  completes: "context",
  run({ flags, changed, args: [name = ""], session }) {
    const store = new ContextStore();
    checkContextName(name);
    const { Metadata, Endpoints, ...meta } = store.find(name);
    const described = flags.description === "" ? Metadata : { ...Metadata, Description: flags.description };
    const update = changed.has("docker") ? readEndpointConfig(store, session, flags.docker) : undefined;
    const endpoints = update === undefined ? Endpoints : { ...Endpoints, docker: update.endpoint };
    store.write({ ...meta, Metadata: described, Endpoints: endpoints }, update?.tls);
    printLine(name);
    printError(`Successfully updated context ${JSON.stringify(name)}`);
    return Promise.resolve();
  },
});
