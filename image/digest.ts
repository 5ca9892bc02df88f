import { digestOf } from "../base/digest.ts";

export { digestOf };

/** Whether the text is a digest of the kind used throughout. */
export function isDigest(text: string): boolean {
  return /^sha256:[0-9a-f]{64}$/.test(text);
}

/** `sha256:0123456789ab…` → `0123456789ab`, as Docker shows ids. */
export function shortId(id: string): string {
  return id.replace(/^sha256:/, "").slice(0, 12);
}

/**
 * Chain ids of a stack of layers, bottom first (OCI image-spec, config.md): the first is its diff id, each other one
 * the digest of "<chain id below> <diff id>".
 */
export async function chainIds(diffIds: readonly string[]): Promise<string[]> {
  const chain: string[] = [];
  for (const diffId of diffIds) {
    const below = chain.at(-1);
    chain.push(below === undefined ? diffId : await digestOf(`${below} ${diffId}`));
  }
  return chain;
}
