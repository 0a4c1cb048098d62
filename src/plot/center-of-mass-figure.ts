import { ParameterError } from "../errors.ts";
import { drawHeatmapFigure, type HeatmapPanel } from "./heatmap-figure.ts";
import { centeredLimits, finiteMean, type Limits, percentileLimits } from "./limits.ts";
import type { PictureFormat } from "./sheet.ts";
import { formatNumber } from "./ticks.ts";

export interface CenterOfMassFigure {
  /**
   * Centre of mass in detector pixels, (2, rows, columns) row-major: plane 0 the mean column (x), plane 1 the mean row
   * (y); NaN where a position has none. Read, not kept.
   */
  readonly com: Float32Array;
  /** Scan positions, [rows, columns]. */
  readonly scanShape: readonly [number, number];
  readonly scanNumber: number;
  /** `xy`: the two planes. `rtheta`: length and direction of the deviation from the mean. */
  readonly mode: "xy" | "rtheta";
  readonly format: PictureFormat;
}

/**
 * Draws the centre of mass of a scan as two heat maps and returns the encoded picture, which belongs to the caller.
 *
 * Means are over finite values. Colours of `xy` are centred on each plane's mean and take in the 1st to the 99th
 * percentile; those of the length take in the same percentiles; the direction, `atan2(y - mean y, x - mean x)`, always
 * spans -π to π radians. Positions without a value are hatched and counted.
 *
 * Source: interactEM, operators/center-of-mass-plot, which takes limits from the standard deviation or the interior of the
 * scan and so fails in `rtheta` on scans of 20 or fewer rows or columns.
 *
 * @throws ParameterError `STEMLINE_PLOT_SHAPE` when the scan shape is not two positive integers or `com` does not hold 2
 * times rows times columns values.
 */
export async function centerOfMassFigure(figure: CenterOfMassFigure): Promise<Uint8Array> {
  const { scanShape, scanNumber, format } = figure;
  const panels = centerOfMassPanels(figure);
  return drawHeatmapFigure({ title: `scan ${scanNumber}`, scanShape, panels, format });
}

/** The two maps of `centerOfMassFigure`, which throws as this does. */
export function centerOfMassPanels(figure: CenterOfMassFigure): readonly HeatmapPanel[] {
  const { com, scanShape, mode } = figure;
  const positions = scanShape[0] * scanShape[1];
  if (com.length !== 2 * positions) {
    throw new ParameterError(
      "STEMLINE_PLOT_SHAPE",
      `com: expected ${2 * positions} values for 2 planes of ${scanShape.join(" x ")}, got ${com.length}`,
    );
  }
  const planes = [com.subarray(0, positions), com.subarray(positions)] as const;
  return mode === "xy" ? xyPanels(planes) : polarPanels(planes);
}

type Planes = readonly [Float32Array, Float32Array];

function xyPanels([x, y]: Planes): readonly HeatmapPanel[] {
  const panel = (title: string, values: Float32Array): HeatmapPanel => {
    const mean = finiteMean(values);
    const limits = centeredLimits(values, mean);
    const note = limits === null ? "no values" : `mean ${readable(mean, limits)} pixel`;
    return { title, note, values, unit: "pixel", colors: "diverging", limits };
  };
  return [panel("COM x (detector column)", x), panel("COM y (detector row)", y)];
}

function polarPanels([x, y]: Planes): readonly HeatmapPanel[] {
  const meanX = finiteMean(x);
  const meanY = finiteMean(y);
  const radius = new Float64Array(x.length);
  const angle = new Float64Array(x.length);
  for (const [i, valueX] of x.entries()) {
    const dx = valueX - meanX;
    const dy = (y[i] ?? Number.NaN) - meanY;
    radius[i] = Math.sqrt(dx * dx + dy * dy);
    angle[i] = Number.isFinite(radius[i]) ? Math.atan2(dy, dx) : Number.NaN;
  }
  const limits = percentileLimits(radius);
  const from =
    limits === null
      ? "no values"
      : `from mean (${readable(meanX, limits)}, ${readable(meanY, limits)}) pixel`;
  return [
    { title: "COM r (shift)", note: from, values: radius, unit: "pixel", colors: "sequential", limits },
    {
      title: "COM θ (direction)",
      note: "0: +column, π/2: +row",
      values: angle,
      unit: "rad",
      colors: "cyclic",
      limits: { low: -Math.PI, high: Math.PI },
    },
  ];
}

/** A number with the digits that matter on the scale of its map. */
function readable(value: number, { low, high }: Limits): string {
  return formatNumber(value, (high - low) / 100);
}
