/** Sizes as go-units prints them. */
export { bytesSize, humanSize, humanSizeShort } from "../../base/units.ts";
