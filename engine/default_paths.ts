/** Paths that Docker hides or protects in every container that is not privileged (moby: oci/defaults.go). */

export const DEFAULT_MASKED_PATHS: readonly string[] = [
  "/proc/acpi",
  "/proc/asound",
  "/proc/interrupts",
  "/proc/kcore",
  "/proc/keys",
  "/proc/latency_stats",
  "/proc/sched_debug",
  "/proc/scsi",
  "/proc/timer_list",
  "/proc/timer_stats",
  "/sys/devices/virtual/powercap",
  "/sys/firmware",
];

export const DEFAULT_READONLY_PATHS: readonly string[] = [
  "/proc/bus",
  "/proc/fs",
  "/proc/irq",
  "/proc/sys",
  "/proc/sysrq-trigger",
];

/** How often each CPU was throttled tells a container about its neighbours: one path for each CPU that has it. */
export function thermalThrottlePaths(ncpu: number, exists: (path: string) => boolean): string[] {
  return Array.from({ length: ncpu }, (_, i) => `/sys/devices/system/cpu/cpu${i}/thermal_throttle`).filter(
    exists,
  );
}
