import { type Need, need } from "./needs.ts";

/** A mirror that this machine's own apt uses; without one nothing can be installed anywhere. */
export function mirrorReached(): Need {
  const first = /'(https?:[^']+InRelease)'/.exec(sources())?.[1];
  if (first === undefined) return need(false, "this machine's apt has no sources");
  const file = Deno.makeTempFileSync();
  try {
    const { success } = new Deno.Command("/usr/lib/apt/apt-helper", {
      args: ["-o", "Acquire::http::Timeout=10", "-o", "Acquire::Retries=0", "download-file", first, file],
      stdout: "null",
      stderr: "null",
      signal: AbortSignal.timeout(30_000),
    }).outputSync();
    return need(success, "no mirror of Debian can be reached from this machine");
  } catch {
    return need(false, "no mirror of Debian can be reached from this machine");
  } finally {
    Deno.removeSync(file);
  }
}

function sources(): string {
  try {
    const { stdout } = new Deno.Command("apt-get", { args: ["update", "--print-uris"], stderr: "null" })
      .outputSync();
    return new TextDecoder().decode(stdout);
  } catch {
    return "";
  }
}
