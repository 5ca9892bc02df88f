import { hints } from "./hints.ts";

type ReadFile = (path: string) => string | undefined;

/** Text of a file of /proc or /etc, undefined when it cannot be read. */
export function readText(path: string): string | undefined {
  try {
    return Deno.readTextFileSync(path).trim();
  } catch {
    return undefined;
  }
}

/**
 * Why the kernel refuses an unprivileged user namespace, and what to type: looked up only after a refusal, in the order
 * of how often each cause is met.
 *
 * @param executable path of berth itself, for the AppArmor profile.
 */
export function explainUserNamespaceRefusal(executable: string, read: ReadFile = readText): string {
  if (read("/proc/sys/kernel/apparmor_restrict_unprivileged_userns") === "1") {
    return hints.appArmorRestrictsUserNamespaces(executable);
  }
  for (const file of ["/proc/sys/kernel/unprivileged_userns_clone", "/proc/sys/user/max_user_namespaces"]) {
    const value = read(file);
    if (value === "0") return hints.unprivilegedUserNamespacesOff(file, value);
  }
  if (insideContainer(read)) return hints.nestedContainer;
  return hints.userNamespaceRefused;
}

/** Whether this machine is itself a container, by the marks that engines leave. */
export function insideContainer(read: ReadFile = readText): boolean {
  return read("/.dockerenv") !== undefined || read("/run/.containerenv") !== undefined ||
    /(^|\0)container=/.test(read("/proc/1/environ") ?? "");
}
