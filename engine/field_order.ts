/**
 * The order of fields in a container's configuration: that of Docker's structures (moby: api/types/container), which people see in
 * `inspect` and scripts compare. It is put right once, when a container is made.
 */

const CONFIG = (
  "Hostname Domainname User AttachStdin AttachStdout AttachStderr ExposedPorts Tty OpenStdin StdinOnce Env Cmd " +
  "Healthcheck ArgsEscaped Image Volumes WorkingDir Entrypoint NetworkDisabled MacAddress OnBuild Labels StopSignal " +
  "StopTimeout Shell"
).split(" ");

const HOST_CONFIG = (
  "Binds ContainerIDFile LogConfig NetworkMode PortBindings RestartPolicy AutoRemove VolumeDriver VolumesFrom " +
  "ConsoleSize Annotations CapAdd CapDrop CgroupnsMode Dns DnsOptions DnsSearch ExtraHosts GroupAdd IpcMode Cgroup " +
  "Links OomScoreAdj PidMode Privileged PublishAllPorts ReadonlyRootfs SecurityOpt StorageOpt Tmpfs UTSMode " +
  "UsernsMode ShmSize Sysctls Runtime Isolation CpuShares Memory NanoCpus CgroupParent BlkioWeight BlkioWeightDevice " +
  "BlkioDeviceReadBps BlkioDeviceWriteBps BlkioDeviceReadIOps BlkioDeviceWriteIOps CpuPeriod CpuQuota " +
  "CpuRealtimePeriod CpuRealtimeRuntime CpusetCpus CpusetMems Devices DeviceCgroupRules DeviceRequests KernelMemory " +
  "KernelMemoryTCP MemoryReservation MemorySwap MemorySwappiness OomKillDisable PidsLimit Ulimits CpuCount CpuPercent " +
  "IOMaximumIOps IOMaximumBandwidth Mounts MaskedPaths ReadonlyPaths Init"
).split(" ");

/** The same fields in the order of `names`; what is not among them comes last, in its own order. */
function inOrder<T extends object>(value: T, names: readonly string[]): T {
  const source = value as Readonly<Record<string, unknown>>;
  const ordered: Record<string, unknown> = {};
  for (const name of names) if (Object.hasOwn(source, name)) ordered[name] = source[name];
  return Object.assign(ordered, value) as T;
}

export const orderedConfig = <T extends object>(config: T): T => inOrder(config, CONFIG);

export const orderedHostConfig = <T extends object>(hostConfig: T): T => inOrder(hostConfig, HOST_CONFIG);
