import { describe, expect, it } from "vitest";
import { figuresOf, joinRounds, type Samples } from "../../bench/figures.ts";
import { figureTables, plainText, spreadText, targetTable } from "../../bench/tables.ts";
import { verdicts } from "../../bench/targets.ts";

function samples(name: string, seconds: readonly number[], amount: Partial<Samples> = {}): Samples {
  return { name, seconds, frames: 0, events: 0, bytes: 0, ...amount };
}

const amount = { frames: 1000, events: 100_000, bytes: 400_000 };

describe("figuresOf", () => {
  const figures = figuresOf([
    samples("limit/stream/l3", [1e-5], { bytes: 400_000 }),
    samples("com/none/stream/100/l3", [1e-5], amount),
    samples("com/none/naive/100/l3", [8e-4, 9e-4, 8e-4], amount),
    samples("com/none/avx512/100/l3", [2e-5, 4e-5, 2.5e-5], amount),
    samples("npz/memcpy/512", [1e-4], { bytes: 3_000_000 }),
  ]);
  const line = (name: string) => figures.find((figure) => figure.name === name)!;

  it("tells rates of the median, ratios to limit and baseline, and the spread", () => {
    const { nsPerFrame, eventsPerSecond, bytesPerSecond, ...rest } = line("com/none/avx512/100/l3");
    expect(nsPerFrame).toBeCloseTo(25, 9);
    expect(eventsPerSecond).toBeCloseTo(4e9, 0);
    expect(bytesPerSecond).toBeCloseTo(16e9, 0);
    expect(rest.limit).toBe("com/none/stream/100/l3");
    expect(rest.ratioToLimit).toBeCloseTo(0.4, 9);
    expect(rest.ratioToBaseline).toBeCloseTo(32, 9);
    expect(rest.spread).toBeCloseTo(0.25, 9);
  });

  it("has null where a word has no meaning, and exactly the documented keys", () => {
    const keys = ["name", "nsPerFrame", "eventsPerSecond", "bytesPerSecond", "limit", "ratioToLimit"];
    expect(Object.keys(line("npz/memcpy/512"))).toEqual([...keys, "ratioToBaseline", "spread"]);
    expect(line("npz/memcpy/512")).toMatchObject({
      nsPerFrame: null,
      eventsPerSecond: null,
      ratioToBaseline: null,
    });
    expect(line("limit/stream/l3")).toMatchObject({ limit: null, ratioToLimit: null });
  });

  it("compares with the limit by bytes a second, also when a run has another number of them", () => {
    const [, decode] = figuresOf([
      samples("limit/stream/l3", [1e-5], { bytes: 1_000_000 }),
      samples("decode/msgpack/32768", [1e-3], { frames: 32768, bytes: 5_000_000 }),
    ]);
    expect(decode!.ratioToLimit).toBeCloseTo(0.05, 9);
  });
});

it("joinRounds joins repetitions of the same name", () => {
  const joined = joinRounds([samples("a", [1, 2]), samples("b", [5]), samples("a", [3])]);
  expect(joined.map(({ name, seconds }) => [name, seconds])).toEqual([
    ["a", [1, 2, 3]],
    ["b", [5]],
  ]);
});

describe("tables", () => {
  it("mark noisy figures", () => {
    expect(spreadText(0.04)).toBe("4 %");
    expect(spreadText(0.25)).toBe("25 % !");
  });

  it("have a line for each figure, under the title of its operation", () => {
    const [table] = figureTables(figuresOf([samples("limit/clock", [1e-6, 2e-6], { events: 3000 })]));
    const text = plainText(table!).split("\n");
    expect(text[0]).toMatch(/^Limits of the machine/);
    expect(text[3]).toMatch(/^limit\/clock +1500 +100 % !$/);
  });
});

describe("targets", () => {
  const com = (events: number, seconds: number) => [
    samples(`com/none/stream/${events}/l3`, [1e-5], amount),
    samples(`com/none/avx512/${events}/l3`, [seconds], amount),
  ];
  const of = (what: string, all: readonly Samples[]) =>
    verdicts(figuresOf(all)).find((verdict) => verdict.what === what)!;
  const what = "COM no crop, AVX-512, L3, 100 and 300 events";

  it("are judged by the worst of their figures", () => {
    expect(of(what, [...com(100, 1.1e-5), ...com(300, 1.1e-5)])).toMatchObject({
      met: true,
      measured: "0.91 of the limit",
    });
    expect(of(what, [...com(100, 1.1e-5), ...com(300, 2e-5)])).toMatchObject({
      met: false,
      measured: "0.50 of the limit",
    });
  });

  it("are neither met nor missed where a figure is missing", () => {
    const verdict = of(what, com(100, 1.1e-5));
    expect(verdict).toMatchObject({ measured: null, met: null });
    expect(targetTable([verdict]).rows[0]).toEqual([what, "≥ 0.85 of the limit", "not measured", ""]);
  });

  it("are held from above where less is better", () => {
    const decode = (seconds: number) =>
      of("batch header decode, 32,768 frames", [
        samples("decode/msgpack/32768", [seconds], { frames: 1000 }),
      ]);
    expect(decode(14e-6).met).toBe(true);
    expect(decode(16e-6).met).toBe(false);
  });
});
