import * as z from "zod/mini";
import { bool, dateTime, integer, mapOf, maybe, slice, text, textMap, texts } from "./values.ts";

export const network = z.object({
  Name: text,
  Id: text,
  Created: dateTime,
  Scope: text,
  Driver: text,
  EnableIPv4: maybe(bool),
  EnableIPv6: bool,
  IPAM: z.object({
    Driver: text,
    Options: textMap,
    Config: slice(z.object({
      Subnet: maybe(text),
      IPRange: maybe(text),
      Gateway: maybe(text),
      AuxiliaryAddresses: maybe(textMap),
    })),
  }),
  Internal: bool,
  Attachable: bool,
  Ingress: bool,
  ConfigFrom: z.object({ Network: text }),
  ConfigOnly: bool,
  Containers: maybe(mapOf(z.object({
    Name: text,
    EndpointID: text,
    MacAddress: text,
    IPv4Address: text,
    IPv6Address: text,
  }))),
  Options: textMap,
  Labels: textMap,
});

export const networkCreated = z.object({ Id: text, Warning: text });
export const networksPruned = z.object({ NetworksDeleted: texts });

/** berth's own: the ways of networking, and what this machine lacks for them. */
export const networkDoctor = z.object({
  protocol: integer,
  version: text,
  pid: integer,
  hostPid: integer,
  outbound: text,
  paths: z.array(z.object({ name: text, works: bool, detail: text, hint: maybe(text) })),
});

export const volume = z.object({
  CreatedAt: maybe(dateTime),
  Driver: text,
  Labels: textMap,
  Mountpoint: text,
  Name: text,
  Options: textMap,
  Scope: text,
  Status: maybe(mapOf(z.unknown())),
  UsageData: maybe(z.object({ RefCount: integer, Size: integer })),
});

export const volumeList = z.object({ Volumes: slice(volume), Warnings: texts });
export const volumesPruned = z.object({ VolumesDeleted: texts, SpaceReclaimed: integer });
