/** Lists as `ps` and `images` print them: a table, JSON lines, identifiers only, or a template. */

import { table } from "./table.ts";

/** One line's fields: texts or truths, computed when they are asked for, null when there is nothing to say; a function of arguments is a method (`.Label "x"`). */
export type Row = Readonly<Record<string, () => string | boolean | null>>;

export interface ListOptions<T> {
  readonly items: readonly T[];
  /** Fields of an item. */
  readonly row: (item: T) => Row;
  /** Methods that take arguments; they are no part of the JSON form. */
  readonly methods?: (item: T) => Readonly<Record<string, (...args: string[]) => string>>;
  /** Go's name of what a template is applied to, for errors. */
  readonly type: string;
  /** Header of every field. */
  readonly headers: Readonly<Record<string, string>>;
  /** Fields of the default table. */
  readonly columns: readonly string[];
  /** `--format`; "" and "table" are the default table. */
  readonly format: string;
  /** Print this field only. */
  readonly quiet: string | undefined;
}

/** The text to print, newline at its end included; "" for an empty list without headers. */
export async function formatList<T>(options: ListOptions<T>): Promise<string> {
  const { format, items, headers } = options;
  if (options.quiet !== undefined && ["", "table", "raw"].includes(format)) {
    const field = options.quiet;
    return items.map((item) => `${options.row(item)[field]?.() ?? ""}\n`).join("");
  }
  if (format === "" || format === "table") {
    const body = items.map((item) => {
      const row = options.row(item);
      return options.columns.map((column) => String(row[column]?.() ?? ""));
    });
    return table([options.columns.map((column) => headers[column] ?? column), ...body]);
  }
  const { goJson } = await import("../template/values.ts");
  if (format === "json") return items.map((item) => `${goJson(texts(options.row(item)))}\n`).join("");
  return await formatTemplate(options);
}

/** All fields of a row, by name. */
function texts(row: Row): Record<string, string | boolean | null> {
  return Object.fromEntries(Object.keys(row).sort().map((name) => [name, row[name]?.() ?? null]));
}

async function formatTemplate<T>(options: ListOptions<T>): Promise<string> {
  const { Template } = await import("../template/execute.ts");
  const { asStruct, markMap } = await import("../template/values.ts");
  const { alignTabs } = await import("./table.ts");
  const { asTemplateText, orTemplateError, TEMPLATE_ERROR } = await import("./template_text.ts");
  const isTable = options.format.startsWith("table");
  const source = asTemplateText(isTable ? options.format.slice("table".length) : options.format);
  const template = orTemplateError(TEMPLATE_ERROR, () => new Template(source));
  const render = (data: object): string => orTemplateError(TEMPLATE_ERROR, () => template.render(data));
  const lines = options.items.map((item) =>
    render(asStruct(templateFields(options.row(item), options.methods?.(item) ?? {}), options.type))
  );
  // A method has its first argument as header: {{.Label "com.example"}}.
  const headers = { ...options.headers, Label: (name: string) => labelHeader(name) };
  markMap(headers);
  const header = isTable ? render(headers) : "";
  return isTable
    ? alignTabs([header, ...lines].join("\n")) + "\n"
    : lines.map((line) => `${line}\n`).join("");
}

function labelHeader(name: string): string {
  return name.split(/[._-]/).at(-1) ?? name;
}

/** A row as templates see it: fields are computed at their first use; enumerable, so that `{{json .}}` shows them. */
export function templateFields(row: Row, methods: object = {}): Record<string, unknown> {
  const fields: Record<string, unknown> = {};
  for (const name of Object.keys(row).sort()) {
    Object.defineProperty(fields, name, { enumerable: true, get: () => row[name]?.() ?? null });
  }
  for (const [name, method] of Object.entries(methods)) {
    Object.defineProperty(fields, name, { enumerable: false, value: method });
  }
  return fields;
}
