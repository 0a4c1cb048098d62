import { describe, expect, it } from "vitest";
import { countTicks, formatNumber, indexTicks, valueTicks } from "../../../src/plot/ticks.ts";

describe("indexTicks", () => {
  it.each([
    [1, 8, "0"],
    [2, 8, "0 1"],
    [4, 4, "0 1 2 3"],
    [20, 8, "0 5 10 15"],
    [128, 8, "0 20 40 60 80 100 120"],
    [2000, 4, "0 500 1000 1500"],
    [1000000, 2, "0 500000"],
  ])("labels %d positions with at most %d intervals", (count, intervals, expected) => {
    expect(indexTicks(count, intervals).labels.join(" ")).toBe(expected);
  });
});

describe("valueTicks", () => {
  it.each([
    [0, 1, "0.0 0.2 0.4 0.6 0.8 1.0", ""],
    [-3, 3, "−3 −2 −1 0 1 2 3", ""],
    [287.1, 288.9, "287.5 288.0 288.5", ""],
    [0.1 + 0.2, 0.7, "0.3 0.4 0.5 0.6 0.7", ""],
    [0, 5e-5, "0 1 2 3 4 5", "×10⁻⁵"],
    [0, 2.1e12, "0.0 0.5 1.0 1.5 2.0", "×10¹²"],
    [287.9, 287.9004, "−2 −1 0 1 2", "×10⁻⁴ + 287.9002"],
    [-1000.0003, -999.9997, "−3 −2 −1 0 1 2 3", "×10⁻⁴ − 1000.0000"],
  ])("labels a bar from %d to %d", (low, high, labels, note) => {
    expect(valueTicks(low, high, 6)).toMatchObject({ labels: labels.split(" "), note });
  });

  it("gives two or more different labels inside the bar for any range", () => {
    for (let exponent = -12; exponent <= 12; exponent++) {
      for (let part = 1; part < 10; part += 0.37) {
        for (const shift of [0, -0.4, 0.77, 3.3]) {
          const span = part * 10 ** exponent;
          const [low, high] = [shift * span, shift * span + span];
          const { values, labels } = valueTicks(low, high, 5);
          expect(values.length).toBeGreaterThanOrEqual(2);
          expect(values.length).toBeLessThanOrEqual(6);
          expect(new Set(labels).size).toBe(labels.length);
          expect(Math.max(...labels.map((label) => label.length))).toBeLessThanOrEqual(8);
          for (const value of values) {
            expect(value).toBeGreaterThanOrEqual(low - 1e-5 * span);
            expect(value).toBeLessThanOrEqual(high + 1e-5 * span);
          }
        }
      }
    }
  });
});

describe("formatNumber", () => {
  it.each([
    [7.2345, 0.01, "7.23"],
    [-2, 0.5, "−2.0"],
    [-0.001, 0.1, "0.0"],
    [1234.5, 10, "1235"],
  ])("writes %d with the digits of %d", (value, step, text) => {
    expect(formatNumber(value, step)).toBe(text);
  });
});

describe("countTicks", () => {
  it.each([
    [0, 1e4, 0.05, "0 1 10 100 1000 10000"],
    [0, 900, 0.05, "0 1 2 5 10 20 50 100 200 500"],
    [0, 900, 0.2, "0 10 100"],
    [0, 2.1e9, 0.06, "0 10 100 1000 10000 10⁵ 10⁶ 10⁷ 10⁸ 10⁹"],
    [0, 2.1e9, 0.2, "0 100 10000 10⁶ 10⁸"],
    [0, 1, 0.05, "0 1"],
    [3, 40, 0.05, "5 10 20"],
    [1e6, 7e6, 0.1, "10⁶ 2×10⁶ 5×10⁶"],
    [0, 0.5, 0.05, "0.0 0.1 0.2 0.3 0.4 0.5"],
    [1000, 1400, 0.05, "1000 1100 1200 1300 1400"],
    [7, 8, 0.05, "7.0 7.2 7.4 7.6 7.8 8.0"],
  ])("labels a bar from %d to %d with gaps of %d", (low, high, gap, expected) => {
    expect(countTicks(low, high, gap, 5).labels.join(" ")).toBe(expected);
  });
});
