/** Every program in examples/, in Node and in Deno: what README.md sends its readers to works as it stands. */
import { expect } from "vitest";
import { berthExecutable } from "../support/engine.ts";
import { describeWith, itWith, type Need, need, program } from "../support/needs.ts";
import { currentUser, runAs } from "../support/users.ts";

const ROOT = new URL("../..", import.meta.url).pathname;
const EXAMPLES = [...Deno.readDirSync(`${ROOT}examples`)].map(({ name }) => name).sort();
const RUNTIMES: Readonly<Record<string, readonly string[]>> = {
  node: ["node"],
  deno: [Deno.execPath(), "run", "-A", "--quiet"],
};

/** testcontainers' HTTP client uses a decoder that Node has since then. */
const NODE_FOR_TESTCONTAINERS = [22, 15] as const;

function nodeVersion(): readonly number[] {
  try {
    const { stdout } = new Deno.Command("node", { args: ["--version"] }).outputSync();
    return new TextDecoder().decode(stdout).trim().replace("v", "").split(".").map(Number);
  } catch {
    return [];
  }
}

function needOf(runtime: string, example: string): Need {
  if (runtime !== "node") return need(true, "");
  const [major = 0, minor = 0] = nodeVersion();
  if (!example.includes("testcontainers") || major === 0) return program("node", "nodejs");
  const [wantedMajor, wantedMinor] = NODE_FOR_TESTCONTAINERS;
  const isNew = major > wantedMajor || (major === wantedMajor && minor >= wantedMinor);
  return need(
    isNew,
    `testcontainers needs Node ${NODE_FOR_TESTCONTAINERS.join(".")}, this is ${major}.${minor}`,
  );
}

describeWith()("examples", () => {
  for (const example of EXAMPLES) {
    for (const [runtime, command] of Object.entries(RUNTIMES)) {
      itWith(needOf(runtime, example))(`${example} runs in ${runtime}`, async () => {
        const { code, stdout, stderr } = await runAs(currentUser(), [...command, `examples/${example}`], {
          cwd: ROOT,
          env: { BERTH_EXECUTABLE: berthExecutable(), DOCKER_HOST: "" },
          timeout: 55_000,
        });
        expect([code, stdout, stderr]).toEqual([0, "hello from a container\n", ""]);
      });
    }
  }
});
