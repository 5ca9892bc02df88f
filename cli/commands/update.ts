import { segment } from "../api_client.ts";
import { defineCommand } from "../command.ts";
import { restartPolicy } from "../create/body.ts";
import { CONTAINER_FLAGS } from "../create/container_flags.ts";
import { CliError, describeError } from "../errors.ts";
import { text } from "../flags/spec.ts";
import { bytes, int } from "../flags/values.ts";
import { printError, printLine } from "../stdio.ts";

export const command = defineCommand({
  flags: {
    "blkio-weight": CONTAINER_FLAGS["blkio-weight"],
    "cpu-period": CONTAINER_FLAGS["cpu-period"],
    "cpu-quota": CONTAINER_FLAGS["cpu-quota"],
    "cpu-rt-period": int("Limit the CPU real-time period in microseconds"),
    "cpu-rt-runtime": int("Limit the CPU real-time runtime in microseconds"),
    "cpu-shares": CONTAINER_FLAGS["cpu-shares"],
    "cpus": CONTAINER_FLAGS.cpus,
    "cpuset-cpus": CONTAINER_FLAGS["cpuset-cpus"],
    "cpuset-mems": CONTAINER_FLAGS["cpuset-mems"],
    "kernel-memory": bytes("Kernel memory limit (deprecated)", { hidden: true }),
    "memory": CONTAINER_FLAGS.memory,
    "memory-reservation": CONTAINER_FLAGS["memory-reservation"],
    "memory-swap": bytes("Swap limit equal to memory plus swap: -1 to enable unlimited swap", {
      allowMinusOne: true,
    }),
    "pids-limit": CONTAINER_FLAGS["pids-limit"],
    "restart": text("Restart policy to apply when a container exits", {
      completes: ["always", "no", "on-failure", "unless-stopped"],
    }),
  },
  usage: "CONTAINER [CONTAINER...]",
  count: { min: 1 },
  completes: "container",
  async run({ flags, changed, args, client }) {
    if (changed.size === 0) throw new CliError("you must provide one or more flags when using this command");
    const body = {
      CpuShares: flags["cpu-shares"],
      Memory: flags.memory,
      NanoCpus: flags.cpus,
      CgroupParent: "",
      BlkioWeight: flags["blkio-weight"],
      BlkioWeightDevice: null,
      BlkioDeviceReadBps: null,
      BlkioDeviceWriteBps: null,
      BlkioDeviceReadIOps: null,
      BlkioDeviceWriteIOps: null,
      CpuPeriod: flags["cpu-period"],
      CpuQuota: flags["cpu-quota"],
      CpuRealtimePeriod: flags["cpu-rt-period"],
      CpuRealtimeRuntime: flags["cpu-rt-runtime"],
      CpusetCpus: flags["cpuset-cpus"],
      CpusetMems: flags["cpuset-mems"],
      Devices: null,
      DeviceCgroupRules: null,
      DeviceRequests: null,
      ...(flags["kernel-memory"] === 0 ? {} : { KernelMemory: flags["kernel-memory"] }),
      MemoryReservation: flags["memory-reservation"],
      MemorySwap: flags["memory-swap"],
      MemorySwappiness: null,
      OomKillDisable: null,
      // Null leaves the limit as it is.
      PidsLimit: flags["pids-limit"] || null,
      Ulimits: null,
      CpuCount: 0,
      CpuPercent: 0,
      IOMaximumIOps: 0,
      IOMaximumBandwidth: 0,
      RestartPolicy: restartPolicy(flags.restart),
    };
    const warnings: string[] = [];
    const errors: string[] = [];
    for (const name of args) {
      try {
        const path = `/containers/${segment(name, "container")}/update`;
        const answer = await client.json<{ Warnings?: string[] | null }>("POST", path, { json: body });
        warnings.push(...answer.Warnings ?? []);
        printLine(name);
      } catch (error) {
        errors.push(describeError(error));
      }
    }
    if (warnings.length > 0) printLine(warnings.join("\n"));
    if (errors.length === 0) return;
    printError(errors.join("\n"));
    throw new CliError("");
  },
});
