/** The schemas that have names of their own in the document: every body and every answer, and what several of them share. */
import type * as z from "zod/mini";
import {
  config,
  createBody,
  execCreateBody,
  execStartBody,
  hostConfig,
  updateBody,
} from "../schemas/container.ts";
import {
  endpoint,
  networkConnectBody,
  networkCreateBody,
  networkDisconnectBody,
} from "../schemas/network.ts";
import { authConfig } from "../schemas/registry.ts";
import { volumeCreateBody } from "../schemas/volume.ts";
import * as containers from "./answers/containers.ts";
import * as images from "./answers/images.ts";
import * as networks from "./answers/networks.ts";
import * as system from "./answers/system.ts";
import { anything } from "./answers/values.ts";

export const COMPONENTS: Readonly<Record<string, z.core.$ZodType>> = {
  // What clients send
  ContainerCreateRequest: createBody,
  ContainerUpdateRequest: updateBody,
  ContainerConfig: config,
  HostConfig: hostConfig,
  EndpointSettings: endpoint,
  ExecCreateRequest: execCreateBody,
  ExecStartRequest: execStartBody,
  NetworkCreateRequest: networkCreateBody,
  NetworkConnectRequest: networkConnectBody,
  NetworkDisconnectRequest: networkDisconnectBody,
  VolumeCreateRequest: volumeCreateBody,
  AuthConfig: authConfig,
  // What they get
  Error: system.errorBody,
  Version: system.version,
  Info: system.info,
  Event: system.event,
  DiskUsage: system.diskUsage,
  BuildPruned: system.buildPruned,
  ContainerSummary: containers.containerSummary,
  Container: containers.container,
  ContainerCreated: containers.created,
  ContainerUpdated: containers.updated,
  ContainerWaited: containers.waited,
  ContainerProcesses: containers.processes,
  ContainerChanges: containers.changes,
  ContainerStats: containers.stats,
  ContainersPruned: containers.containersPruned,
  Endpoint: containers.endpoint,
  Exec: containers.execProcess,
  Health: containers.health,
  Identified: containers.identified,
  MountPoint: containers.mountPoint,
  ImageSummary: images.imageSummary,
  Image: images.image,
  ImageHistoryEntry: images.historyEntry,
  ImageRemoved: images.imageRemoved,
  ImagesPruned: images.imagesPruned,
  ImageSearchResult: images.searchResult,
  ProgressLine: images.progressLine,
  Distribution: images.distribution,
  LoggedIn: images.loggedIn,
  Network: networks.network,
  NetworkCreated: networks.networkCreated,
  NetworksPruned: networks.networksPruned,
  NetworkDoctor: networks.networkDoctor,
  Volume: networks.volume,
  VolumeList: networks.volumeList,
  VolumesPruned: networks.volumesPruned,
  Anything: anything,
};
