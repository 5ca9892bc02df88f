/** docs/api.md says which test shows what: those tests are there, and its table of fields is the one that is tried. */
import { describe, expect, it } from "vitest";
import { FIELDS, fieldsOfSchema } from "../support/create_fields.ts";

const ROOT = new URL("../..", import.meta.url).pathname.replace(/\/$/, "");
const lines = Deno.readTextFileSync(`${ROOT}/docs/api.md`).split("\n");
const cells = (line: string) => line.split(/(?<!\\)\|/).slice(1, -1).map((cell) => cell.trim());

const routes = lines.filter((line) => /^\| `[A-Z]+ \//.test(line)).map(cells);
const fields = lines.slice(lines.indexOf("## Fields of a create request")).filter((line) =>
  line.startsWith("| `")
)
  .map(cells);

describe("docs/api.md", () => {
  it("has a state for every field that a container can be created with", () => {
    const named = Object.fromEntries(fields.map(([name = "", state]) => [name.replaceAll("`", ""), state]));
    expect(Object.keys(named).sort()).toEqual(fieldsOfSchema().sort());
    expect(named).toEqual(
      Object.fromEntries(Object.entries(FIELDS).map(([path, { state }]) => [path, state])),
    );
  });

  it("names tests that are there", () => {
    expect(routes.length).toBeGreaterThan(50);
    const tests = [...routes.map(([, test]) => test), ...fields.map(([, , test]) => test)];
    for (const test of new Set(tests)) {
      expect(() => Deno.statSync(`${ROOT}/tests/${test}.test.ts`), test).not.toThrow();
    }
  });
});
