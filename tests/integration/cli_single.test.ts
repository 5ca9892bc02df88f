import { describe, expect, it } from "vitest";
import { berthExecutable } from "../support/engine.ts";
import { currentUser, runAs } from "../support/users.ts";

/** Commands that a self-extracting file starts from a file of their own. Other flags than the host before it are the long way. */
const SINGLE = [...Deno.readDirSync(new URL("../../cli/single", import.meta.url))]
  .map((entry) => entry.name.replace(/\.ts$/, ""));

describe("a command with a file of its own", () => {
  const berth = (args: string[]) =>
    runAs(currentUser(), [berthExecutable(), ...args], { env: { BERTH_HOST: "unix:///nonexistent/socket" } });
  const HOST = "unix:///nonexistent/other";

  it.each(SINGLE)("%s says the same as by way of the whole command line", async (command) => {
    for (const args of [["--help"], ["--no-such-flag"], [], ["a", "b"]]) {
      const [short, long] = [await berth([command, ...args]), await berth(["-l", "info", command, ...args])];
      expect(short).toEqual(long);
      expect(short.stdout + short.stderr).not.toBe("");
    }
  });

  it.each(SINGLE)("%s takes a host before it", async (command) => {
    for (const args of [["--help"], ["--no-such-flag"], [], ["a", "b"]]) {
      const long = await berth(["-l", "info", "-H", HOST, command, ...args]);
      for (const host of [["-H", HOST], ["--host", HOST], [`--host=${HOST}`]]) {
        expect(await berth([...host, command, ...args])).toEqual(long);
      }
    }
    // as with docker, what is wrong with the arguments is told first
    const args = command === "ps" ? [] : command === "exec" ? ["a", "b"] : ["a"];
    expect((await berth(["-H", HOST, "-H", HOST, command, ...args])).stderr).toContain("Specify only one -H");
  });

  it("covers the command that starts containers", () => expect(SINGLE).toContain("run"));
});
