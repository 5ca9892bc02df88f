/** One record of comma-separated fields with double quotes, as Go's encoding/csv reads it. */
export function csvFields(record: string): string[] {
  const fields: string[] = [];
  for (let at = 0;;) {
    let field = "";
    if (record[at] === '"') {
      for (at++;; at++) {
        if (at >= record.length) {
          throw new Error(`parse error on line 1, column ${at + 1}: extraneous or missing " in quoted-field`);
        }
        if (record[at] !== '"') field += record[at];
        else if (record[at + 1] === '"') field += record[at++];
        else break;
      }
      at++;
    } else {
      const end = record.indexOf(",", at);
      field = record.slice(at, end < 0 ? record.length : end);
      const quote = field.indexOf('"');
      if (quote >= 0) {
        throw new Error(`parse error on line 1, column ${at + quote + 1}: bare " in non-quoted-field`);
      }
      at += field.length;
    }
    fields.push(field);
    if (at >= record.length) return fields;
    if (record[at] !== ",") {
      throw new Error(`parse error on line 1, column ${at + 1}: extraneous or missing " in quoted-field`);
    }
    at++;
  }
}
