/** The engine's own diagnostics, on stderr, one line each in dockerd's forms. */

const LEVELS = ["debug", "info", "warn", "error", "fatal"] as const;
export type LogLevel = typeof LEVELS[number];
export type LogFields = Readonly<Record<string, string | number | boolean>>;

export const LOG_FORMATS = ["text", "json"] as const;
export type LogFormat = typeof LOG_FORMATS[number];

export interface Logger {
  debug(message: string, fields?: LogFields): void;
  info(message: string, fields?: LogFields): void;
  warn(message: string, fields?: LogFields): void;
  error(message: string, fields?: LogFields): void;
}

export function isLogLevel(text: string): text is LogLevel {
  return (LEVELS as readonly string[]).includes(text);
}

/**
 * @param level asked for at each line when it is a function: it may change.
 * @param write takes whole lines; stderr when absent. A full or closed stderr never stops the engine.
 */
export function createLogger(
  level: LogLevel | (() => LogLevel),
  write: (line: string) => void = writeStderr,
  format: LogFormat = "text",
): Logger {
  const least = () => LEVELS.indexOf(typeof level === "string" ? level : level());
  const at = (own: LogLevel) => (message: string, fields: LogFields = {}) => {
    if (LEVELS.indexOf(own) < least()) return;
    const name = own === "warn" ? "warning" : own;
    const time = new Date().toISOString();
    if (format === "json") {
      // In this order, and the fixed keys last: a field cannot take their place.
      write(`${JSON.stringify({ ...fields, level: name, msg: message, time })}\n`);
      return;
    }
    const rest = Object.entries(fields).map(([key, value]) => ` ${key}=${quote(String(value))}`).join("");
    write(`time=${quote(time)} level=${name} msg=${quote(message)}${rest}\n`);
  };
  return { debug: at("debug"), info: at("info"), warn: at("warn"), error: at("error") };
}

/** Go's logfmt: quoted unless plain, so that a name with a newline cannot forge a line. */
function quote(text: string): string {
  return /^[\w.\/@^+-]+$/.test(text) ? text : JSON.stringify(text);
}

const encoder = new TextEncoder();

function writeStderr(line: string): void {
  try {
    Deno.stderr.writeSync(encoder.encode(line));
  } catch {
    // Nobody reads it.
  }
}
