/** The tables of a run, as text cells: printed as they are, or put into a page. */
import { type Figure, noisySpread } from "./figures.ts";
import { operationOf } from "./names.ts";
import type { Verdict } from "./targets.ts";

export interface Table {
  readonly title: string;
  readonly columns: readonly string[];
  readonly rows: readonly (readonly string[])[];
}

/** What each operation is; tables come in this order. */
const titles: Readonly<Record<string, string>> = {
  limit: "Limits of the machine: one thread; an event of the clock is one addition that needs the one before",
  com: "Centre-of-mass kernels: com/CROP/WHO/EVENTS A FRAME/LEVEL",
  decode: "Batch headers to columns: decode/FORMAT/FRAMES",
  encode: "Columns to a JSON header: encode/json/FRAMES",
  npz: "Archives of a partial result: npz/WHO/SCAN SIDE",
  crc: "Their checksums alone: crc/WHO/SCAN SIDE",
  analysis: "scan-analysis, a whole message: analysis/CROP-DETECTORS/WHO/EVENTS A FRAME/SCAN SIDE",
  partial: "center-of-mass-partial, a whole message: partial/CROP/WHO/EVENTS A FRAME/SCAN SIDE",
  small: "The same, 256 frames: small/CROP/WHO/EVENTS A FRAME/SCAN SIDE",
  reduce: "center-of-mass-reduce: reduce/json, one message; reduce/scan, all eight of a scan",
  file: "Counted files of a 128 × 128 scan: file/WHAT/EVENTS A FRAME",
  shape: "Other shapes: frames of EVENTS or WIDTH, event types, scans",
  host: "Operator processes over ZeroMQ: host/CHAIN/EVENTS A FRAME/SIZE OF A MESSAGE",
};

const columns = ["name", "ns/frame", "Mevents/s", "GB/s", "of limit", "limit", "× baseline", "spread"];

export function figureTables(figures: readonly Figure[]): Table[] {
  return Object.entries(titles).flatMap(([operation, title]) => {
    const rows = figures.filter(({ name }) => operationOf(name) === operation).map(figureRow);
    return rows.length === 0 ? [] : [{ title, columns, rows }];
  });
}

export function targetTable(verdicts: readonly Verdict[]): Table {
  const rows = verdicts.map(({ what, target, measured, met }) => [
    ...[what, target, measured ?? "not measured", met === null ? "" : met ? "met" : "NOT MET"],
  ]);
  return { title: "Targets", columns: ["what", "target", "measured", ""], rows };
}

/** A mark shows that it is noisy. */
export function spreadText(spread: number): string {
  return `${(100 * spread).toFixed(0)} %${spread > noisySpread ? " !" : ""}`;
}

export function plainText({ title, columns, rows }: Table): string {
  const lines = [columns, ...rows];
  const widths = columns.map((_, i) => Math.max(...lines.map((line) => line[i]!.length)));
  const text = lines.map((line) =>
    line
      .map((cell, i) => (isNumeric(cell) ? cell.padStart(widths[i]!) : cell.padEnd(widths[i]!)))
      .join("  ")
      .trimEnd(),
  );
  return [title, text[0], "-".repeat(Math.max(...text.map(({ length }) => length))), ...text.slice(1)].join(
    "\n",
  );
}

/** Numbers stand at the right. */
export function isNumeric(cell: string): boolean {
  return /^[\d.]/.test(cell);
}

function figureRow(figure: Figure): string[] {
  const { name, nsPerFrame, eventsPerSecond, bytesPerSecond, limit, ratioToLimit, ratioToBaseline } = figure;
  return [
    name,
    number(nsPerFrame),
    number(eventsPerSecond, 1e-6),
    number(bytesPerSecond, 1e-9),
    number(ratioToLimit),
    limit ?? "",
    number(ratioToBaseline),
    spreadText(figure.spread),
  ];
}

/** Two or three significant digits. */
function number(value: number | null, scale = 1): string {
  if (value === null) return "";
  const scaled = value * scale;
  if (scaled >= 100) return scaled.toFixed(0);
  if (scaled >= 1) return scaled.toFixed(scaled >= 10 ? 1 : 2);
  return String(Number(scaled.toPrecision(2)));
}
