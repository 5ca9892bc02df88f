import { defineCommand, type Session } from "../command.ts";
import { contentOf } from "../context/source.ts";
import { type ContextMeta, ContextStore, DEFAULT_CONTEXT, metaText } from "../context/store.ts";
import { text } from "../flags/spec.ts";
import { printObjects } from "../inspect.ts";
import { FORMAT_HELP } from "../output/help_texts.ts";
import { asStruct, markMap } from "../template/values.ts";

/** What docker says of the paths of a context that has no files. */
const IN_MEMORY = "<IN MEMORY>";

export const command = defineCommand({
  flags: { format: text(FORMAT_HELP, { short: "f" }) },
  usage: "[CONTEXT] [CONTEXT...]",
  count: { min: 0 },
  completes: "context",
  async run({ flags, args, session }) {
    const store = new ContextStore();
    const names = args.length === 0 ? [session.context] : args;
    await printObjects(names, flags.format, (name) => inspected(store, session, name), {
      asGo: forTemplates,
    });
  },
});

interface Inspected extends ContextMeta {
  readonly TLSMaterial: Readonly<Record<string, readonly string[]>>;
  readonly Storage: { readonly MetadataPath: string; readonly TLSPath: string };
}

// An async function, so that what is not found is a failure of that one.
// deno-lint-ignore require-await
async function inspected(store: ContextStore, session: Session, name: string): Promise<Inspected> {
  const { meta, tls } = contentOf(store, session, name);
  const isDefault = name === DEFAULT_CONTEXT;
  return {
    ...JSON.parse(metaText(meta)) as ContextMeta,
    TLSMaterial: tls.size === 0 ? {} : { docker: [...tls.keys()] },
    Storage: {
      MetadataPath: isDefault ? IN_MEMORY : store.metadataPath(name),
      TLSPath: isDefault ? IN_MEMORY : store.tlsPath(name),
    },
  };
}

/**
 * docker's Go structure: the first three fields of the JSON are those of an embedded structure, which is called Metadata as one of
 * them is. So a template's `.Metadata` is all of them, where the JSON's is the description.
 */
function forTemplates(value: unknown): unknown {
  const { Name, Metadata: { Description = "", ...more }, Endpoints, TLSMaterial, Storage } =
    value as Inspected;
  const AdditionalFields = { ...more };
  const endpoints: Record<string, unknown> = {};
  for (const [key, { Host = "", SkipTLSVerify }] of Object.entries(Endpoints)) {
    endpoints[key] = asStruct({ Host, SkipTLSVerify }, "docker.EndpointMeta");
  }
  const material = { ...TLSMaterial };
  for (const map of [AdditionalFields, endpoints, material]) markMap(map);
  const Metadata = asStruct({
    Name,
    Metadata: asStruct({ Description, AdditionalFields }, "command.DockerContext"),
    Endpoints: endpoints,
  }, "store.Metadata");
  const whole = { Metadata, TLSMaterial: material, Storage: asStruct({ ...Storage }, "context.storage") };
  for (const [key, hidden] of Object.entries({ Name, Endpoints: endpoints, toJSON: () => value })) {
    Object.defineProperty(whole, key, { value: hidden, enumerable: false });
  }
  return asStruct(whole, "context.contextWithTLSListing");
}
