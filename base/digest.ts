/** `sha256:…` of some bytes. */
export async function digestOf(bytes: Uint8Array<ArrayBuffer> | string): Promise<string> {
  const data = typeof bytes === "string" ? new TextEncoder().encode(bytes) : bytes;
  return `sha256:${new Uint8Array(await crypto.subtle.digest("SHA-256", data)).toHex()}`;
}
