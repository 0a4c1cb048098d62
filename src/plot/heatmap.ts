import { type ColorMapName, colorIndex, colorMap, type Scale } from "./color-map.ts";
import type { Limits } from "./limits.ts";

/** How many pixels one axis of a map gets. "Positions" are those of the scan, or of the detector in a map of its pixels. */
export interface AxisGrid {
  /** Positions along the axis. */
  readonly positions: number;
  /** Positions averaged into one cell. */
  readonly block: number;
  readonly cells: number;
  /** Pixels of one cell. */
  readonly cellPixels: number;
  readonly pixels: number;
  /** How many times longer a position is drawn than true proportions with the other axis ask for; 1 as a rule. */
  readonly stretch: number;
}

export interface Grid {
  readonly row: AxisGrid;
  readonly column: AxisGrid;
}

/** An RGB picture, three bytes a pixel. */
export interface Raster {
  readonly data: Uint8Array<ArrayBuffer>;
  readonly width: number;
  readonly height: number;
}

/** A single position needs no more, and a few should not fill the screen. */
const maxCellPixels = 256;

/** Shorter sides are stretched to this, so that a line scan can be seen and labelled. */
const minSidePixels = 160;

/**
 * Pixels for a map of `rows` by `columns` scan positions within `maxHeight` by `maxWidth` (at least 320 each). Cells are
 * whole pixels; larger scans are averaged in whole blocks. Proportions are kept, except that a side under 160 pixels is
 * stretched.
 */
export function fitGrid(rows: number, columns: number, maxHeight: number, maxWidth: number): Grid {
  const magnification = Math.floor(Math.min(maxHeight / rows, maxWidth / columns));
  const cellPixels = Math.max(1, Math.min(maxCellPixels, magnification));
  const block = magnification >= 1 ? 1 : Math.ceil(Math.max(rows / maxHeight, columns / maxWidth));
  return { row: fitAxis(rows, block, cellPixels), column: fitAxis(columns, block, cellPixels) };
}

function fitAxis(positions: number, block: number, cellPixels: number): AxisGrid {
  const cells = Math.ceil(positions / block);
  if (cells * cellPixels >= minSidePixels) {
    return { positions, block, cells, cellPixels, pixels: cells * cellPixels, stretch: 1 };
  }
  const factor = Math.ceil(minSidePixels / (positions * cellPixels));
  const stretched = cellPixels * factor;
  return {
    positions,
    block: 1,
    cells: positions,
    cellPixels: stretched,
    pixels: positions * stretched,
    stretch: factor * block,
  };
}

/** Pixel from the start of the axis at which the middle of a scan position lies. */
export function positionPixel(axis: AxisGrid, position: number): number {
  return ((position + 0.5) / axis.block) * axis.cellPixels;
}

/**
 * Colours of a map: `values` is (rows, columns), row 0 on top. Values that are not finite are hatched in grey; a block is
 * when all its values are. Values past a limit take the colour of the limit. Without limits everything is hatched.
 */
export function drawHeatmap(
  values: Float32Array | Float64Array,
  grid: Grid,
  colors: ColorMapName,
  limits: Limits | null,
  scale: Scale = "linear",
): Raster {
  const { row, column } = grid;
  const cells = averageBlocks(values, grid, colors === "cyclic");
  const map = colorMap(colors);
  const width = column.pixels;
  const height = row.pixels;
  const data = new Uint8Array(3 * width * height);
  const line = new Uint8Array(3 * width);
  const missing: number[] = [];
  for (let i = 0; i < row.cells; i++) {
    missing.length = 0;
    for (let j = 0; j < column.cells; j++) {
      const value = cells[i * column.cells + j] ?? Number.NaN;
      if (limits === null || !Number.isFinite(value)) {
        missing.push(j);
        continue;
      }
      const from = 3 * colorIndex(value, limits.low, limits.high, scale);
      const color = map.subarray(from, from + 3);
      const end = 3 * (j + 1) * column.cellPixels;
      for (let at = end - 3 * column.cellPixels; at < end; at += 3) line.set(color, at);
    }
    for (let y = i * row.cellPixels; y < (i + 1) * row.cellPixels; y++) {
      data.set(line, 3 * y * width);
      for (const j of missing) {
        for (let x = j * column.cellPixels; x < (j + 1) * column.cellPixels; x++) {
          data.fill(hatchGrey(x, y), 3 * (y * width + x), 3 * (y * width + x) + 3);
        }
      }
    }
  }
  return { data, width, height };
}

/** The colours of a bar, high end on top. */
export function drawColorBar(colors: ColorMapName, width: number, height: number): Raster {
  const values = Float64Array.from({ length: height }, (_, y) => height - y - 0.5);
  const axis = (positions: number, cellPixels: number): AxisGrid => {
    return { positions, block: 1, cells: positions, cellPixels, pixels: positions * cellPixels, stretch: 1 };
  };
  const grid = { row: axis(height, 1), column: axis(1, width) };
  return drawHeatmap(values, grid, colors, { low: 0, high: height });
}

/** A square of the hatching for a legend. */
export function drawHatch(side: number): Raster {
  const axis = { positions: 1, block: 1, cells: 1, cellPixels: side, pixels: side, stretch: 1 };
  return drawHeatmap(new Float64Array([Number.NaN]), { row: axis, column: axis }, "sequential", null);
}

/** Two greys that no map uses, as diagonal lines in picture pixels, so that it reads the same at every cell size. */
function hatchGrey(x: number, y: number): number {
  return (x + y) % 12 < 3 ? 0x78 : 0xb4;
}

/** Means over the finite values of every block; of angles, the direction of the mean unit vector. */
function averageBlocks(
  values: Float32Array | Float64Array,
  { row, column }: Grid,
  angles: boolean,
): Float32Array | Float64Array {
  if (row.block === 1 && column.block === 1) return values;
  const cells = new Float64Array(row.cells * column.cells);
  for (let i = 0; i < row.cells; i++) {
    const rowEnd = Math.min(row.positions, (i + 1) * row.block);
    for (let j = 0; j < column.cells; j++) {
      const columnEnd = Math.min(column.positions, (j + 1) * column.block);
      let count = 0;
      let sum = 0;
      let sine = 0;
      for (let r = i * row.block; r < rowEnd; r++) {
        for (let c = j * column.block; c < columnEnd; c++) {
          const value = values[r * column.positions + c] ?? Number.NaN;
          if (!Number.isFinite(value)) continue;
          count += 1;
          sum += angles ? Math.cos(value) : value;
          if (angles) sine += Math.sin(value);
        }
      }
      cells[i * column.cells + j] = count === 0 ? Number.NaN : angles ? Math.atan2(sine, sum) : sum / count;
    }
  }
  return cells;
}
