/** Compares counted instructions with the committed ones. */

/** instructions/baseline.json. */
export interface Baseline {
  /** What the counts depend on besides our code. */
  readonly compiler: string;
  readonly valgrind: string;
  readonly counts: Readonly<Record<string, number>>;
}

export interface Comparison {
  /** A line for each case. */
  readonly lines: readonly string[];
  /** Some case needs more instructions, or has no committed count. */
  readonly failed: boolean;
  /** Some case needs fewer: the committed counts should follow. */
  readonly recordable: boolean;
}

/** Growth that passes, and shrinkage that is not told of. */
const allowedPercent = 3;

export const recordCommand = "npm run count-instructions -- --record";

export function compare(baseline: Baseline, counted: Readonly<Record<string, number>>): Comparison {
  let failed = false;
  let recordable = false;
  const lines = Object.entries(counted).map(([name, count]) => {
    const before = baseline.counts[name];
    if (before === undefined) {
      failed = true;
      return `${name}: ${count} instructions, FAILED: no baseline`;
    }
    const percent = (100 * (count - before)) / before;
    const text = `${name}: baseline ${before}, counted ${count}, ${percent < 0 ? "" : "+"}${percent.toFixed(2)} %`;
    if (percent > allowedPercent) {
      failed = true;
      return `${text}, FAILED: at most +${allowedPercent} % is allowed`;
    }
    if (percent >= -allowedPercent) return text;
    recordable = true;
    return `${text}, fewer`;
  });
  return { lines, failed, recordable };
}

/** Why counts cannot be compared with the baseline's: "" if they can. */
export function whyIncomparable(baseline: Baseline, here: Omit<Baseline, "counts">): string {
  const differing = (["compiler", "valgrind"] as const).filter((tool) => baseline[tool] !== here[tool]);
  return differing.map((tool) => `${tool} ${here[tool]}, the baseline is of ${baseline[tool]}`).join("; ");
}
