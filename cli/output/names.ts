/** Identifiers and names in the short forms that lists show. */

/** The first 12 digits of an id, without its algorithm. */
export function shortId(id: string): string {
  const colon = id.indexOf(":");
  return id.slice(colon + 1).slice(0, 12);
}

/** At most `length` characters, the last one an ellipsis when something was cut. */
export function ellipsis(text: string, length: number): string {
  const chars = [...text];
  return chars.length <= length ? text : chars.slice(0, length - 1).join("") + "…";
}

/** "docker.io/library/busybox" as people write it: "busybox". */
export function familiarName(name: string): string {
  return name.replace(/^(?:index\.)?docker\.io\/(?:library\/)?(?=[^/])/, "");
}

/** Splits a reference into repository, tag and digest; absent parts are "". */
export function splitReference(reference: string): { repository: string; tag: string; digest: string } {
  const at = reference.indexOf("@");
  const digest = at < 0 ? "" : reference.slice(at + 1);
  const named = at < 0 ? reference : reference.slice(0, at);
  const colon = named.lastIndexOf(":");
  const hasTag = colon > named.lastIndexOf("/");
  return {
    repository: hasTag ? named.slice(0, colon) : named,
    tag: hasTag ? named.slice(colon + 1) : "",
    digest,
  };
}

/** Whether it is a whole id, with or without its algorithm. */
export function isImageId(image: string): boolean {
  return /^(sha256:)?[0-9a-f]{64}$/.test(image);
}
