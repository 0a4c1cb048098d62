/** The page of `--report`: plots, tables and what they were taken on; nothing is loaded from elsewhere. */
import { type Figure, noisySpread } from "./figures.ts";
import { type Axes, escapeHtml, type Line, type Plot, plotSvg, siText } from "./plot.ts";
import { figureTables, isNumeric, type Table, targetTable } from "./tables.ts";
import type { Verdict } from "./targets.ts";

export type MachineRecord = Readonly<Record<string, string>>;

const eventBytes = 4;

/** Order and colours of lines. */
const whos = ["avx512", "avx2", "neon", "scalar", "node", "naive", "javascript", "numpy"] as const;
const whoLabels: Readonly<Record<string, string>> = {
  ...{ avx512: "AVX-512", avx2: "AVX2", neon: "NEON", scalar: "scalar", node: "Node" },
  ...{ naive: "naive C++", javascript: "JavaScript", numpy: "NumPy" },
};
const crops = [
  ["none", "No crop"],
  ["box", "Box around a fixed centre"],
  ["disk", "Disk around a fixed centre"],
  ["own-box", "Box around each frame's own centre"],
] as const;

const style = `
:root { color-scheme: light dark; --ink: #1c2330; --soft: #5b6577; --rule: #d9dee7; --paper: #ffffff; --stripe: #f5f7fa;
  --avx512: #1d5fd1; --avx2: #0f8a80; --neon: #0f8a80; --scalar: #b45309; --node: #2f8a2f; --naive: #6b7280;
  --javascript: #c2185b; --numpy: #8b3fb8; --bad: #b3261e; --good: #1b7f3b; }
@media (prefers-color-scheme: dark) { :root { --ink: #e7ebf2; --soft: #a2adbf; --rule: #364154; --paper: #12161d; --stripe: #1a202a;
  --avx512: #7db0ff; --avx2: #4fd1c5; --neon: #4fd1c5; --scalar: #f6ad55; --node: #7ddb7d; --naive: #a9b2c0;
  --javascript: #ff8fb3; --numpy: #d7a3f5; --bad: #ff8a80; --good: #7ddb9b; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); margin: 2rem auto; padding: 0 1.25rem;
  max-width: 76rem; }
h1 { font-size: 1.6rem; margin: 0 0 .3rem; } h2 { font-size: 1.15rem; margin: 2.2rem 0 .5rem; } p { max-width: 60rem; color: var(--soft); }
.plots { display: grid; grid-template-columns: repeat(auto-fill, minmax(26rem, 1fr)); gap: 1rem; } svg { width: 100%; height: auto; }
svg text { fill: var(--ink); font: 12px system-ui, sans-serif; } svg .title { font-size: 14px; font-weight: 600; }
svg .tick { fill: var(--soft); font-size: 11px; } .grid { stroke: var(--rule); } .line { fill: none; stroke-width: 2; }
.leader { fill: none; stroke-width: 1; opacity: .6; } .limit { stroke: var(--soft); stroke-dasharray: 6 4; } svg text.limit { fill: var(--soft); stroke: none; }
${whos.map((who) => `.line.${who}, .leader.${who} { stroke: var(--${who}); } .mark.${who}, svg text.${who} { fill: var(--${who}); }`).join("\n")}
.scroll { overflow-x: auto; } table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: 13.5px; }
th, td { padding: .18rem .7rem; text-align: left; white-space: nowrap; } th { border-bottom: 2px solid var(--rule); color: var(--soft); font-weight: 600; }
tr:nth-child(even) td { background: var(--stripe); } td.number { text-align: right; } .noisy, .bad { color: var(--bad); } .good { color: var(--good); }
td.fact { white-space: normal; overflow-wrap: anywhere; }
`;

export function reportPage(
  machine: MachineRecord,
  figures: readonly Figure[],
  verdicts: readonly Verdict[],
): string {
  const plots = plotsOf(figures);
  const parts = [
    "<!doctype html>",
    '<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">',
    `<title>stemline benchmarks</title><style>${style}</style></head><body>`,
    "<h1>stemline benchmarks</h1>",
    `<p>${escapeHtml(`${machine.date}, commit ${machine.commit}, ${machine.cpu}`)}. docs/benchmarks.md tells what is measured and how.</p>`,
    "<h2>Targets</h2>",
    tableHtml(targetTable(verdicts)),
    ...(plots.length === 0 ? [] : [plotSection(plots)]),
    "<h2>Machine</h2>",
    machineHtml(machine),
    ...figureTables(figures).flatMap((table) => [`<h2>${escapeHtml(table.title)}</h2>`, tableHtml(table)]),
    "</body></html>",
  ];
  return `${parts.join("\n")}\n`;
}

