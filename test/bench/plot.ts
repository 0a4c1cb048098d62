/** A line plot on logarithmic axes as SVG text; colours come from the page's style, by class. */

export interface Line {
  readonly label: string;
  /** Class of its colour. */
  readonly kind: string;
  readonly points: readonly Point[];
}

export interface Point {
  readonly x: number;
  readonly y: number;
  /** Shown where the pointer rests. */
  readonly note: string;
}

export interface Plot {
  readonly title: string;
  readonly lines: readonly Line[];
  /** Drawn from side to side. */
  readonly limits: readonly { readonly label: string; readonly y: number }[];
}

export interface Axes {
  readonly xLabel: string;
  readonly yLabel: string;
  readonly x: Range;
  readonly y: Range;
  readonly xTicks: readonly number[];
}

type Range = readonly [low: number, high: number];

const size = { width: 560, height: 380 };
const area = { left: 62, right: 452, top: 34, bottom: 334 };
/** Least distance of two labels, one above the other. */
const labelHeight = 13;

export function plotSvg({ title, lines, limits }: Plot, axes: Axes): string {
  const x = scale(axes.x, area.left, area.right);
  const y = scale(axes.y, area.bottom, area.top);
  const decades: number[] = [];
  for (let power = Math.ceil(Math.log10(axes.y[0])); 10 ** power <= axes.y[1]; power++)
    decades.push(10 ** power);

  const grid = [
    ...decades.map((value) => {
      const at = px(y(value));
      return (
        `<path class="grid" d="M${area.left} ${at}H${area.right}"/>` +
        `<text class="tick" x="${area.left - 7}" y="${at}" dy=".35em" text-anchor="end">${siText(value)}</text>`
      );
    }),
    ...axes.xTicks.map((value) => {
      const at = px(x(value));
      return (
        `<path class="grid" d="M${at} ${area.top}V${area.bottom}"/>` +
        `<text class="tick" x="${at}" y="${area.bottom + 17}" text-anchor="middle">${siText(value)}</text>`
      );
    }),
  ];
  const limitPaths = limits.map(
    (limit) => `<path class="limit" d="M${area.left} ${px(y(limit.y))}H${area.right}"/>`,
  );
  const linePaths = lines.map(({ kind, label, points }) => {
    const path = points.map((point) => `${px(x(point.x))} ${px(y(point.y))}`).join("L");
    const marks = points.map(
      (point) =>
        `<circle class="mark ${kind}" cx="${px(x(point.x))}" cy="${px(y(point.y))}" r="3.5">` +
        `<title>${escapeHtml(`${label}: ${point.note}`)}</title></circle>`,
    );
    return `<path class="line ${kind}" d="M${path}"/>${marks.join("")}`;
  });
  const labels = spreadLabels([
    ...limits.map((limit) => ({ text: limit.label, kind: "limit", at: y(limit.y) })),
    ...lines.map(({ label, kind, points }) => ({ text: label, kind, at: y(points.at(-1)!.y) })),
  ]).map(
    ({ text, kind, at, from }) =>
      `<path class="leader ${kind}" d="M${area.right + 2} ${px(from)}L${area.right + 12} ${px(at)}"/>` +
      `<text class="label ${kind}" x="${area.right + 15}" y="${px(at)}" dy=".35em">${escapeHtml(text)}</text>`,
  );
  return [
    `<svg viewBox="0 0 ${size.width} ${size.height}" role="img" aria-label="${escapeHtml(title)}">`,
    `<text class="title" x="${area.left}" y="18">${escapeHtml(title)}</text>`,
    ...grid,
    ...limitPaths,
    ...linePaths,
    ...labels,
    `<text class="tick" x="${(area.left + area.right) / 2}" y="${area.bottom + 38}" text-anchor="middle">${escapeHtml(axes.xLabel)}</text>`,
    `<text class="tick" transform="translate(14 ${(area.top + area.bottom) / 2}) rotate(-90)" text-anchor="middle">${escapeHtml(axes.yLabel)}</text>`,
    "</svg>",
  ].join("");
}

/** Labels of lines that end close to each other are moved apart; `from` is where the line ends. */
export function spreadLabels<Label extends { readonly at: number }>(
  labels: readonly Label[],
): (Label & { readonly from: number })[] {
  const sorted = [...labels].sort((a, b) => a.at - b.at);
  const places = sorted.map(({ at }) => at);
  for (let i = 1; i < places.length; i++) places[i] = Math.max(places[i]!, places[i - 1]! + labelHeight);
  // Those pushed out at the bottom are pushed back up.
  for (let i = places.length - 1, lowest: number = area.bottom; i >= 0; i--, lowest -= labelHeight) {
    places[i] = Math.min(places[i]!, lowest);
    lowest = places[i]!;
  }
  return sorted.map((label, i) => ({ ...label, at: places[i]!, from: label.at }));
}

/** 1500000 as 1.5M. */
export function siText(value: number): string {
  for (const [unit, letter] of [
    [1e12, "T"],
    [1e9, "G"],
    [1e6, "M"],
    [1e3, "k"],
  ] as const) {
    if (value >= unit) return `${Number((value / unit).toPrecision(3))}${letter}`;
  }
  return String(Number(value.toPrecision(3)));
}

export function escapeHtml(text: string): string {
  const names: Record<string, string> = { "&": "amp", "<": "lt", ">": "gt", '"': "quot", "'": "#39" };
  return text.replace(/[&<>"']/g, (letter) => `&${names[letter]};`);
}

function scale([low, high]: Range, from: number, to: number): (value: number) => number {
  return (value) => from + ((to - from) * Math.log(value / low)) / Math.log(high / low);
}

function px(value: number): string {
  return value.toFixed(1);
}
