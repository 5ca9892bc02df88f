/** Log drivers as docker's command line sees them. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { busyboxArchive } from "../support/busybox_image.ts";
import { type Engine, startEngine } from "../support/engine.ts";
import { BUSYBOX, describeWith, program } from "../support/needs.ts";
import { testDir, usersToTest } from "../support/users.ts";

describe.each(usersToTest())("log drivers, $name", (user) => {
  describeWith(BUSYBOX, program("docker", "docker.io"))("with docker", () => {
    let engine: Engine;
    const docker = async (...args: string[]) => {
      const result = await engine.docker(args);
      if (result.code !== 0) throw new Error(`docker ${args.join(" ")}: ${result.stderr}`);
      return result.stdout;
    };
    beforeAll(async () => {
      engine = await startEngine({ user });
      expect((await engine.berth(["load", "-i", await busyboxArchive(testDir())])).code).toBe(0);
    });
    afterAll(async () => {
      await engine?.[Symbol.asyncDispose]();
    });

    const LINES = 30_000;
    const script = `i=0; while [ $i -lt ${LINES} ]; do echo "line $i"; i=$((i+1)); done; echo end >&2`;
    const files = (dir: string) => [...Deno.readDirSync(dir)].map(({ name }) => name).sort();

    it("local keeps its own rotated and compressed files, and shows all that is left of them", async () => {
      const id = (await docker(
        ...["run", "-d", "--log-driver", "local", "--log-opt", "max-size=400k", "--log-opt", "max-file=3"],
        ...["busybox", "sh", "-c", script],
      )).trim();
      expect(await docker("wait", id)).toBe("0\n");
      expect(await docker("inspect", "-f", "{{.HostConfig.LogConfig.Type}} {{.LogPath}}", id)).toBe(
        "local \n",
      );
      const dir = `${engine.dataRoot}/containers/${id}/local-logs`;
      expect(files(dir)).toEqual(["container.log", "container.log.1.gz", "container.log.2.gz"]);
      const { stdout, stderr } = await engine.docker(["logs", id]);
      expect(stderr).toBe("end\n");
      const lines = stdout.trim().split("\n");
      expect(lines.at(-1)).toBe(`line ${LINES - 1}`);
      // the oldest files are gone, nothing is missing behind them
      const first = Number(lines[0]?.split(" ")[1]);
      expect(first).toBeGreaterThan(0);
      expect(lines).toEqual(Array.from({ length: LINES - first }, (_, i) => `line ${first + i}`));
      expect(await docker("logs", "--tail", "2", id)).toBe(`line ${LINES - 1}\n`);
      await docker("rm", id);
    });

    it("local's defaults hold 5 files of 20 MB; with one file nothing is compressed", async () => {
      const run = (...options: string[]) =>
        docker(
          "run",
          "-d",
          "--log-driver",
          "local",
          ...options.flatMap((option) => ["--log-opt", option]),
          "busybox",
          "echo",
          "hello",
        );
      for (const options of [[], ["max-file=1"]]) {
        const id = (await run(...options)).trim();
        await docker("wait", id);
        expect(await docker("logs", id)).toBe("hello\n");
        await docker("rm", id);
      }
      const wrong = await engine.docker(["run", "--log-driver", "local", "--log-opt", "labels=x", "busybox"]);
      expect(wrong.stderr).toContain("unknown log opt 'labels' for local log driver");
      const both = ["--log-opt", "max-file=1", "--log-opt", "compress=true"];
      expect((await engine.docker(["run", "--log-driver", "local", ...both, "busybox"])).stderr)
        .toContain("compress cannot be true");
    });

    it("none has nothing to show; others are refused by name", async () => {
      expect(await docker("run", "--name", "quiet", "--log-driver", "none", "busybox", "echo", "hi")).toBe(
        "hi\n",
      );
      expect((await engine.docker(["logs", "quiet"])).stderr).toContain(
        "configured logging driver does not support reading",
      );
      await docker("rm", "quiet");
      expect((await engine.docker(["run", "--log-driver", "bogus", "busybox"])).stderr).toContain(
        'error looking up logging plugin bogus: plugin "bogus" not found',
      );
    });
  });
});
