/** Docker Content Trust, which berth does not have: whoever has switched it on must not be given what nobody has verified. */

import { splitReference } from "../output/names.ts";
import { CliError } from "../errors.ts";
import { bool, type Flag, parseBool } from "../flags/spec.ts";

/** As docker: what is no truth counts as true. */
function isWanted(): boolean {
  const wanted = Deno.env.get("DOCKER_CONTENT_TRUST") ?? "";
  return wanted !== "" && (parseBool(wanted) ?? true);
}

/** `--disable-content-trust`, whose default `DOCKER_CONTENT_TRUST` decides. */
export const contentTrustFlag = (help: string, hidden = false): Flag<boolean> =>
  bool(help, { default: !isWanted(), hidden });

/**
 * @param disabled value of {@link contentTrustFlag}.
 * @throws {CliError} unless the image is named by its digest, which needs nobody's signature.
 */
export function refuseContentTrust(disabled: boolean, image: string): void {
  if (disabled || splitReference(image).digest !== "") return;
  throw new CliError(
    `content trust is switched on, and berth cannot verify or make signatures of it\n\n` +
      `Go on without:     unset DOCKER_CONTENT_TRUST   (or --disable-content-trust)\n` +
      `Name what you mean:  NAME@sha256:…   (\`berth manifest inspect -v NAME\` shows the digest)`,
  );
}
