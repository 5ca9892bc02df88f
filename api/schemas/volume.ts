import * as z from "zod/mini";
import { opt, struct, text, textMap } from "./go.ts";

/** Body of POST /volumes/create. */
export const volumeCreateBody = struct("volume.CreateOptions", {
  Name: opt(text),
  Driver: opt(text),
  DriverOpts: opt(textMap),
  Labels: opt(textMap),
  ClusterVolumeSpec: opt(z.record(z.string(), z.unknown())),
});
