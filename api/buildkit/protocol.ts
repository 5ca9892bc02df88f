/**
 * The part of BuildKit's protocol that berth speaks, as protobuf definitions. Names and field numbers are those of
 * moby/buildkit (api/services/control, api/types, frontend/gateway, session, solver/pb, solver/errdefs) and of
 * tonistiigi/fsutil (types/wire, types/stat); fields that berth neither reads nor writes are left out, which protobuf allows.
 */
import protobuf from "protobufjs";

const DEFINITIONS = `syntax = "proto3";
package berth;

message Empty {}
message Time { int64 seconds = 1; int32 nanos = 2; }
message Bytes { bytes data = 1; }

message Platform { string Architecture = 1; string OS = 2; string Variant = 3; }
message Version { string package = 1; string version = 2; string revision = 3; }
message GCPolicy { bool all = 1; int64 keepDuration = 2; int64 reservedSpace = 3; repeated string filters = 4; }
message Worker {
  string ID = 1; map<string, string> Labels = 2; repeated Platform platforms = 3;
  repeated GCPolicy GCPolicy = 4; Version BuildkitVersion = 5;
}
message ListWorkersResponse { repeated Worker record = 1; }
message InfoResponse { Version buildkitVersion = 1; }

message UsageRequest { repeated string filter = 1; }
message PruneRequest {
  repeated string filter = 1; bool all = 2; int64 keepDuration = 3;
  int64 reservedSpace = 4; int64 maxUsedSpace = 5; int64 minFreeSpace = 6;
}
message UsageRecord {
  string ID = 1; bool Mutable = 2; bool InUse = 3; int64 Size = 4; Time CreatedAt = 6; Time LastUsedAt = 7;
  int64 UsageCount = 8; string Description = 9; string RecordType = 10; bool Shared = 11; repeated string Parents = 12;
}
message UsageResponse { repeated UsageRecord record = 1; }

message Definition { repeated bytes def = 1; }
message Exporter { string Type = 1; map<string, string> Attrs = 2; }
message CacheEntry { string Type = 1; map<string, string> Attrs = 2; }
message CacheOptions { repeated CacheEntry Exports = 4; repeated CacheEntry Imports = 5; }
message SolveRequest {
  string Ref = 1; Definition Definition = 2; string ExporterDeprecated = 3; map<string, string> ExporterAttrsDeprecated = 4;
  string Session = 5; string Frontend = 6; map<string, string> FrontendAttrs = 7; CacheOptions Cache = 8;
  repeated string Entitlements = 9; map<string, Definition> FrontendInputs = 10; repeated Exporter Exporters = 13;
}
message SolveResponse { map<string, string> ExporterResponse = 1; }

message SourceInfo { string filename = 1; bytes data = 2; string language = 4; }
message Position { int32 line = 1; int32 character = 2; }
message Range { Position start = 1; Position end = 2; }

message StatusRequest { string Ref = 1; }
message Vertex {
  string digest = 1; repeated string inputs = 2; string name = 3; bool cached = 4; Time started = 5; Time completed = 6;
  string error = 7;
}
message VertexStatus {
  string ID = 1; string vertex = 2; string name = 3; int64 current = 4; int64 total = 5; Time timestamp = 6;
  Time started = 7; Time completed = 8;
}
message VertexLog { string vertex = 1; Time timestamp = 2; int64 stream = 3; bytes msg = 4; }
message VertexWarning {
  string vertex = 1; int64 level = 2; bytes short = 3; repeated bytes detail = 4; string url = 5; SourceInfo info = 6;
  repeated Range ranges = 7;
}
message StatusResponse {
  repeated Vertex vertexes = 1; repeated VertexStatus statuses = 2; repeated VertexLog logs = 3;
  repeated VertexWarning warnings = 4;
}

message HistoryRequest { bool ActiveOnly = 1; string Ref = 2; bool EarlyExit = 3; }

message Capability { string ID = 1; bool Enabled = 2; }
message PongResponse {
  repeated Capability FrontendAPICaps = 1; repeated Capability LLBCaps = 2; repeated Worker Workers = 3;
}
message GatewaySolveRequest {
  Definition Definition = 1; string Frontend = 2; map<string, string> FrontendOpt = 3; bool allowResultReturn = 5;
  bool allowResultArrayRef = 6; repeated CacheEntry CacheImports = 12; map<string, Definition> FrontendInputs = 13;
  bool Evaluate = 14;
}
message Ref { string id = 1; Definition def = 2; }
message Result { string refDeprecated = 1; Ref ref = 3; map<string, bytes> metadata = 10; }
message GatewaySolveResponse { string ref = 1; Result result = 3; }
message Any { string type_url = 1; bytes value = 2; }
message RpcStatus { int32 code = 1; string message = 2; repeated Any details = 3; }
message ReturnRequest { Result result = 1; RpcStatus error = 2; }

message CredentialsRequest { string Host = 1; }
message CredentialsResponse { string Username = 1; string Secret = 2; }
message GetSecretRequest { string ID = 1; }
message GetSecretResponse { bytes data = 1; }
message CheckAgentRequest { string ID = 1; }

message Stat {
  string path = 1; uint32 mode = 2; uint32 uid = 3; uint32 gid = 4; int64 size = 5; int64 modTime = 6;
  string linkname = 7; int64 devmajor = 8; int64 devminor = 9; map<string, bytes> xattrs = 10;
}
message Packet { int32 type = 1; Stat stat = 2; uint32 ID = 3; bytes data = 4; }
`;

