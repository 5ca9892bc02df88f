/** The machines berth runs on, by the kernel's name for them (`uname -m`). */
export type Arch = "x86_64" | "aarch64";

export const ARCH: Arch = Deno.build.arch;
