import { invalid } from "../../base/errors.ts";

/**
 * Fields of one line of comma-separated values, as Go's encoding/csv reads it: a field in double quotes may have commas, and doubled quotes for
 * one.
 *
 * @throws {EngineError} invalid
 */
export function csvFields(line: string): string[] {
  const fields: string[] = [];
  for (let at = 0;;) {
    let field = "";
    if (line[at] === '"') {
      for (at++;;) {
        const end = line.indexOf('"', at);
        if (end < 0) throw invalid('extraneous or missing " in quoted-field');
        field += line.slice(at, end);
        at = end + 1;
        if (line[at] !== '"') break;
        field += '"';
        at++;
      }
      if (at < line.length && line[at] !== ",") throw invalid('extraneous or missing " in quoted-field');
    } else {
      const comma = line.indexOf(",", at);
      field = line.slice(at, comma < 0 ? undefined : comma);
      if (field.includes('"')) throw invalid('bare " in non-quoted-field');
      at += field.length;
    }
    fields.push(field);
    if (at >= line.length) return fields;
    at++;
  }
}
