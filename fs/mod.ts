export { mappedIds, probeGraphDriver, type ProbeOptions } from "./probe.ts";
export type { GraphDriver, GraphDriverName, LayerRef, WhiteoutFormat } from "./graph_driver.ts";
