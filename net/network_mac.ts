/** Hardware addresses of endpoints. */

/** A random address with the local bit and without the multicast bit, `02:…`-like: `3e:1f:…`. */
export function randomMac(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(6));
  bytes[0] = ((bytes[0] ?? 0) & 0xfe) | 0x02;
  return macText(bytes);
}

/** `02:42:` and the four bytes of an IPv4 address: who knows the address knows the MAC, other hosts of an overlay network too. */
export function macOfAddress(ipv4: Uint8Array): string {
  if (ipv4.length !== 4) throw new RangeError(`No IPv4 address: ${ipv4.length} bytes`);
  return macText(Uint8Array.of(0x02, 0x42, ...ipv4));
}

/**
 * Reads a 48-bit address in one of the forms that Go's net.ParseMAC knows (`02:42:ac:11:00:02`, `02-42-…`, `0242.ac11.0002`) and writes it
 * with colons; undefined for all else, and for multicast addresses, which no link can have.
 */
export function parseMac(text: string): string | undefined {
  const pairs =
    /^([0-9a-f]{2})([:-])([0-9a-f]{2})\2([0-9a-f]{2})\2([0-9a-f]{2})\2([0-9a-f]{2})\2([0-9a-f]{2})$/i;
  if (!pairs.test(text) && !/^[0-9a-f]{4}\.[0-9a-f]{4}\.[0-9a-f]{4}$/i.test(text)) return undefined;
  const bytes = Uint8Array.fromHex(text.replaceAll(/[:.-]/g, ""));
  return ((bytes[0] ?? 0) & 1) === 1 ? undefined : macText(bytes);
}

const macText = (bytes: Uint8Array): string =>
  [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join(":");
