import { ParameterError } from "../errors.ts";
import { type ColorMapName, partBelow, type Scale } from "./color-map.ts";
import { bundledFont } from "./font.ts";
import {
  type AxisGrid,
  drawColorBar,
  drawHatch,
  drawHeatmap,
  fitGrid,
  type Grid,
  positionPixel,
  type Raster,
} from "./heatmap.ts";
import type { Limits } from "./limits.ts";
import { type PictureFormat, Sheet, softInk } from "./sheet.ts";
import { angleTicks, countTicks, indexTicks, type Ticks, valueTicks } from "./ticks.ts";

/** One map of a figure with its colour bar. */
export interface HeatmapPanel {
  readonly title: string;
  /** A second, smaller line under the title; may be empty. */
  readonly note: string;
  /** (rows, columns), row-major; read, not kept. Values that are not finite are drawn as missing. */
  readonly values: Float32Array | Float64Array;
  /** Unit of the values as the colour bar shows it. */
  readonly unit: string;
  /** `cyclic` is for angles in radians; its limits are -π and π and it is ticked in parts of π. */
  readonly colors: ColorMapName;
  /** Ends of the colour bar; null draws every value as missing and no bar. */
  readonly limits: Limits | null;
  /** Of the colour bar; linear unless given. */
  readonly scale?: Scale;
  /** Of a map of detector pixels, their [rows, columns]; any other map is one of scan positions. */
  readonly frameShape?: readonly [number, number];
}

export interface HeatmapFigure {
  readonly title: string;
  /** Scan positions, [rows, columns]. */
  readonly scanShape: readonly [number, number];
  /** At least one. */
  readonly panels: readonly HeatmapPanel[];
  readonly format: PictureFormat;
}

// Sizes are in pixels of the picture, which is meant to be shown at half its size.
const sideLimit = 1024;
const smallestSideLimit = 320;
/** Sides of all maps of a row together, where there are more than two. */
const rowLimit = 1920;
const margin = 40;
const panelGap = 56;
const gap = 10;
const figureTitleSize = 38;
const titleSize = 31;
const labelSize = 28;
const tickSize = 25;
const tickLength = 10;
const barGap = 30;
const barWidth = 36;
const barTip = 22;
const legendLine = 38;

/**
 * Draws heat maps of a scan, each with title, axes in scan positions or detector pixels and colour bar, as an encoded picture.
 *
 * Two maps stand side by side, or one above the other when the scan is at least twice as wide as high; more of them, smaller
 * ones, in rows of about as many as there are rows, or half as many if the scan is that wide. The picture is at most 3200 by
 * 2900 pixels for one or two maps of any shape, does not depend on the fonts or font settings of the machine, and is the same
 * bytes when drawn again. The result belongs to the caller.
 *
 * @throws ParameterError `STEMLINE_PLOT_SHAPE` when a shape is not two positive integers or the length of a panel's values is
 * not rows times columns.
 */
export async function drawHeatmapFigure(figure: HeatmapFigure): Promise<Uint8Array> {
  checkShapes(figure);
  const { across, mapHeight, mapWidth } = arrange(figure);
  const panels = figure.panels.map((panel) => {
    const [rows, columns] = panel.frameShape ?? figure.scanShape;
    return new PanelLayout(panel, fitGrid(rows, columns, mapHeight, mapWidth));
  });

  // Panels share the widest margins, so that their maps line up.
  const left = Math.max(...panels.map((panel) => panel.left));
  const right = Math.max(...panels.map((panel) => panel.right));
  const column = (i: number) => panels.filter((_, place) => place % across === i);
  const widths = Array.from({ length: across }, (_, i) => {
    return left + Math.max(...column(i).map(({ grid }) => grid.column.pixels)) + right;
  });
  const row = (i: number) => panels.slice(i * across, (i + 1) * across);
  const heights = Array.from({ length: Math.ceil(panels.length / across) }, (_, i) => {
    const maps = Math.max(...row(i).map(({ grid }) => grid.row.pixels));
    return panels[0]!.top + maps + Math.max(...row(i).map(({ bottom }) => bottom));
  });
  const x = offsets(widths, margin);
  const y = offsets(heights, margin + figureTitleSize + 24);
  const width = x.at(-1)! - panelGap + margin;
  const height = y.at(-1)! - panelGap + margin;

  const sheet = new Sheet();
  sheet.text(figure.title, width / 2, margin + figureTitleSize - 8, figureTitleSize, { bold: true });
  for (const [i, panel] of panels.entries()) {
    panel.draw(sheet, x[i % across]! + left, y[Math.floor(i / across)]! + panel.top);
  }
  return sheet.encode(width, height, figure.format);
}

/** Where each of several lengths begins, and behind them where one more would. */
function offsets(lengths: readonly number[], first: number): number[] {
  const begins = [first];
  for (const length of lengths) begins.push(begins.at(-1)! + length + panelGap);
  return begins;
}

