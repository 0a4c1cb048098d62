import { describe, expect, it } from "vitest";
import { centeredLimits, finiteMean, percentileLimits, wholeLimits } from "../../../src/plot/limits.ts";

const { NaN: nan, POSITIVE_INFINITY: inf } = Number;

/** Repeatable values in [0, 1). */
function random(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

describe("finiteMean", () => {
  it("leaves out NaN and infinite values", () => {
    expect(finiteMean(Float32Array.of(1, nan, 2, inf, 6, -inf))).toBe(3);
    expect(finiteMean(Float32Array.of(nan))).toBeNaN();
    expect(finiteMean(new Float32Array())).toBeNaN();
  });

  it("is exact for a constant map", () => {
    expect(finiteMean(new Float64Array(1001).fill(0.1))).toBe(0.1);
  });
});

describe("percentileLimits", () => {
  it.each([1, 2, 3, 99, 100, 101, 102, 1000, 54321])("agrees with sorting for %d values", (count) => {
    const next = random(count);
    // The cube crowds values, so that bins of the histogram are filled unevenly.
    const values = Float32Array.from({ length: count }, () => 100 + (next() - 0.3) ** 3);
    const sorted = Array.from(values).sort((a, b) => a - b);
    const limits = percentileLimits(values);
    if (count > 1) {
      expect(limits?.low).toBe(sorted[Math.floor(0.01 * (count - 1))]);
      expect(limits?.high).toBe(sorted[Math.ceil(0.99 * (count - 1))]);
    } else {
      expect(limits).toEqual({ low: values[0]! - 0.5, high: values[0]! + 0.5 });
    }
  });

  it("is not moved by outliers of either sign", () => {
    const values = Float32Array.from({ length: 1000 }, (_, i) => 50 + i / 1000);
    values[17] = 1e30;
    values[18] = -1e30;
    const limits = percentileLimits(values);
    expect(limits?.low).toBeCloseTo(50.01, 2);
    expect(limits?.high).toBeCloseTo(50.99, 2);
  });

  it("starts at 0 for amounts that come near 0, and only for these", () => {
    const ramp = (from: number, to: number) =>
      Float32Array.from({ length: 1001 }, (_, i) => from + ((to - from) * i) / 1000);
    expect(percentileLimits(ramp(0.1, 10))?.low).toBe(0);
    expect(percentileLimits(ramp(8, 10))?.low).toBeGreaterThan(8);
    expect(percentileLimits(ramp(-0.1, 10))?.low).not.toBe(0);
  });

  it("shows the few values that differ in a map that is otherwise constant", () => {
    const values = new Float32Array(5000).fill(3);
    values[7] = 4;
    expect(percentileLimits(values)).toEqual({ low: 3, high: 4 });
  });

  it("gives a constant map a bar, and a map without values none", () => {
    expect(percentileLimits(new Float32Array(9))).toEqual({ low: 0, high: 1 });
    expect(percentileLimits(new Float32Array(9).fill(5))).toEqual({ low: 4.5, high: 5.5 });
    expect(percentileLimits(Float32Array.of(nan, inf))).toBeNull();
  });
});

describe("centeredLimits", () => {
  it("is symmetric about the centre and takes in the farther percentile", () => {
    const values = Float32Array.from({ length: 101 }, (_, i) => i);
    expect(centeredLimits(values, 30)).toEqual({ low: -39, high: 99 });
    expect(centeredLimits(values, 80)).toEqual({ low: 1, high: 159 });
  });

  it("gives a constant map a bar, also where float32 is coarse", () => {
    expect(centeredLimits(new Float32Array(4).fill(288), 288)).toEqual({ low: 287.5, high: 288.5 });
    const far = centeredLimits(new Float32Array(4).fill(1e9), 1e9);
    expect(far).toEqual({ low: 1e9 - 1e6, high: 1e9 + 1e6 });
    expect(centeredLimits(Float32Array.of(nan), nan)).toBeNull();
  });
});

describe("wholeLimits", () => {
  it("take in every finite value", () => {
    expect(wholeLimits(Float64Array.of(3, nan, 1e6, 5, inf))).toEqual({ low: 3, high: 1e6 });
    expect(wholeLimits(Float64Array.of(nan, inf))).toBeNull();
  });

  it("have room for a constant map, and none below 0", () => {
    expect(wholeLimits(Float64Array.of(7, 7))).toEqual({ low: 6.5, high: 7.5 });
    expect(wholeLimits(Float64Array.of(0, 0))).toEqual({ low: 0, high: 1 });
  });
});
