/** The first message of a build session. Its client is our own, maybe of another version. */
import * as z from "zod/mini";
import type { SessionRequest } from "../../base/build_session.ts";
import { invalid } from "../../base/errors.ts";

const maybe = z.exactOptional;
const text = z.string();
const texts = z.array(text);
const textMap = z.record(text, text);
const whole = z.int();

const upload = z.object({ kind: z.literal("upload"), stream: whole.check(z.gte(1)) });
const directory = z.object({
  kind: z.literal("directory"),
  stream: whole.check(z.gte(1)),
  origin: text.check(z.maxLength(8192)),
});
const remote = z.object({ kind: z.literal("remote"), url: text });
const image = z.object({ kind: z.literal("image"), reference: text });

const sessionRequest = z.object({
  dockerfile: maybe(z.object({ name: text, text })),
  dockerfilePath: maybe(text),
  context: maybe(z.discriminatedUnion("kind", [upload, directory, remote])),
  namedContexts: z.record(text, z.discriminatedUnion("kind", [upload, directory, remote, image])),
  target: maybe(text),
  buildArgs: textMap,
  labels: textMap,
  tags: texts,
  platform: maybe(text),
  noCache: z.boolean(),
  noCacheStages: texts,
  cacheFrom: texts,
  pull: z.boolean(),
  squash: z.boolean(),
  networkMode: text,
  extraHosts: texts,
  shmSize: maybe(whole),
  ulimits: z.array(z.object({ Name: text, Soft: whole, Hard: whole })),
  resources: z.record(text, z.union([z.number(), text])),
  output: z.enum(["image", "files", "oci", "docker", "none"]),
  check: z.boolean(),
});

const firstMessage = z.object({ kind: z.literal("build"), request: sessionRequest });

/** @throws {EngineError} invalid */
export function sessionRequestOf(message: unknown): SessionRequest {
  const result = z.safeParse(firstMessage, message);
  if (result.success) return result.data.request;
  const issue = result.error.issues[0];
  throw invalid(
    `the build session's request is none (${
      issue?.path.join(".")
    }): are command line and engine of different versions?`,
  );
}

const filesMessage = z.object({
  kind: z.literal("files"),
  stream: whole,
  files: z.array(z.tuple([text, text])),
  last: z.boolean(),
});

/** A part of a directory's list. @throws {EngineError} invalid */
export function filesOf(message: unknown): z.output<typeof filesMessage> {
  const result = z.safeParse(filesMessage, message);
  if (result.success) return result.data;
  throw invalid("the build session's client does not list the files of its context");
}

const answerMessage = z.object({ kind: z.literal("answer"), ask: whole, data: maybe(text) });

/** @throws {EngineError} invalid */
export function answerOf(message: unknown): z.output<typeof answerMessage> {
  const result = z.safeParse(answerMessage, message);
  if (result.success) return result.data;
  throw invalid("the build session's client answers what it was not asked");
}
