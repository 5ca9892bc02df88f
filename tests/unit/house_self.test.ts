import { describe, expect, it } from "vitest";
import { selfCommand, workerUrl } from "../../base/self.ts";
import { packaging, VERSION } from "../../base/version.ts";

describe("selfCommand() in the source form", () => {
  it("passes an internal role as first argument after main.ts", () => {
    const { command, args } = selfCommand("shim", "--id", "a b");
    expect(command).toBe(Deno.execPath());
    expect(args.at(-4)).toMatch(/\/main\.ts$/);
    expect(args.slice(-3)).toEqual(["@shim", "--id", "a b"]);
  });

  it("takes the role with or without its mark", () => {
    expect(selfCommand("@engine")).toEqual(selfCommand("engine"));
  });

  it("passes a command of the command line as it is, and cli as nothing", () => {
    expect(selfCommand("serve", "-D").args.slice(-2)).toEqual(["serve", "-D"]);
    expect(selfCommand("cli").args.at(-1)).toMatch(/\/main\.ts$/);
  });
});

describe("workerUrl() in the source form", () => {
  it("names the source file", () => {
    expect(workerUrl("fs/unpack_worker.ts").pathname).toMatch(/\/fs\/unpack_worker\.ts$/);
  });
});

describe("version", () => {
  it("is package.json's", () => {
    const file = new URL("../../package.json", import.meta.url);
    expect((JSON.parse(Deno.readTextFileSync(file)) as { version: string }).version).toBe(VERSION);
  });

  it("says that this is the source", () => {
    expect(packaging()).toBe("source");
  });
});
