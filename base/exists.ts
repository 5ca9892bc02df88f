/** Whether there is something at a path that can be looked at; a symbolic link counts when what it leads to does. */
export function exists(path: string): boolean {
  return succeeds(() => Deno.statSync(path));
}

/** Whether there is something at a path, a symbolic link whatever it leads to (as Python's os.path.lexists). */
export function lexists(path: string): boolean {
  return succeeds(() => Deno.lstatSync(path));
}

function succeeds(look: () => unknown): boolean {
  try {
    look();
    return true;
  } catch {
    return false;
  }
}
