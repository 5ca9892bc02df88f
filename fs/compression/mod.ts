export { type Compression, detectCompression, MAGIC_BYTES } from "./detect.ts";
export { decompress, sniff } from "./decompress.ts";
export { checkGrowth, GrowthGuard, MAX_RATIO } from "./growth.ts";
