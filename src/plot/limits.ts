/** Values at the two ends of a colour bar; `low < high`, both finite. */
export interface Limits {
  readonly low: number;
  readonly high: number;
}

/** The part of the values that may lie past each limit, so that a few outliers do not wash out a map. */
const outlierPart = 0.01;

/** Half a colour bar for a map in which every value is the same. */
const halfRangeOfConstant = 0.5;

/** Below this part of the value a spread is rounding of float32 and not a difference. */
const resolution = 1e-7;

/** Bins of the histogram in which a rank is looked up; a bin holds few values of a map without far outliers. */
const binCount = 4096;

/** Mean of the finite values, summed in float64; NaN when there are none. */
export function finiteMean(values: Float32Array | Float64Array): number {
  const { count, sum, smallest, largest } = summarize(values);
  // Rounding of the sum must not make deviations out of a constant map.
  return smallest === largest ? smallest : count === 0 ? Number.NaN : sum / count;
}

/**
 * Limits from the 1st to the 99th percentile of the finite values; null when there are none. Amounts (no value below 0)
 * whose limits come near 0 start at 0.
 */
export function percentileLimits(values: Float32Array | Float64Array): Limits | null {
  const spread = robustSpread(values);
  if (spread === null) return null;
  const { smallest, largest, low, high } = spread;
  if (differs(low, high)) return { low: smallest >= 0 && low < high / 5 ? 0 : low, high };
  // Nearly all values are one: show the few that are not.
  if (differs(smallest, largest)) return { low: smallest, high: largest };
  if (smallest === 0) return { low: 0, high: 2 * halfRangeOfConstant };
  return around(smallest, 0);
}

/** The smallest and the largest of the finite values, none below 0; null when there are none. For a scale that takes in all. */
export function wholeLimits(values: Float32Array | Float64Array): Limits | null {
  const { count, smallest, largest } = summarize(values);
  if (count === 0) return null;
  if (smallest !== largest) return { low: smallest, high: largest };
  const low = Math.max(0, smallest - halfRangeOfConstant);
  return { low, high: low + 2 * halfRangeOfConstant };
}

/**
 * Limits at equal distances from `center` that take in the 1st and the 99th percentile of the finite values; null when
 * there are none.
 */
export function centeredLimits(values: Float32Array | Float64Array, center: number): Limits | null {
  const spread = robustSpread(values);
  return spread && around(center, Math.max(center - spread.low, spread.high - center));
}

function around(center: number, halfRange: number): Limits {
  const spread = differs(center, center + halfRange)
    ? halfRange
    : Math.max(halfRangeOfConstant, Math.abs(center) * 1e-3);
  return { low: center - spread, high: center + spread };
}

function differs(low: number, high: number): boolean {
  return high - low > resolution * Math.max(Math.abs(low), Math.abs(high));
}

interface Summary {
  /** Finite values. */
  readonly count: number;
  readonly sum: number;
  readonly smallest: number;
  readonly largest: number;
}

function summarize(values: Float32Array | Float64Array): Summary {
  let count = 0;
  let sum = 0;
  let smallest = Number.POSITIVE_INFINITY;
  let largest = Number.NEGATIVE_INFINITY;
  for (const value of values) {
    if (!Number.isFinite(value)) continue;
    count += 1;
    sum += value;
    if (value < smallest) smallest = value;
    if (value > largest) largest = value;
  }
  return { count, sum, smallest, largest };
}

interface Spread {
  readonly smallest: number;
  readonly largest: number;
  /** 1st and 99th percentile. Ranks are rounded outwards: maps of up to 100 values are taken in whole. */
  readonly low: number;
  readonly high: number;
}

function robustSpread(values: Float32Array | Float64Array): Spread | null {
  const { count, smallest, largest } = summarize(values);
  if (count === 0) return null;
  if (smallest === largest) return { smallest, largest, low: smallest, high: largest };

  // Sorting a million values would hold up the event loop for a tenth of a second; one bin is sorted instead.
  const binOf = (value: number) => Math.floor(((value - smallest) / (largest - smallest)) * (binCount - 1));
  const bins = new Uint32Array(binCount);
  for (const value of values) if (Number.isFinite(value)) bins[binOf(value)]! += 1;
  const atRank = (rank: number): number => {
    let bin = 0;
    let before = 0;
    while (before + bins[bin]! <= rank) before += bins[bin++]!;
    const members: number[] = [];
    for (const value of values) if (Number.isFinite(value) && binOf(value) === bin) members.push(value);
    return Float64Array.from(members).sort()[rank - before]!;
  };
  return {
    smallest,
    largest,
    low: atRank(Math.floor(outlierPart * (count - 1))),
    high: atRank(Math.ceil((1 - outlierPart) * (count - 1))),
  };
}
