import { partBelow } from "./color-map.ts";

/** Tick positions on an axis and their labels. */
export interface Ticks {
  readonly values: readonly number[];
  readonly labels: readonly string[];
  /** What was taken out of the labels to keep them short: `×10⁻⁵`, `+ 287.93`, or nothing. */
  readonly note: string;
}

/** Longest label in digits before an offset or a power of ten is split off. */
const maxDigits = 6;

/** Ticks at round indices from 0 to `count - 1`, at most `maxIntervals` intervals between them. */
export function indexTicks(count: number, maxIntervals: number): Ticks {
  const step = Math.max(1, roundStep((count - 1) / maxIntervals));
  const values = Array.from({ length: Math.floor((count - 1) / step) + 1 }, (_, i) => i * step);
  return { values, labels: values.map(String), note: "" };
}

/** Round ticks in [low, high], at most `maxIntervals` intervals; at least 2 ticks when that is 5 or more. */
export function valueTicks(low: number, high: number, maxIntervals: number): Ticks {
  const step = roundStep((high - low) / maxIntervals);
  // The tolerance keeps a tick that rounding has moved past the end of the bar.
  const first = Math.ceil(low / step - 1e-6);
  const last = Math.floor(high / step + 1e-6);
  const values = Array.from({ length: last - first + 1 }, (_, i) => (first + i) * step);
  const largest = Math.max(...values.map(Math.abs));
  const digits = Math.floor(Math.log10(largest)) - Math.floor(Math.log10(step)) + 1;
  const middle = values[Math.floor(values.length / 2)] ?? 0;
  if (digits <= maxDigits || middle === 0) return { values, ...scaledLabels(values, step) };
  const offset = `${middle < 0 ? "−" : "+"} ${formatNumber(Math.abs(middle), step)}`;
  const { labels, note } = scaledLabels(
    values.map((value) => value - middle),
    step,
  );
  return { values, labels, note: note === "" ? offset : `${note} ${offset}` };
}

/**
 * Ticks of a bar for counts whose scale is log(1 + count): ones, twos and fives of each power of ten, or the powers alone, or
 * every second, third, ... of them, whichever leaves `gap` of the bar between ticks; and 0. Round numbers as on a linear bar
 * where those would be fewer than two.
 */
export function countTicks(low: number, high: number, gap: number, maxIntervals: number): Ticks {
  const powers = Array.from({ length: 17 }, (_, i) => 10 ** i);
  const distance = (from: number, to: number) =>
    partBelow(to, low, high, "log") - partBelow(from, low, high, "log");
  const everyPower = [1, 2, 3, 4, 6, 8, 16].map((step) => powers.filter((_, i) => i % step === 0));
  for (const series of [powers.flatMap((power) => [power, 2 * power, 5 * power]), ...everyPower]) {
    const values = series.filter((value) => value >= low && value <= high);
    if (low === 0) values.splice(0, values.filter((value) => distance(0, value) < gap).length, 0);
    if (values.length < 2) break;
    if (values.slice(1).some((value, i) => distance(values[i]!, value) < gap)) continue;
    return { values, labels: values.map(countLabel), note: "" };
  }
  return valueTicks(low, high, maxIntervals);
}

function countLabel(value: number): string {
  const exponent = Math.floor(Math.log10(value) + 1e-9);
  if (exponent < maxDigits - 1) return String(value);
  const factor = Math.round(value / 10 ** exponent);
  return `${factor === 1 ? "" : `${factor}×`}10${superscript(exponent)}`;
}

/** Ticks at quarter turns of an angle map from -π to π. */
export const angleTicks: Ticks = {
  values: [-Math.PI, -Math.PI / 2, 0, Math.PI / 2, Math.PI],
  labels: ["−π", "−π/2", "0", "π/2", "π"],
  note: "",
};

/** Text of `value` with the decimals that differences of `step` need, and a typographic minus. */
export function formatNumber(value: number, step: number): string {
  const decimals = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
  // toFixed knows up to 100 decimals; no float32 quantity needs as many.
  const text = Math.abs(value).toFixed(Math.min(decimals, 100));
  return value < 0 && Number(text) !== 0 ? `−${text}` : text;
}

function scaledLabels(values: readonly number[], step: number): { labels: string[]; note: string } {
  const largest = Math.max(...values.map(Math.abs));
  const exponent = largest > 0 ? Math.floor(Math.log10(largest) + 1e-9) : 0;
  const plain = exponent >= -2 && exponent < maxDigits - 1;
  const unit = plain ? 1 : 10 ** exponent;
  return {
    labels: values.map((value) => formatNumber(value / unit, step / unit)),
    note: plain ? "" : `×10${superscript(exponent)}`,
  };
}

function superscript(exponent: number): string {
  return [...String(exponent)].map((c) => (c === "-" ? "⁻" : "⁰¹²³⁴⁵⁶⁷⁸⁹"[Number(c)])).join("");
}

/** The smallest of 1, 2 and 5 times a power of ten that is not below `step`. */
function roundStep(step: number): number {
  if (!(step > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(step));
  const mantissa = step / power;
  const rounded = mantissa < 1 + 1e-9 ? 1 : mantissa < 2 + 1e-9 ? 2 : mantissa < 5 + 1e-9 ? 5 : 10;
  return rounded * power;
}
