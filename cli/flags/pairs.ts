/** `key=value` words as an object; a key alone has the value "". */
export function pairs(given: readonly string[]): Record<string, string> {
  return Object.fromEntries(given.map((one) => {
    const equals = one.indexOf("=");
    return equals < 0 ? [one, ""] : [one.slice(0, equals), one.slice(equals + 1)];
  }));
}
