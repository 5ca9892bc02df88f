/** An ordinary user's PATH may leave some of them out. */
const SYSTEM_DIRECTORIES = [
  "/usr/local/sbin",
  "/usr/local/bin",
  "/usr/sbin",
  "/usr/bin",
  "/sbin",
  "/bin",
];

/** First executable of that name on PATH or in the usual system directories. */
export function findProgram(name: string): string | undefined {
  const directories = [...(Deno.env.get("PATH") ?? "").split(":"), ...SYSTEM_DIRECTORIES];
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