const root = protobuf.parse(DEFINITIONS, { keepCase: true }).root;
const types = new Map<string, protobuf.Type>();

function typeOf(name: string): protobuf.Type {
  let type = types.get(name);
  if (type === undefined) {
    type = root.lookupType(`berth.${name}`);
    types.set(name, type);
  }
  return type;
}

/** google.protobuf.Timestamp. */
export interface Time {
  readonly seconds: number;
  readonly nanos: number;
}

export interface Stat {
  readonly path: string;
  /** Go's os.FileMode. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly size: number;
  /** Nanoseconds since 1970; whole microseconds survive a JavaScript number. */
  readonly modTime: number;
  readonly linkname: string;
  readonly devmajor: number;
  readonly devminor: number;
  readonly xattrs: Readonly<Record<string, Uint8Array>>;
}

export interface Packet {
  readonly type: number;
  readonly stat: Stat | null;
  readonly ID: number;
  readonly data: Uint8Array;
}

/** What kinds of `Packet` there are (fsutil, types/wire.proto). */
export const PACKET = { stat: 0, request: 1, data: 2, end: 3, error: 4 } as const;

interface Exporter {
  readonly Type: string;
  readonly Attrs: Readonly<Record<string, string>>;
}

/** Messages that clients send, decoded: every field is there. */
export interface Incoming {
  readonly UsageRequest: { readonly filter: readonly string[] };
  readonly PruneRequest: {
    readonly filter: readonly string[];
    readonly all: boolean;
    readonly keepDuration: number;
    readonly reservedSpace: number;
    readonly maxUsedSpace: number;
    readonly minFreeSpace: number;
  };
  readonly SolveRequest: {
    readonly Ref: string;
    readonly Definition: { readonly def: readonly Uint8Array[] } | null;
    readonly ExporterDeprecated: string;
    readonly ExporterAttrsDeprecated: Readonly<Record<string, string>>;
    readonly Session: string;
    readonly Frontend: string;
    readonly FrontendAttrs: Readonly<Record<string, string>>;
    readonly Cache: { readonly Exports: readonly Exporter[]; readonly Imports: readonly Exporter[] } | null;
    readonly Entitlements: readonly string[];
    readonly FrontendInputs: Readonly<Record<string, unknown>>;
    readonly Exporters: readonly Exporter[];
  };
  readonly StatusRequest: { readonly Ref: string };
  readonly HistoryRequest: {
    readonly ActiveOnly: boolean;
    readonly Ref: string;
    readonly EarlyExit: boolean;
  };
  readonly GatewaySolveRequest: {
    readonly Definition: { readonly def: readonly Uint8Array[] } | null;
    readonly Frontend: string;
    readonly FrontendOpt: Readonly<Record<string, string>>;
    readonly allowResultReturn: boolean;
    readonly CacheImports: readonly Exporter[];
    readonly FrontendInputs: Readonly<Record<string, unknown>>;
  };
  readonly ReturnRequest: {
    readonly error:
      | {
        readonly code: number;
        readonly message: string;
        readonly details: readonly { readonly type_url: string; readonly value: Uint8Array }[];
      }
      | null;
  };
  readonly CredentialsResponse: { readonly Username: string; readonly Secret: string };
  readonly GetSecretResponse: { readonly data: Uint8Array };
  readonly Bytes: { readonly data: Uint8Array };
  readonly Empty: Readonly<Record<string, never>>;
  readonly Packet: Packet;
}

/** @throws {Error} when the bytes are no such message. */
export function decode<Name extends keyof Incoming>(name: Name, bytes: Uint8Array): Incoming[Name] {
  const type = typeOf(name);
  // protobufjs' answer has the shape that DEFINITIONS gives the message; its types cannot say so
  return type.toObject(type.decode(bytes), { longs: Number, defaults: true }) as unknown as Incoming[Name];
}

/** Encodes a message; fields that are left out have protobuf's default. */
export function encode(name: string, message: Readonly<Record<string, unknown>>): Uint8Array {
  const type = typeOf(name);
  return type.encode(type.fromObject(message)).finish();
}

/** @param time milliseconds since 1970. */
export function timestamp(time: number): Time {
  const seconds = Math.floor(time / 1000);
  return { seconds, nanos: Math.round((time - seconds * 1000) * 1e6) };
}
