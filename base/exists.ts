/** Whether there is something at a path that can be looked at; a symbolic link counts when what it leads to does. */
export function exists(path: string): boolean {
  try {
    Deno.statSync(path);
    return true;
  } catch {
    return false;
  }
}