function plotSection(plots: readonly Plot[]): string {
  const values = plots.flatMap(({ lines, limits }) => [
    ...lines.flatMap(({ points }) => points.map(({ y }) => y)),
    ...limits.map(({ y }) => y),
  ]);
  const axes: Axes = {
    xLabel: "events a frame",
    yLabel: "events a second",
    x: [8, 375],
    // A decade has to be there for every value.
    y: [10 ** Math.floor(Math.log10(Math.min(...values))), 10 ** Math.ceil(Math.log10(Math.max(...values)))],
    xTicks: [10, 30, 100, 300],
  };
  return [
    "<h2>Events a second</h2>",
    "<p>One thread, 576 × 576 pixels, uint32 events in the L3, logarithmic axes. Dashed: reading the events alone, from each ",
    "level of the memory.</p>",
    `<div class="plots">${plots.map((plot) => `<div>${plotSvg(plot, axes)}</div>`).join("")}</div>`,
  ].join("\n");
}

function plotsOf(figures: readonly Figure[]): Plot[] {
  const limits = ["l2", "l3", "dram"].flatMap((level) => {
    const rate = figures.find(({ name }) => name === `limit/stream/${level}`)?.bytesPerSecond;
    return rate == null ? [] : [{ label: `${level.toUpperCase()} stream`, y: rate / eventBytes }];
  });
  return [
    ...crops.map(([crop, title]) => ({
      ...{ title, limits },
      lines: linesOf(figures, "com", crop, "l3"),
    })),
    {
      ...{ title: "Whole message, no crop, scan of 512 × 512", limits },
      lines: linesOf(figures, "partial", "none", "512"),
    },
  ].filter(({ lines }) => lines.length > 0);
}

/** Figures named OPERATION/VARIANT/WHO/EVENTS/LAST, a line for each WHO. */
function linesOf(figures: readonly Figure[], operation: string, variant: string, last: string): Line[] {
  return whos.flatMap((who) => {
    const points = figures.flatMap(({ name, eventsPerSecond, spread }) => {
      const [events] = name.match(/(?<=\/)\d+(?=\/)/) ?? [];
      if (name !== `${operation}/${variant}/${who}/${events}/${last}` || eventsPerSecond === null) return [];
      const noise = spread > noisySpread ? ", noisy" : "";
      return [{ x: Number(events), y: eventsPerSecond, note: `${siText(eventsPerSecond)} events/s${noise}` }];
    });
    return points.length === 0 ? [] : [{ label: whoLabels[who]!, kind: who, points }];
  });
}

function tableHtml({ columns, rows }: Table): string {
  const head = columns.map((column) => `<th>${escapeHtml(column)}</th>`).join("");
  const body = rows.map((row) => `<tr>${row.map(cellHtml).join("")}</tr>`).join("\n");
  return `<div class="scroll"><table><thead><tr>${head}</tr></thead><tbody>\n${body}\n</tbody></table></div>`;
}

function machineHtml(machine: MachineRecord): string {
  const rows = Object.entries(machine).map(
    ([name, value]) => `<tr><th>${escapeHtml(name)}</th><td class="fact">${escapeHtml(value)}</td></tr>`,
  );
  return `<table><tbody>\n${rows.join("\n")}\n</tbody></table>`;
}

function cellHtml(cell: string): string {
  const classes = [
    ...(isNumeric(cell) ? ["number"] : []),
    ...(cell.endsWith(" !") ? ["noisy"] : []),
    ...(cell === "NOT MET" ? ["bad"] : []),
    ...(cell === "met" ? ["good"] : []),
  ];
  const attribute = classes.length === 0 ? "" : ` class="${classes.join(" ")}"`;
  return `<td${attribute}>${escapeHtml(cell)}</td>`;
}
