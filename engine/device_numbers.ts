/** Major and minor number of a device, which stat(2) has in one (glibc: gnu_dev_major). */
export function deviceNumbers(rdev: number): { readonly major: number; readonly minor: number } {
  const device = BigInt(rdev);
  return {
    major: Number((device >> 8n & 0xfffn) | (device >> 32n & ~0xfffn)),
    minor: Number((device & 0xffn) | (device >> 12n & 0xffffff00n)),
  };
}
