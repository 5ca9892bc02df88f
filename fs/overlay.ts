import type { RootfsSpec } from "../runtime/spec.ts";
import { GraphRoot } from "./container_dirs.ts";
import type { GraphDriver, LayerRef } from "./graph_driver.ts";

/**
 * The kernel's overlay, mounted by each container's init in its own mount namespace: nothing is mounted here, so nothing can
 * be left behind. `userxattr` keeps overlay's own marks in `user.overlay.*`, the only ones that a user namespace may
 * write (Linux 5.11 and later).
 */
export class OverlayDriver implements GraphDriver {
  readonly name = "overlay";
  readonly whiteouts = "overlay-userxattr";
  readonly reason: string;
  readonly status: readonly (readonly [string, string])[];
  readonly #graph: GraphRoot;

  constructor(root: string, reason: string, backing: string) {
    this.#graph = new GraphRoot(root);
    this.reason = reason;
    this.status = [
      ["Backing Filesystem", backing],
      ["Supports d_type", "true"],
      ["Using metacopy", "false"],
      ["Native Overlay Diff", "true"],
      ["userxattr", "true"],
    ];
  }

  // deno-lint-ignore require-await -- failures are to reach the caller as a rejection
  async create(containerId: string, layers: readonly LayerRef[]): Promise<void> {
    this.#graph.createContainer(containerId, layers);
  }

  // deno-lint-ignore require-await -- failures are to reach the caller as a rejection
  async acquire(containerId: string, layers: readonly LayerRef[]): Promise<RootfsSpec> {
    const { upper, work } = this.#graph.ensureContainer(containerId, layers);
    return {
      kind: "overlay",
      overlay: { lower: this.#graph.lowerDirs(layers), upper, work, options: ["userxattr"] },
    };
  }

  async release(_containerId: string): Promise<void> {}

  async remove(containerId: string): Promise<void> {
    await this.#graph.removeContainer(containerId);
  }

  async usage(containerId: string): Promise<number> {
    return await this.#graph.usage(containerId);
  }
}
