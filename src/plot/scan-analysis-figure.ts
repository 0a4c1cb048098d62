import type { Counts } from "../distiller/com.ts";
import { type CenterOfMassFigure, centerOfMassPanels } from "./center-of-mass-figure.ts";
import { drawHeatmapFigure, type HeatmapPanel } from "./heatmap-figure.ts";
import { finiteMean, percentileLimits, wholeLimits } from "./limits.ts";
import { formatNumber } from "./ticks.ts";

export interface ScanAnalysisFigure extends CenterOfMassFigure {
  /** Detector pixels, [rows, columns]. */
  readonly frameShape: readonly [number, number];
  /** By name, of scan positions or of detector pixels; read, not kept. */
  readonly counts: Readonly<Record<string, Counts>>;
}

/** As many as a ScanAnalyzer makes: of 32 detectors, `events` and `pattern`. */
const mostCounts = 34;

/** Longer names are cut. */
const longestTitle = 40;

/**
 * Draws an analysis of a scan as one figure and returns the encoded picture, which belongs to the caller: the two maps of
 * `centerOfMassFigure`, then the counts of scan positions with `events` last, then those of detector pixels. Without counts it
 * is the picture of `centerOfMassFigure`. At most 34 counts are drawn.
 *
 * Colours of the counts of positions take in the 1st to the 99th percentile; those of pixels are logarithmic and take in all.
 *
 * @throws ParameterError `STEMLINE_PLOT_SHAPE` as `centerOfMassFigure`, and for counts that have neither shape.
 */
export async function scanAnalysisFigure(figure: ScanAnalysisFigure): Promise<Uint8Array> {
  const { scanShape, scanNumber, counts, format } = figure;
  const drawn = Object.entries(counts).slice(0, mostCounts);
  // Where frames have the scan's shape, the name tells.
  const isPattern = ([name, { shape }]: [string, Counts]) =>
    name === "pattern" || shape.join() !== scanShape.join();
  const maps = drawn.filter((entry) => !isPattern(entry));
  const events = maps.filter(([name]) => name === "events");
  const panels = [
    ...centerOfMassPanels(figure),
    ...[...maps.filter(([name]) => name !== "events"), ...events].map(mapPanel),
    ...drawn.filter(isPattern).map((entry) => patternPanel(entry, figure)),
  ];
  return drawHeatmapFigure({ title: `scan ${scanNumber}`, scanShape, panels, format });
}

function mapPanel([name, { values }]: [string, Counts]): HeatmapPanel {
  const limits = percentileLimits(values);
  const note = limits === null ? "no values" : `mean ${readable(finiteMean(values), limits.high)} events`;
  return { title: titleOf(name), note, values, unit: "events", colors: "sequential", limits };
}

function patternPanel(
  [name, { values }]: [string, Counts],
  { frameShape }: ScanAnalysisFigure,
): HeatmapPanel {
  const sum = values.reduce((total, value) => total + value, 0);
  return {
    title: name === "pattern" ? "Summed pattern" : titleOf(name),
    note: `${sum.toLocaleString("en")} events in all, log(1 + events)`,
    values,
    unit: "events",
    colors: "sequential",
    limits: wholeLimits(values),
    scale: "log",
    frameShape,
  };
}

/** `bright_field` as "Bright field". */
function titleOf(name: string): string {
  const words = name.replaceAll("_", " ");
  const title = words.charAt(0).toUpperCase() + words.slice(1);
  return title.length <= longestTitle ? title : `${title.slice(0, longestTitle)}…`;
}

/** With the digits that matter on a scale of that end. */
function readable(value: number, high: number): string {
  return formatNumber(value, high / 100);
}
