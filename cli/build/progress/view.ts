import type { SessionEvent } from "../../../base/build_session.ts";
import type { BuildModel } from "./model.ts";

/** One way of showing a build. */
export interface ProgressView {
  readonly model: BuildModel;
  take(event: SessionEvent): void;
  /** No more will come; what is held back is shown. */
  end(): void;
}
