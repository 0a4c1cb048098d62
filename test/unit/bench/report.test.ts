import { describe, expect, it } from "vitest";
import { figuresOf } from "../../bench/figures.ts";
import { plotSvg, siText, spreadLabels } from "../../bench/plot.ts";
import { reportPage } from "../../bench/report.ts";
import { verdicts } from "../../bench/targets.ts";

const figures = figuresOf(
  [10, 30, 100, 300].flatMap((events) =>
    ["stream", "naive", "avx512", "avx2"].map((who, i) => ({
      ...{ name: `com/none/${who}/${events}/l3`, seconds: [1e-5 * (i + 1)] },
      ...{ frames: 1000, events: 1000 * events, bytes: 4000 * events },
    })),
  ),
);
const machine = { date: "2026-01-01", commit: "abc", cpu: 'A <fast> & "wide" CPU' };

describe("reportPage", () => {
  const page = reportPage(machine, figures, verdicts(figures));

  it("loads nothing from elsewhere and runs nothing", () => {
    expect(page).not.toMatch(/https?:|src=|href=|url\(|<script|@import/);
  });

  it("escapes what it is told", () => {
    expect(page).toContain("A &lt;fast&gt; &amp; &quot;wide&quot; CPU");
    expect(page).not.toContain("<fast>");
  });

  it("has every figure, every target and a plot of each crop that was measured", () => {
    for (const { name } of figures) expect(page).toContain(`<td>${name}</td>`);
    expect(page).toContain("batch header decode, 32,768 frames");
    expect(page.match(/<svg/g)).toHaveLength(1);
    expect(page.match(/class="line avx512"/g)).toHaveLength(1);
  });

  it("has no plot where nothing was measured", () => {
    expect(reportPage(machine, [], [])).not.toContain("<svg");
  });
});

describe("plotSvg", () => {
  it("puts values where their logarithms lie", () => {
    const svg = plotSvg(
      {
        title: "t",
        limits: [],
        lines: [{ label: "a", kind: "k", points: [10, 100, 1000].map((x) => ({ x, y: x * 1e6, note: "" })) }],
      },
      { xLabel: "x", yLabel: "y", x: [10, 1000], y: [1e7, 1e9], xTicks: [10, 1000] },
    );
    expect(svg).toContain('class="line k" d="M62.0 334.0L257.0 184.0L452.0 34.0"');
  });

  it("keeps labels apart and within the plot", () => {
    const places = spreadLabels([{ at: 330 }, { at: 100 }, { at: 333 }, { at: 104 }]).map(({ at }) => at);
    for (let i = 1; i < places.length; i++) expect(places[i]! - places[i - 1]!).toBeGreaterThanOrEqual(13);
    expect(places.at(-1)).toBeLessThanOrEqual(334);
  });
});

it("siText is short", () => {
  expect([10, 1500, 2.5e6, 1e10].map(siText)).toEqual(["10", "1.5k", "2.5M", "10G"]);
});
