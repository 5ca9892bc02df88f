export {
  BLOCK,
  padding,
  type TarEntry,
  type TarEntryType,
  TarError,
  type TarEvent,
  type TarTime,
} from "./entry.ts";
export { TarReader, type TarReaderOptions } from "./reader.ts";
export { isTarHeader } from "./header.ts";
export { tarEvents } from "./events.ts";
export { TAR_END, tarArchive, type TarEntryInput, tarHeader, tarPadding } from "./writer.ts";
