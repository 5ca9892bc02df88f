/** A program with berth's way of starting itself and nothing else; see tests/integration/house_package.test.ts. */

import { selfCommand, selfExecutable, workerUrl } from "../../../base/self.ts";
import { buildTime, gitCommit, packaging, VERSION } from "../../../base/version.ts";

/** Starts the role and passes on what it says. */
function spawn(role: string): void {
  const { command, args, env } = selfCommand(role, "x y", "");
  const { stdout, stderr } = new Deno.Command(command, { args, env }).outputSync();
  Deno.stdout.writeSync(stdout);
  Deno.stderr.writeSync(stderr);
}

const [command, value = ""] = Deno.args;
switch (command) {
  case "--version":
    console.log(`berth ${VERSION} ${packaging()} ${gitCommit()} ${buildTime()}`);
    break;
  case "exit":
    Deno.exit(Number(value));
    break;
  case "sleep": {
    const { sleep } = await import("./lazy.ts");
    await sleep(Number(value));
    break;
  }
  case "spawn":
    spawn(value);
    break;
  case "spawn-without":
    removeAll(value);
    spawn("shim");
    break;
  case "worker": {
    const worker = new Worker(workerUrl("tests/support/stub/echo_worker.ts"), { type: "module" });
    worker.onmessage = (event) => {
      console.log("worker said", event.data);
      Deno.exit(0);
    };
    worker.postMessage("hi");
    break;
  }
  default:
    console.log(JSON.stringify({
      args: Deno.args,
      exe: selfExecutable(),
      denoDir: Deno.env.get("DENO_DIR"),
      umask: Deno.umask(),
      cwd: Deno.cwd(),
    }));
}

/** Deno's own threads may still be making files of its caches in there. */
function removeAll(dir: string): void {
  for (let attempt = 0;; attempt++) {
    try {
      return Deno.removeSync(dir, { recursive: true });
    } catch (error) {
      if (attempt === 100) throw error;
    }
  }
}
