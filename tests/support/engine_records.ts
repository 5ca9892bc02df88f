import { NO_NETWORK } from "../../engine/container_network.ts";
import { type ContainerRecord, CREATED_STATE } from "../../engine/container_record.ts";

/** A record as `create` makes it, for tests of what comes after. `n` tells several apart. */
export function createdRecord(n: number, changes: Partial<ContainerRecord> = {}): ContainerRecord {
  const id = n.toString(16).padStart(2, "0").repeat(32);
  return {
    id,
    name: `box${n}`,
    createdAt: "2026-01-02T03:04:05.678901234Z",
    imageId: `sha256:${"ab".repeat(32)}`,
    imageRef: "busybox",
    path: "sh",
    args: [],
    config: { Image: "busybox", Labels: { tier: "test" } },
    hostConfig: {},
    network: NO_NETWORK,
    driver: "overlay",
    platform: "linux",
    state: CREATED_STATE,
    dir: `/nowhere/${id}`,
    logPath: `/nowhere/${id}/${id}-json.log`,
    hostnamePath: "",
    hostsPath: "",
    resolvConfPath: "",
    exitFile: "",
    shim: null,
    restartCount: 0,
    starts: 0,
    warnings: [],
    ...changes,
  };
}
