/**
 * A path with its symbolic links followed, as far as it exists; what is not there yet stays as it is.
 *
 * @param path absolute, without a slash at its end.
 */
export function realPath(path: string): string {
  let rest = "";
  for (let at = path; at !== "";) {
    try {
      const real = Deno.realPathSync(at);
      return rest === "" ? real : `${real === "/" ? "" : real}${rest}`;
    } catch (error) {
      // Whoever uses the path is told what is wrong with it.
      if (!(error instanceof Deno.errors.NotFound)) return path;
    }
    const slash = at.lastIndexOf("/");
    rest = at.slice(slash) + rest;
    at = at.slice(0, slash);
  }
  return path;
}
