/** First executable of that name on PATH or in the usual system directories. */
export function findProgram(name: string): string | undefined {
  const directories = [...(Deno.env.get("PATH") ?? "").split(":"), "/usr/sbin", "/usr/bin", "/sbin", "/bin"];
  for (const directory of directories) {
    if (!directory.startsWith("/")) continue;
    try {
      const info = Deno.statSync(`${directory}/${name}`);
      if (info.isFile && ((info.mode ?? 0) & 0o111) !== 0) return `${directory}/${name}`;
    } catch {
      // Not in this one.
    }
  }
  return undefined;
}
