/** `GET /openapi.json`: the API as a version of it is served here. Loaded and made only when somebody asks. */
import { API_VERSION, MIN_API_VERSION, VERSION } from "../../base/version.ts";
import { compareVersions } from "../version.ts";
import { errorBody } from "./answers/system.ts";
import { BUILD_OPERATIONS } from "./build_operations.ts";
import { CONTAINER_OPERATIONS } from "./container_operations.ts";
import { IMAGE_OPERATIONS } from "./image_operations.ts";
import { componentSchemas, type Json, parameterSchemas, referTo } from "./json_schemas.ts";
import { isContent, type Operation } from "./operation.ts";
import { SYSTEM_OPERATIONS } from "./system_operations.ts";

export const OPERATIONS: readonly Operation[] = [
  ...CONTAINER_OPERATIONS,
  ...IMAGE_OPERATIONS,
  ...BUILD_OPERATIONS,
  ...SYSTEM_OPERATIONS,
];

const ABOUT =
  `Docker's Engine API, ${MIN_API_VERSION} to ${API_VERSION}, as berth serves it. Every path may begin with a version, as /v1.43 does; ` +
  "without one the newest is meant. Operations and parameters name the version that brought them in x-since. In requests null stands for a " +
  "missing field, and fields that are not known are ignored. Swarm's paths answer 503, and those of plugins 501.";

const REASONS: Readonly<Record<number, string>> = {
  101: "The connection is taken over.",
  200: "Done.",
  201: "Created.",
  204: "Done.",
  304: "Nothing was to do.",
  400: "A mistake of the client.",
  401: "The registry refuses the credentials.",
  403: "Not permitted.",
  404: "No such object.",
  409: "Its state does not allow it.",
  500: "The engine has failed.",
};

/**
 * @param version of the API that was asked for by the path's prefix; parameters that it does not know are left out.
 * @param prefix of the path, `/v1.43` or "".
 */
export function openApiDocument(version: string, prefix = ""): Json {
  const paths: Record<string, Json> = {};
  for (const operation of OPERATIONS) {
    const path = operation.path.replaceAll(/:([a-z]+)/g, "{$1}");
    (paths[path] ??= {})[operation.method] = operationJson(operation, version);
  }
  return {
    openapi: "3.1.0",
    info: {
      title: "berth",
      summary: "The Docker Engine API of a rootless container engine",
      description: ABOUT,
      version,
      license: { name: "Apache-2.0", identifier: "Apache-2.0" },
      "x-berth-version": VERSION,
    },
    servers: [{ url: prefix === "" ? "/" : prefix, description: "The socket that this document came from." }],
    tags: [...new Set(OPERATIONS.map(tagOf))].map((name) => ({ name })),
    paths,
    components: {
      schemas: componentSchemas(),
      responses: {
        Error: {
          description: "Refused; the message says why, and what to do about it.",
          content: { "application/json": { schema: referTo(errorBody) } },
        },
      },
    },
  };
}

/** "containers" of `/containers/{name}/json`. */
const tagOf = ({ path }: Operation): string =>
  /^\/(containers|images|networks|volumes|exec|plugins)\b/.exec(path)?.[1] ?? "system";

function operationJson(operation: Operation, version: string): Json {
  const { id, summary, since, body, status = 200, answer, hijack } = operation;
  const responses: Record<number, Json> = {
    [status]: {
      description: REASONS[status] ?? "Done.",
      ...(answer === undefined ? {} : contentOf(operation)),
    },
    ...(hijack ? { 101: { description: REASONS[101] } } : {}),
  };
  for (const refusal of [...operation.refusals, 500]) {
    // What HEAD and 304 answer has no body.
    responses[refusal] = refusal === 304 || operation.method === "head"
      ? { description: REASONS[refusal] }
      : { $ref: "#/components/responses/Error" };
  }
  const parameters = parametersOf(operation, version);
  return {
    operationId: id,
    summary,
    tags: [tagOf(operation)],
    ...(since === undefined ? {} : { "x-since": since }),
    ...(parameters.length === 0 ? {} : { parameters }),
    ...(body === undefined ? {} : { requestBody: bodyOf(body) }),
    responses,
  };
}

function contentOf({ answer, lines }: Operation): Json {
  if (answer === undefined) return {};
  if (isContent(answer)) {
    return { description: answer.description, content: { [answer.type]: {} } };
  }
  const schema = referTo(answer);
  return {
    ...(lines ? { description: "One object in each line." } : {}),
    content: { "application/json": { schema } },
  };
}

function bodyOf(body: NonNullable<Operation["body"]>): Json {
  if (isContent(body)) return { description: body.description, content: { [body.type]: {} } };
  return {
    required: body.optional !== true,
    content: { "application/json": { schema: referTo(body.schema) } },
  };
}

function parametersOf(operation: Operation, version: string): Json[] {
  const { path, query, required = [], newer = {}, repeated = {}, registryAuth } = operation;
  const isKnown = (since: string | undefined) => since === undefined || compareVersions(version, since) >= 0;
  const inPath = [...path.matchAll(/:([a-z]+)/g)].map(([, name]) => ({
    name,
    in: "path",
    required: true,
    description: "Name, id, or the beginning of an id.",
    schema: { type: "string" },
  }));
  const single = Object.entries(query === undefined ? {} : parameterSchemas(query))
    .filter(([name]) => isKnown(newer[name]))
    .map(([name, { description, ...schema }]) => ({
      name,
      in: "query",
      ...(required.includes(name) ? { required: true } : {}),
      ...(description === undefined ? {} : { description }),
      ...(newer[name] === undefined ? {} : { "x-since": newer[name] }),
      schema,
    }));
  const several = Object.entries(repeated)
    .filter(([, { since }]) => isKnown(since))
    .map(([name, { description, values, since }]) => ({
      name,
      in: "query",
      description,
      ...(since === undefined ? {} : { "x-since": since }),
      explode: true,
      schema: { type: "array", items: { type: "string", ...(values === undefined ? {} : { enum: values }) } },
    }));
  const headers = registryAuth
    ? [{
      name: "X-Registry-Auth",
      in: "header",
      description: "Credentials: the JSON of AuthConfig in base64.",
      schema: { type: "string" },
    }]
    : [];
  return [...inPath, ...single, ...several, ...headers];
}
