/** The errno's text as Go prints it, for errors of Deno's file operations. */
export function goErrno(error: unknown): string {
  if (error instanceof Deno.errors.NotFound) return "no such file or directory";
  if (error instanceof Deno.errors.AlreadyExists) return "file exists";
  if (error instanceof Deno.errors.PermissionDenied) return "permission denied";
  if (error instanceof Deno.errors.IsADirectory) return "is a directory";
  if (error instanceof Deno.errors.NotADirectory) return "not a directory";
  const text = error instanceof Error ? error.message : String(error);
  // Rust's words for the rest: "No space left on device (os error 28): mkdir '/x'"
  const said = /^(.+?) \(os error \d+\)/.exec(text)?.[1];
  return said === undefined ? text : said.charAt(0).toLowerCase() + said.slice(1);
}
