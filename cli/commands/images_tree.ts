/** `berth images --tree`: images with all their names, and the platforms that each has. */

import type { ImageSummary } from "../api_types.ts";
import { ellipsis, familiarName, shortId, splitReference } from "../output/names.ts";
import { humanSizeShort } from "../output/units.ts";
import { consoleSize } from "../terminal/raw_mode.ts";

/** What `/images/json?manifests=1` adds. */
interface TreeImage extends ImageSummary {
  readonly Manifests?: readonly Manifest[] | null;
}

interface Manifest {
  readonly ID?: string;
  readonly Available?: boolean;
  readonly Kind?: string;
  readonly Size?: { readonly Total?: number; readonly Content?: number };
  readonly ImageData?: {
    readonly Platform?: { readonly os?: string; readonly architecture?: string; readonly variant?: string };
    readonly Containers?: readonly string[] | null;
  } | null;
}

/** One line of the table; a line of a name alone has no `cells`. */
interface Line {
  readonly name: string;
  readonly cells?: { readonly id: string; readonly usage: string; readonly content: string };
  readonly inUse: boolean;
  readonly kind: "name" | "nameless" | "platform" | "missing";
}

const WARNING =
  "WARNING: This is an experimental feature. The output may change and shouldn't be depended on.";
const SPACING = 3;
const WIDTHS = { id: 12, usage: "DISK USAGE".length, content: "CONTENT SIZE".length, extra: "EXTRA".length };
/** Columns when there is no terminal. */
const DEFAULT_COLUMNS = 80;

/** The whole text. @param colors for a terminal; without them only the headers are marked, as docker does. */
export function imageTree(images: readonly TreeImage[], all: boolean, colors: boolean): string {
  const shown = images.filter(({ RepoTags }) => all || (RepoTags ?? []).length > 0)
    .sort((a, b) => b.Created - a.Created);
  const blocks = shown.map(lines);
  const spaced = blocks.some((block) => block.some(({ kind }) => kind === "platform" || kind === "missing"));
  const columns = colors ? consoleSize()[1] || DEFAULT_COLUMNS : DEFAULT_COLUMNS;
  const room = columns - Object.values(WIDTHS).reduce((sum, width) => sum + width + SPACING, 0);
  const longest = Math.max("IMAGE".length, ...blocks.flat().map(({ name }) => name.length));
  const paint = colors ? inColor : plain;
  const row = layout(Math.max("IMAGE".length, Math.min(longest, room)), paint);
  return [
    paint("93", WARNING),
    legend(columns, colors),
    "",
    header(Math.max("IMAGE".length, Math.min(longest, room))),
    ...blocks.flatMap((block) => [...block.map(row), ...(spaced ? [""] : [])]),
  ].map((line) => `${line}\n`).join("");
}

function lines(image: TreeImage): Line[] {
  const manifests = (image.Manifests ?? []).filter(({ Kind }) => Kind === "image");
  const used = (manifest: Manifest) => (manifest.ImageData?.Containers ?? []).length > 0;
  const content = manifests.reduce((sum, { Size }) => sum + (Size?.Content ?? 0), 0);
  const names = (image.RepoTags ?? []).map((tag) => {
    const { repository, tag: version } = splitReference(tag);
    return `${familiarName(repository)}:${version}`;
  }).sort();
  const cells = {
    id: shortId(image.Id),
    usage: humanSizeShort(image.Size),
    content: humanSizeShort(content),
  };
  const inUse = (image.Containers ?? 0) > 0 || manifests.some(used);
  const last: Line = names.length === 0
    ? { name: "<untagged>", cells, inUse, kind: "nameless" }
    : { name: names.pop() ?? "", cells, inUse, kind: "name" };
  return [
    ...names.map((name): Line => ({ name, inUse: false, kind: "name" })),
    last,
    ...manifests.map((manifest, i): Line => ({
      name: `${i === manifests.length - 1 ? "└─" : "├─"} ${platform(manifest)}`,
      cells: {
        id: shortId(manifest.ID ?? ""),
        usage: humanSizeShort(manifest.Size?.Total ?? 0),
        content: humanSizeShort(manifest.Size?.Content ?? 0),
      },
      inUse: used(manifest),
      kind: manifest.Available === false ? "missing" : "platform",
    })),
  ];
}

function platform({ ImageData }: Manifest): string {
  const { os = "", architecture = "", variant = "" } = ImageData?.Platform ?? {};
  return [os, architecture, variant].filter((part) => part !== "").join("/");
}

type Paint = (codes: string, text: string) => string;

const inColor: Paint = (codes, text) =>
  `${codes.split(" ").map((code) => `\x1b[${code}m`).join("")}${text}\x1b[0m`;
const plain: Paint = (_codes, text) => text;

/** Codes of names and of the other cells, by what the line is. */
const STYLES: Readonly<Record<Line["kind"], readonly [string, string]>> = {
  name: ["34 1", "39"],
  nameless: ["39 2", "39"],
  platform: ["39", "39"],
  missing: ["39 2", "39 2"],
};

function layout(nameWidth: number, paint: Paint): (line: Line) => string {
  const gap = " ".repeat(SPACING);
  return ({ name, cells, inUse, kind }) => {
    const [nameStyle, style] = STYLES[kind];
    const shown = ellipsis(name, nameWidth);
    if (cells === undefined) return paint(nameStyle, shown);
    const right = (text: string, width: number) =>
      " ".repeat(Math.max(0, width - text.length)) + paint(style, text);
    return [
      paint(nameStyle, shown) + " ".repeat(nameWidth - shown.length),
      paint(style, cells.id) + " ".repeat(Math.max(0, WIDTHS.id - cells.id.length)),
      right(cells.usage, WIDTHS.usage),
      right(cells.content, WIDTHS.content),
      inUse ? chip(paint) : " ".repeat(WIDTHS.extra),
    ].join(gap);
  };
}

/** In the column EXTRA: containers were made from it. */
function chip(paint: Paint): string {
  return paint === plain ? "U".padEnd(WIDTHS.extra) : `${paint(CHIP, " U ")}  `;
}

const CHIP = "38;5;0 48;5;14";

function header(nameWidth: number): string {
  const bold = (text: string) => inColor("39 1", text);
  const gap = " ".repeat(SPACING);
  return [
    bold("IMAGE") + " ".repeat(nameWidth - "IMAGE".length),
    bold("ID") + " ".repeat(WIDTHS.id - "ID".length),
    bold("DISK USAGE"),
    bold("CONTENT SIZE"),
    bold("EXTRA"),
  ].join(gap);
}

/** What the chips mean, at the right edge. */
function legend(columns: number, colors: boolean): string {
  const plainText = colors ? "i Info →   U  In Use " : "Info ->  U In Use ";
  const margin = " ".repeat(Math.max(0, columns - plainText.length));
  if (!colors) return margin + plainText;
  return `${margin}${inColor("1 106 30", "i")}\x1b[0m ${inColor("96", "Info → ")}\x1b[0m ${
    inColor(CHIP, " U ")
  } In Use `;
}