/** How many maps stand in a row, and the most pixels of a map. */
function arrange({ scanShape: [rows, columns], panels }: HeatmapFigure) {
  const wide = columns >= 2 * rows;
  const few = panels.length <= 2;
  const square = few ? panels.length : Math.ceil(Math.sqrt(panels.length));
  const mapHeight = few ? sideLimit : Math.max(smallestSideLimit, Math.floor(rowLimit / square));
  return {
    across: wide ? Math.ceil(square / 2) : square,
    mapHeight,
    mapWidth: wide ? 2 * mapHeight : mapHeight,
  };
}

function checkShapes({ scanShape, panels }: HeatmapFigure): void {
  checkShape("scanShape", scanShape);
  for (const { title, values, frameShape } of panels) {
    if (frameShape !== undefined) checkShape("frameShape", frameShape);
    const [rows, columns] = frameShape ?? scanShape;
    if (values.length !== rows * columns) {
      const what = frameShape === undefined ? "a scan" : "frames";
      throw new ParameterError(
        "STEMLINE_PLOT_SHAPE",
        `${title}: expected ${rows * columns} values for ${what} of ${rows} x ${columns}, got ${values.length}`,
      );
    }
  }
}

function checkShape(name: string, shape: readonly [number, number]): void {
  if (shape.every((count) => Number.isSafeInteger(count) && count > 0)) return;
  throw new ParameterError(
    "STEMLINE_PLOT_SHAPE",
    `${name}: expected [rows, columns] as positive integers, got [${shape.join(", ")}]`,
  );
}

/** Where the parts of one panel go; `left`, `right`, `top` and `bottom` are the space needed around the map. */
class PanelLayout {
  readonly left: number;
  readonly right: number;
  readonly top = 108;
  readonly bottom: number;
  readonly grid: Grid;
  readonly #panel: HeatmapPanel;
  readonly #rowTicks: Ticks;
  readonly #columnTicks: Ticks;
  readonly #barTicks: Ticks | null;
  readonly #barTickWidth: number;
  readonly #missing: number;
  readonly #legend: readonly string[];

  constructor(panel: HeatmapPanel, grid: Grid) {
    const { row, column } = grid;
    this.grid = grid;
    this.#panel = panel;
    this.#rowTicks = indexTicks(row.positions, intervals(row.pixels, 1.6 * tickSize, 8));
    this.#columnTicks = indexTicks(
      column.positions,
      intervals(column.pixels, widest([String(column.positions - 1)], tickSize) + 2 * gap, 8),
    );
    this.#barTicks = barTicks(panel, row.pixels);
    this.#barTickWidth = widest(this.#barTicks?.labels ?? [], tickSize);
    this.#missing = panel.limits === null ? panel.values.length : countMissing(panel.values);
    this.#legend = legend(this.#missing, panel, grid);

