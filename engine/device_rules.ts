import { invalid } from "../base/errors.ts";
import { DEFAULT_DEVICE_RULES, type DeviceRule, parseDeviceRule } from "../cgroups/devices.ts";
import { deviceNumbers } from "./device_numbers.ts";
import { devicesBelow } from "./host_devices.ts";
import type { HostConfig } from "./types.ts";

/**
 * The devices that a container may use: every container's, those of `--device` with the given permissions, and what
 * `--device-cgroup-rule` says.
 *
 * @returns undefined with `--privileged`: all.
 * @throws {EngineError} invalid: a rule that is none, in moby's words.
 */
export function deviceRulesOf(hostConfig: HostConfig): readonly DeviceRule[] | undefined {
  if (hostConfig.Privileged) return undefined;
  const own = (hostConfig.Devices ?? []).flatMap(({ PathOnHost: path, CgroupPermissions: access }) => {
    const found = devicesBelow(path);
    return (found.length === 0 ? [path] : found).flatMap((each) => ruleOf(each, access || "rwm"));
  });
  const written = hostConfig["DeviceCgroupRules"];
  const more = (Array.isArray(written) ? written as string[] : []).flatMap((text) => {
    const rules = parseDeviceRule(text);
    if (rules === undefined) throw invalid(`invalid device cgroup rule format: '${text}'`);
    return rules;
  });
  return [...DEFAULT_DEVICE_RULES, ...own, ...more];
}

function ruleOf(path: string, access: string): DeviceRule[] {
  try {
    // What a symbolic link leads to.
    const { isCharDevice, isBlockDevice, rdev } = Deno.statSync(path);
    if (!isCharDevice && !isBlockDevice) return [];
    return [{ type: isCharDevice ? "c" : "b", ...deviceNumbers(rdev ?? 0), access }];
  } catch {
    // The start tells what is missing.
    return [];
  }
}
