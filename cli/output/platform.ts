/** Platforms in the JSON form that some query parameters take. */

import { CliError } from "../errors.ts";

/** "linux/arm64/v8" as `{"os":"linux","architecture":"arm64","variant":"v8"}`. */
export function platformQuery(text: string): string {
  const [os = "", architecture = "", variant = "", ...rest] = text.split("/");
  if (os === "" || rest.length > 0 || !/^[\w./-]+$/.test(text)) {
    throw new CliError(
      `invalid platform: ${JSON.stringify(text)} is an invalid component of a platform specifier`,
    );
  }
  return JSON.stringify({
    ...(architecture === "" ? {} : { architecture }),
    os,
    ...(variant === "" ? {} : { variant }),
  });
}