    const titles = widest([panel.title], titleSize, "bold");
    const overhang = (Math.max(titles, widest([panel.note], tickSize)) - column.pixels) / 2;
    const rowLabels = tickLength + gap + widest(this.#rowTicks.labels, tickSize) + 2 * gap + labelSize;
    const bar = barGap + barWidth + tickLength + gap + this.#barTickWidth + 2 * gap + labelSize;
    const legendWidth = legendLine + widest(this.#legend, tickSize) - column.pixels;
    this.left = Math.ceil(Math.max(rowLabels, overhang));
    this.right = Math.ceil(Math.max(bar, overhang, legendWidth));
    this.bottom = tickLength + gap + tickSize + gap + labelSize + gap + this.#legend.length * legendLine;
  }

  /** Draws with the map's top left corner at (`x`, `y`). */
  draw(sheet: Sheet, x: number, y: number): void {
    const { title, note, values, colors, limits, scale } = this.#panel;
    const { row, column } = this.grid;
    sheet.text(title, x + column.pixels / 2, y - 70, titleSize, { bold: true });
    sheet.text(note, x + column.pixels / 2, y - 34, tickSize, { color: softInk });
    sheet.box(x, y, column.pixels, row.pixels);
    sheet.raster(drawHeatmap(values, this.grid, colors, limits, scale), x, y);
    this.#drawAxes(sheet, x, y);
    this.#drawBar(sheet, x + column.pixels + barGap, y);
    this.#drawLegend(sheet, x, y + row.pixels + this.bottom - this.#legend.length * legendLine);
  }

  #drawAxes(sheet: Sheet, x: number, y: number): void {
    const { row, column } = this.grid;
    const bottom = y + row.pixels;
    for (const [i, position] of this.#columnTicks.values.entries()) {
      const at = Math.round(x + positionPixel(column, position));
      sheet.line(at, bottom + 1, at, bottom + tickLength);
      sheet.text(this.#columnTicks.labels[i]!, at, bottom + tickLength + gap + 0.75 * tickSize, tickSize);
    }
    const columnLabelAt = bottom + tickLength + 2 * gap + tickSize + 0.75 * labelSize;
    sheet.text(axisLabel("column", this.#panel, column), x + column.pixels / 2, columnLabelAt, labelSize);

    for (const [i, position] of this.#rowTicks.values.entries()) {
      const at = Math.round(y + positionPixel(row, position));
      sheet.line(x - tickLength, at, x - 1, at);
      sheet.text(this.#rowTicks.labels[i]!, x - tickLength - gap, at + capHeight(tickSize) / 2, tickSize, {
        anchor: "end",
      });
    }
    const labels = tickLength + gap + widest(this.#rowTicks.labels, tickSize) + 2 * gap;
    sheet.text(axisLabel("row", this.#panel, row), x - labels, y + row.pixels / 2, labelSize, {
      turned: true,
    });
  }

  #drawBar(sheet: Sheet, x: number, y: number): void {
    const { values, colors, limits, unit, scale = "linear" } = this.#panel;
    if (limits === null || this.#barTicks === null) return;
    const height = this.grid.row.pixels;
    const bar = drawColorBar(colors, barWidth, height);
    // Tips tell that there are values past the ends of the bar.
    if (values.some((value) => value > limits.high && Number.isFinite(value))) {
      sheet.tip(x, y, barWidth, -barTip, colorAt(bar, 0));
    }
    if (values.some((value) => value < limits.low && Number.isFinite(value))) {
      sheet.tip(x, y + height, barWidth, barTip, colorAt(bar, height - 1));
    }
    sheet.box(x, y, barWidth, height);
    sheet.raster(bar, x, y);
    const labelX = x + barWidth + tickLength + gap;
    for (const [i, value] of this.#barTicks.values.entries()) {
      const at = Math.round(y + height * (1 - partBelow(value, limits.low, limits.high, scale)));
      sheet.line(x + barWidth + 1, at, x + barWidth + tickLength, at);
      sheet.text(this.#barTicks.labels[i]!, labelX, at + capHeight(tickSize) / 2, tickSize, {
        anchor: "start",
      });
    }
    const label = this.#barTicks.note === "" ? unit : `${this.#barTicks.note} ${unit}`;
    const labelBaseline = labelX + this.#barTickWidth + 2 * gap + 0.75 * labelSize;
    sheet.text(label, labelBaseline, y + height / 2, labelSize, { turned: true });
  }

  #drawLegend(sheet: Sheet, x: number, y: number): void {
    for (const [i, text] of this.#legend.entries()) {
      const baseline = y + (i + 1) * legendLine - gap;
      const swatch = i === 0 && this.#missing > 0;
      if (swatch) {
        const side = 24;
        sheet.box(x, baseline - side + 3, side, side);
        sheet.raster(drawHatch(side), x, baseline - side + 3);
      }
      sheet.text(text, x + (swatch ? legendLine : 0), baseline, tickSize, {
        anchor: "start",
        color: softInk,
      });
    }
  }
}

function barTicks({ colors, limits, scale }: HeatmapPanel, pixels: number): Ticks | null {
  if (limits === null) return null;
  if (colors === "cyclic") return angleTicks;
  const most = Math.max(5, intervals(pixels, 80, 10));
  if (scale === "log") return countTicks(limits.low, limits.high, (1.6 * tickSize) / pixels, most);
  return valueTicks(limits.low, limits.high, most);
}

function intervals(pixels: number, pixelsPerTick: number, most: number): number {
  return Math.max(1, Math.min(most, Math.floor(pixels / pixelsPerTick)));
}

function countMissing(values: Float32Array | Float64Array): number {
  let count = 0;
  for (const value of values) if (!Number.isFinite(value)) count += 1;
  return count;
}

function legend(missing: number, { frameShape }: HeatmapPanel, { row, column }: Grid): string[] {
  const lines: string[] = [];
  const [picture, one] =
    frameShape === undefined ? ["pixel", "position"] : ["picture's pixel", "detector pixel"];
  if (missing > 0) lines.push(`no value: ${missing} ${missing === 1 ? one : `${one}s`}`);
  if (row.stretch > 1) lines.push(`not to scale: rows ${row.stretch}× enlarged`);
  if (column.stretch > 1) lines.push(`not to scale: columns ${column.stretch}× enlarged`);
  const block = Math.max(row.block, column.block);
  if (block > 1) lines.push(`each ${picture}: mean of ${row.block} × ${column.block} ${one}s`);
  return lines;
}

/** The axis' name with its unit, as far as it fits. */
function axisLabel(name: string, { frameShape }: HeatmapPanel, axis: AxisGrid): string {
  const full = frameShape === undefined ? `${name} / scan positions` : `detector ${name} / pixels`;
  return widest([full], labelSize) <= axis.pixels ? full : name;
}

function widest(texts: readonly string[], size: number, weight: "regular" | "bold" = "regular"): number {
  return Math.max(0, ...texts.map((text) => bundledFont(weight).width(text, size)));
}

/** Height of digits and capitals of the bundled font. */
function capHeight(size: number): number {
  return 0.729 * size;
}

function colorAt({ data, width }: Raster, y: number): string {
  return `rgb(${data.subarray(3 * y * width, 3 * y * width + 3).join(",")})`;
}
