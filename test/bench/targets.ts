import type { Figure } from "./figures.ts";

/** What we want to reach, and what was measured. */
export interface Verdict {
  readonly what: string;
  readonly target: string;
  /** Null if one of its figures is missing. */
  readonly measured: string | null;
  readonly met: boolean | null;
}

interface Target {
  readonly what: string;
  /** All of these have to reach it: the worst counts. */
  readonly names: readonly string[];
  readonly value: (figure: Figure, others: ReadonlyMap<string, Figure>) => number | null;
  readonly least?: number;
  readonly most?: number;
  readonly unit: string;
  readonly digits: number;
}

type Kind = Pick<Target, "value" | "unit" | "digits">;

const ofLimit: Kind = { value: ({ ratioToLimit }) => ratioToLimit, unit: "of the limit", digits: 2 };
const timesBaseline: Kind = { value: ({ ratioToBaseline }) => ratioToBaseline, unit: "×", digits: 1 };
const nsPerFrame: Kind = { value: ({ nsPerFrame }) => nsPerFrame, unit: "ns a frame", digits: 1 };
const megaframes: Kind = {
  value: ({ nsPerFrame }) => (nsPerFrame === null ? null : 1e3 / nsPerFrame),
  unit: "Mframes/s",
  digits: 2,
};

const com = (crop: string, who: string, level: string, ...events: number[]) =>
  events.map((count) => `com/${crop}/${who}/${count}/${level}`);

const targets: readonly Target[] = [
  {
    what: "COM no crop, AVX-512, L3, 100 and 300 events",
    names: com("none", "avx512", "l3", 100, 300),
    ...ofLimit,
    least: 0.85,
  },
  { what: "the same, 30 events", names: com("none", "avx512", "l3", 30), ...ofLimit, least: 0.7 },
  { what: "the same, 10 events", names: com("none", "avx512", "l3", 10), ...nsPerFrame, most: 5 },
  {
    what: "COM no crop, AVX-512, DRAM, from 100 events",
    names: com("none", "avx512", "dram", 100, 300),
    ...ofLimit,
    least: 0.75,
  },
  {
    what: "COM no crop, AVX2, against naive, from 30 events",
    names: com("none", "avx2", "l3", 30, 100, 300),
    ...timesBaseline,
    least: 5,
  },
  {
    what: "COM no crop, AVX-512, against naive, from 30 events",
    names: com("none", "avx512", "l3", 30, 100, 300),
    ...timesBaseline,
    least: 12,
  },
  {
    what: "box with fixed centre, against naive, from 100 events",
    names: com("box", "avx512", "l3", 100, 300),
    ...timesBaseline,
    least: 40,
  },
  {
    what: "disk with fixed centre, against naive, from 100 events",
    names: com("disk", "avx512", "l3", 100, 300),
    ...timesBaseline,
    least: 40,
  },
  {
    what: "box around own centre, against naive, from 100 events",
    names: com("own-box", "avx512", "l3", 100, 300),
    ...timesBaseline,
    least: 25,
  },
  { what: "batch header decode, 32,768 frames", names: ["decode/msgpack/32768"], ...nsPerFrame, most: 15 },
  {
    what: "the same, against @msgpack/msgpack",
    names: ["decode/msgpack/32768"],
    ...timesBaseline,
    least: 100,
  },
  { what: "JSON header out", names: ["encode/json/32768"], ...nsPerFrame, most: 15 },
  { what: "the same, against JSON.stringify", names: ["encode/json/32768"], ...timesBaseline, least: 50 },
  {
    what: "npz out, 512 × 512, against a memcpy of the same bytes",
    names: ["npz/avx512/512"],
    value: ({ ratioToLimit }) => (ratioToLimit === null ? null : 1 / ratioToLimit),
    most: 1.5,
    unit: "× its time",
    digits: 2,
  },
  {
    what: "whole message in C++, 100 events",
    names: ["partial/none/avx512/100/512"],
    ...megaframes,
    least: 12,
  },
  {
    what: "centerOfMassPartial from Node, against C++",
    names: ["partial/none/node/100/512"],
    value: ({ nsPerFrame }, others) => {
      const native = others.get("partial/none/avx512/100/512")?.nsPerFrame ?? null;
      return native === null || nsPerFrame === null ? null : native / nsPerFrame;
    },
    least: 0.9,
    unit: "of C++",
    digits: 2,
  },
  {
    what: "two messages at once on two cores, against one, C++ and Node",
    names: ["avx512", "node"].map((who) => `partial/none/${who}/100/512/threads:2`),
    ...{ ...timesBaseline, digits: 2 },
    least: 1.85,
  },
  {
    what: "reduce of one message of 32,768 frames, JSON in",
    names: ["reduce/json/avx512/32768"],
    value: ({ nsPerFrame }) => (nsPerFrame === null ? null : nsPerFrame * 32_768e-6),
    most: 2,
    unit: "ms",
    digits: 2,
  },
  {
    what: "small messages of 256 frames through Node, against JavaScript",
    names: [10, 30, 100, 300].flatMap((events) =>
      [128, 512].map((side) => `small/none/node/${events}/${side}`),
    ),
    ...timesBaseline,
    least: 1,
  },
  {
    what: "pipeline of two partials and a reduce over ZeroMQ",
    names: ["host/pipeline/10/1MB"],
    ...megaframes,
    least: 3,
  },
  {
    what: "operator process over ZeroMQ, against nothing between",
    names: [10, 100, 300].flatMap((events) => [1, 4].map((size) => `host/partial/${events}/${size}MB`)),
    ...ofLimit,
    least: 0.85,
  },
];

export function verdicts(figures: readonly Figure[]): Verdict[] {
  const byName = new Map(figures.map((figure) => [figure.name, figure]));
  return targets.map(({ what, names, value, least, most, unit, digits }) => {
    const values = names.map((name) => {
      const figure = byName.get(name);
      return figure === undefined ? null : value(figure, byName);
    });
    const text = (number: number) => `${number.toFixed(digits)} ${unit}`;
    const target = least === undefined ? `≤ ${most} ${unit}` : `≥ ${least} ${unit}`;
    const known = values.filter((number) => number !== null);
    if (known.length < values.length) return { what, target, measured: null, met: null };
    const worst = least === undefined ? Math.max(...known) : Math.min(...known);
    return {
      what,
      target,
      measured: text(worst),
      met: least === undefined ? worst <= most! : worst >= least,
    };
  });
}
