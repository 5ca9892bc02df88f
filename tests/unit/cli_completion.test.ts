/** The completion scripts, in the shells that they are for. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { runBerth } from "../support/berth_cli.ts";
import { describeWith, program } from "../support/needs.ts";
import { type ScriptedEngine, scriptedEngine } from "../support/scripted_engine.ts";

let directory: string;
let engine: ScriptedEngine;

beforeAll(async () => {
  directory = Deno.makeTempDirSync({ prefix: "berth-completion-" });
  engine = scriptedEngine(async (_request, connection) => {
    await connection.answer(200, [{ Id: "a".repeat(64), Names: ["/web"], Created: 0 }]);
  });
  for (const shell of ["bash", "zsh", "fish"]) {
    const { stdout } = await runBerth(["completion", shell]);
    Deno.writeTextFileSync(`${directory}/${shell === "zsh" ? "_berth" : shell}`, stdout);
  }
  const main = new URL("../../main.ts", import.meta.url).pathname;
  const words = [Deno.execPath(), "run", "-A", "--no-config", "--no-lock", "-q", main];
  Deno.writeTextFileSync(`${directory}/berth`, `#!/bin/sh\nexec ${words.join(" ")} "$@"\n`, { mode: 0o755 });
});
afterAll(async () => {
  await engine[Symbol.asyncDispose]();
  Deno.removeSync(directory, { recursive: true });
});

async function run(command: string, args: string[]): Promise<string> {
  const { stdout, stderr } = await new Deno.Command(command, {
    args,
    cwd: directory,
    env: {
      PATH: `${directory}:${Deno.env.get("PATH")}`,
      DOCKER_HOST: engine.host,
      TERM: "dumb",
      HOME: directory,
    },
    stdin: "null",
  }).output();
  expect(new TextDecoder().decode(stderr)).toBe("");
  return new TextDecoder().decode(stdout);
}

/** What is typed, and what is proposed among others; the last word is being completed. */
const CASES: [string, string][] = [
  ["berth pau", "pause"],
  ["berth container unp", "unpause"],
  ["berth builder ", "prune"],
  ["berth stats w", "web"],
  ["berth container stats --no-s", "--no-stream"],
  ["berth update --restart un", "unless-stopped"],
];

describeWith(program("bash", "bash"))("in bash", () => {
  test.each(CASES)("%j proposes %s", async (line, wanted) => {
    const words = line.split(" ");
    const script = `source ./bash; COMP_WORDS=(${words.map((word) => `'${word}'`).join(" ")}); ` +
      `COMP_CWORD=${words.length - 1}; _berth; printf '%s\\n' "\${COMPREPLY[@]}"`;
    expect((await run("bash", ["--norc", "-c", script])).split("\n")).toContain(wanted);
  });
});

describeWith(program("bash", "bash"))("in bash, which takes words apart at : and =", () => {
  test.each([
    [["berth", "run", "app"], "app:1 app:2"],
    [["berth", "run", "app", ":"], "1 2"],
    [["berth", "run", "app", ":", "1"], "1"],
    [["berth", "run", "localhost", ":", "5000/app", ":"], "1 2"],
    [["berth", "-H", "unix", ":", "///x.sock", "run", "app", ":"], "1 2"],
    [["berth", "update", "--restart", "=", "un"], "unless-stopped"],
    [["berth", "update", "--restart", "="], "always no on-failure unless-stopped"],
    [["berth", "--log-level", "=", "debug", "pau"], "pause"],
  ])("%j proposes %s", async (words, wanted) => {
    const quoted = words.map((word) => `'${word}'`).join(" ");
    const images = "app:1 app:2 localhost:5000/app:1 localhost:5000/app:2";
    const script =
      `berth() { [[ $1 == images ]] && echo ${images}; }; source ./bash; COMP_WORDS=(${quoted}); ` +
      `COMP_CWORD=${words.length - 1}; _berth; echo "\${COMPREPLY[*]}"`;
    expect((await run("bash", ["--norc", "-c", script])).trim()).toBe(wanted);
  });
});

describeWith(program("fish", "fish"))("in fish", () => {
  test.each(CASES)("%j proposes %s", async (line, wanted) => {
    const script = `source ./fish; complete -C '${line}'`;
    const proposed = (await run("fish", ["--no-config", "-c", script])).split("\n");
    expect(proposed.map((one) => one.split("\t")[0])).toContain(wanted);
  });
});

describeWith(program("zsh", "zsh"))("in zsh", () => {
  // A shell on a terminal of its own, loading the file as compinit does: at the first Tab.
  test.each(CASES)("%j is completed to %s by the first Tab", async (line, wanted) => {
    const script = `
      zmodload zsh/zpty
      zpty shell zsh -f -i
      zpty -w shell 'PS1= ; stty -echo; fpath=($PWD $fpath); autoload -U compinit; compinit -u -D; echo REA""DY'
      zpty -r -m shell _ '*READY*'
      zpty -w -n shell $'${line}\\t'
      zpty -r -m shell found '*${wanted}*' && print found
      zpty -d shell`;
    expect(await run("timeout", ["20", "zsh", "-f", "-c", script])).toBe("found\n");
  });
});
