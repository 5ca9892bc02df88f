/** The documents must stay true: what a program can compare is compared here. */
import { describe, expect, it } from "vitest";

const ROOT = new URL("../..", import.meta.url).pathname.replace(/\/$/, "");
const read = (path: string) => Deno.readTextFileSync(`${ROOT}/${path}`);

/** `METHOD /path` of each route that the API's code answers itself. */
function routesOfCode(): string[] {
  const routes: string[] = [];
  for (const entry of Deno.readDirSync(`${ROOT}/api`)) {
    if (!entry.isFile || !entry.name.endsWith(".ts")) continue;
    for (const m of read(`api/${entry.name}`).matchAll(/\bapp\.(get|post|put|delete)\(\s*"(\/[^"]*)"/g)) {
      routes.push(`${m[1]?.toUpperCase()} ${m[2]}`);
    }
  }
  return routes.sort();
}

describe("docs/api.md", () => {
  it("lists the routes that are answered, all of them and no others", () => {
    const answered = read("docs/api.md").split("\nRefused, ")[0] ?? "";
    const listed = [...answered.matchAll(/^\| `([A-Z]+ \/[^`]*)`/gm)].map((m) => m[1] ?? "").sort();
    expect(listed).toEqual(routesOfCode());
  });
});

describe("README.md and the documents", () => {
  const documents = [
    "README.md",
    "CONTRIBUTING.md",
    ...[...Deno.readDirSync(`${ROOT}/docs`)].map((e) => `docs/${e.name}`),
  ];

  it("link to files that exist", () => {
    for (const document of documents) {
      const folder = document.includes("/") ? `${ROOT}/docs` : ROOT;
      for (const [, target = ""] of read(document).matchAll(/\]\(([^)#:]+)(?:#[^)]*)?\)/g)) {
        expect(() => Deno.statSync(`${folder}/${target}`), `${document}: ${target}`).not.toThrow();
      }
    }
  });

  it("name targets that the Makefile has", () => {
    const targets = [...read("Makefile").matchAll(/^([a-z]+):/gm)].map((m) => m[1]);
    for (const document of documents) {
      for (const [, target = ""] of read(document).matchAll(/^\s*make ([a-z]+)/gm)) {
        expect(targets, `${document}: make ${target}`).toContain(target);
      }
    }
  });

  it("name the dependencies of package.json, all of them", () => {
    const { dependencies, devDependencies } = JSON.parse(read("package.json")) as Record<
      string,
      Record<string, string>
    >;
    const table = [...read("docs/decisions.md").matchAll(/^\| (\S+) (?:\(|\|)/gm)].map((m) => m[1]);
    expect(table).toEqual(
      expect.arrayContaining([...Object.keys(dependencies ?? {}), ...Object.keys(devDependencies ?? {})]),
    );
  });
});
