import type { SessionEvent } from "../../../base/build_session.ts";
import { BuildModel } from "./model.ts";
import type { ProgressView } from "./view.ts";

/** Says nothing, but knows what a failing step has said. */
export class SilentProgress implements ProgressView {
  readonly model = new BuildModel();

  take(event: SessionEvent): void {
    this.model.take(event);
  }

  end(): void {}
}
