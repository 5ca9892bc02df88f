import { EngineError, type ErrorKind, messageOf } from "../../base/errors.ts";
import { parseChallenges } from "./challenge.ts";

/** An answer of a registry that is no success. `code` is the first of its error codes (distribution-spec, "Error Codes"), or "". */
export class RegistryError extends EngineError {
  readonly status: number;
  readonly code: string;
  /** How long the registry wants to be left alone. */
  readonly retryAfterMs: number | undefined;

  constructor(message: string, status: number, code: string, retryAfterMs?: number) {
    super(kindOf(status, code), message);
    this.status = status;
    this.code = code;
    this.retryAfterMs = retryAfterMs;
  }

  /** Whether asking again may help. */
  get transient(): boolean {
    return this.status === 429 || this.status === 408 || this.status >= 500;
  }
}

function kindOf(status: number, code: string): ErrorKind {
  if (status === 404 || code === "DENIED" && status !== 403) return "not-found";
  if (status === 401) return "unauthorized";
  if (status === 403) return "forbidden";
  return "system";
}

/** The registry could not be reached, or went away in the middle. Asking again may help. */
export class ConnectionError extends EngineError {
  constructor(method: string, url: string, cause: unknown) {
    super("system", `${goMethod(method)} ${JSON.stringify(url)}: ${reasonOf(cause)}`, { cause });
  }
}

/** Whether the same request may succeed a little later. */
export function isTransient(error: unknown): boolean {
  return error instanceof ConnectionError || error instanceof RegistryError && error.transient;
}

/** "GET" as Go's client writes it in its errors: "Get". */
const goMethod = (method: string): string => method.slice(0, 1) + method.slice(1).toLowerCase();

/** The last reason of a chain of causes, without the URL that it repeats. */
function reasonOf(error: unknown): string {
  let reason = messageOf(error);
  for (let cause = error; cause instanceof Error; cause = cause.cause) reason = cause.message;
  return reason
    .replace(/^error sending request(?: from \S+)? for url \(\S*\)(?: \(\S+\))?: /, "")
    .replace(/^client error \(\w+\): /, "")
    .replace(/^dns error: failed to lookup address information: .*$/, "no such host")
    .replace(/^tcp connect error: /, "")
    .replace(/ \(os error \d+\)$/, "");
}

/** Longest error body that is read. */
const MAX_ERROR_BODY = 64 * 1024;

/** The error that a response stands for; its body is read to the end or thrown away. */
export async function errorOf(response: Response): Promise<RegistryError> {
  const text = await limitedText(response);
  const retryAfter = Number(response.headers.get("retry-after"));
  const retryAfterMs = retryAfter > 0 ? retryAfter * 1000 : undefined;
  const errors = errorsIn(text);
  const { status } = response;
  const refused = bearerRefusal(response);
  if (refused !== undefined) return refused;
  if (errors.length > 0) {
    const message = errors.map(({ code, message }) => {
      const name = code.toLowerCase().replaceAll("_", " ");
      return message === "" ? name : `${name}: ${message}`;
    }).join("\n");
    return new RegistryError(message, status, errors[0]?.code ?? "", retryAfterMs);
  }
  if (status === 401) {
    return new RegistryError(`unauthorized: ${detailsIn(text) || UNAUTHORIZED}`, status, "UNAUTHORIZED");
  }
  if (status === 403) {
    return new RegistryError(`denied: ${detailsIn(text) || DENIED}`, status, "DENIED");
  }
  if (status === 429) {
    return new RegistryError("toomanyrequests: " + (text.trim() || "rate limit"), status, "", retryAfterMs);
  }
  const shown = text.trim() === "" ? "" : `: ${text.trim().slice(0, 200)}`;
  return new RegistryError(
    `received unexpected HTTP status: ${status} ${response.statusText}`.trimEnd() + shown,
    status,
    "",
    retryAfterMs,
  );
}

const UNAUTHORIZED = "authentication required";
const DENIED = "requested access to the resource is denied";

/**
 * What a registry says of a token beside the challenge (RFC 6750, 3.1); it counts before the body. Docker Hub answers so
 * for what does not exist as well as for what is private.
 */
function bearerRefusal(response: Response): RegistryError | undefined {
  if (response.status < 400 || response.status >= 500) return undefined;
  for (const { scheme, parameters } of parseChallenges(response.headers.get("www-authenticate") ?? "")) {
    if (scheme !== "bearer") continue;
    const { error, error_description: description } = parameters;
    if (error === "insufficient_scope") {
      return new RegistryError(`denied: ${description || DENIED}`, response.status, "DENIED");
    }
    if (error === "invalid_token") {
      return new RegistryError(
        `unauthorized: ${description || UNAUTHORIZED}`,
        response.status,
        "UNAUTHORIZED",
      );
    }
  }
  return undefined;
}

/** The reason in the older form of errors, which token servers still use: `{"details": "incorrect username or password"}`. */
function detailsIn(text: string): string {
  try {
    const { details } = (JSON.parse(text) ?? {}) as { details?: unknown };
    return typeof details === "string" ? details : "";
  } catch {
    return "";
  }
}

async function limitedText(response: Response): Promise<string> {
  const decoder = new TextDecoder();
  let text = "";
  try {
    for await (const chunk of response.body ?? []) {
      text += decoder.decode(chunk, { stream: true });
      if (text.length > MAX_ERROR_BODY) break;
    }
  } catch {
    // the status says enough
  }
  return text;
}

function errorsIn(text: string): { code: string; message: string }[] {
  try {
    const value = JSON.parse(text) as { errors?: unknown } | null;
    if (!Array.isArray(value?.errors)) return [];
    return value.errors.flatMap((error: unknown) => {
      const { code, message } = (error ?? {}) as { code?: unknown; message?: unknown };
      return typeof code === "string" ? [{ code, message: typeof message === "string" ? message : "" }] : [];
    });
  } catch {
    return [];
  }
}
