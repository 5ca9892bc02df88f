import { buildCancelQuery, buildPruneQuery, buildQuery } from "../schemas/build.ts";
import { progressLine } from "./answers/images.ts";
import { buildPruned } from "./answers/system.ts";
import type { Operation } from "./operation.ts";

export const BUILD_OPERATIONS: readonly Operation[] = [
  {
    id: "ImageBuild",
    method: "post",
    path: "/build",
    summary: "Build an image. `X-Registry-Config` has credentials by registry, as JSON in base64",
    query: buildQuery,
    newer: { platform: "1.32", outputs: "1.40" },
    repeated: {
      t: { description: "A name for the image." },
      extrahosts: { description: "A line for /etc/hosts, `name:address`." },
    },
    body: { type: "application/x-tar", description: "The context, compressed or not; none with `remote`." },
    answer: progressLine,
    lines: true,
    refusals: [400, 404, 500],
  },
  {
    id: "BerthBuild",
    method: "post",
    path: "/berth/build",
    summary: "Build with questions to the client: secrets, ssh agents, files as the result (berth's own)",
    hijack: true,
    refusals: [400],
  },
  {
    id: "BuildCancel",
    method: "post",
    path: "/build/cancel",
    summary: "Call off the build that was started with this `buildid`",
    since: "1.31",
    query: buildCancelQuery,
    required: ["id"],
    refusals: [400],
  },
  {
    id: "BuildPrune",
    method: "post",
    path: "/build/prune",
    summary: "Remove what builds have kept",
    since: "1.31",
    query: buildPruneQuery,
    newer: { "reserved-space": "1.48", "max-used-space": "1.48", "min-free-space": "1.48" },
    answer: buildPruned,
    refusals: [400],
  },
  {
    id: "Session",
    method: "post",
    path: "/session",
    summary:
      "Open a session of BuildKit's: with `Upgrade: h2c`, the engine calls the client by gRPC on this connection",
    since: "1.31",
    status: 101,
    refusals: [400],
  },
  {
    id: "Grpc",
    method: "post",
    path: "/grpc",
    summary: "BuildKit's services `Control` and `LLBBridge`: with `Upgrade: h2c`, gRPC on this connection",
    since: "1.31",
    status: 101,
    refusals: [400],
  },
];
