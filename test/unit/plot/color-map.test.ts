import { describe, expect, it } from "vitest";
import { colorCount, colorIndex, colorMap } from "../../../src/plot/color-map.ts";

function color(name: Parameters<typeof colorMap>[0], index: number): readonly [number, number, number] {
  const map = colorMap(name);
  return [map[3 * index]!, map[3 * index + 1]!, map[3 * index + 2]!];
}

/** Relative luminance (ITU-R BT.709) of an sRGB colour. */
function luminance(rgb: readonly number[]): number {
  const linear = rgb.map((byte) =>
    byte / 255 <= 0.04045 ? byte / 255 / 12.92 : ((byte / 255 + 0.055) / 1.055) ** 2.4,
  );
  return 0.2126 * linear[0]! + 0.7152 * linear[1]! + 0.0722 * linear[2]!;
}

function distance(a: readonly number[], b: readonly number[]): number {
  return Math.max(...a.map((value, i) => Math.abs(value - b[i]!)));
}

const indices = Array.from({ length: colorCount }, (_, i) => i);

describe("colorMap", () => {
  it("runs from blue over near white to red when diverging, equally bright on both sides", () => {
    const [low, high] = [color("diverging", 0), color("diverging", colorCount - 1)];
    expect(low[2]).toBeGreaterThan(2 * low[0]);
    expect(high[0]).toBeGreaterThan(2 * high[2]);
    expect(Math.min(...color("diverging", colorCount / 2))).toBeGreaterThan(240);
    for (const i of indices) {
      const other = luminance(color("diverging", colorCount - 1 - i));
      expect(Math.abs(luminance(color("diverging", i)) - other)).toBeLessThan(0.06);
    }
  });

  it("gets brighter at every step when sequential", () => {
    for (const i of indices.slice(1)) {
      expect(luminance(color("sequential", i))).toBeGreaterThanOrEqual(luminance(color("sequential", i - 1)));
    }
    expect(luminance(color("sequential", 0))).toBeLessThan(0.01);
    expect(luminance(color("sequential", colorCount - 1))).toBeGreaterThan(0.8);
  });

  it("closes when cyclic, and tells apart all quarter turns", () => {
    expect(distance(color("cyclic", 0), color("cyclic", colorCount - 1))).toBeLessThanOrEqual(6);
    const quarters = [0, 64, 128, 192].map((i) => color("cyclic", i));
    for (const [i, a] of quarters.entries()) {
      for (const b of quarters.slice(i + 1)) expect(distance(a, b)).toBeGreaterThan(60);
    }
  });

  it.each(["diverging", "sequential", "cyclic"] as const)(
    "has no jump and no grey of missing values in %s",
    (name) => {
      for (const i of indices) {
        if (i > 0) expect(distance(color(name, i), color(name, i - 1))).toBeLessThan(10);
        for (const grey of [0x78, 0xb4])
          expect(distance(color(name, i), [grey, grey, grey])).toBeGreaterThan(15);
      }
    },
  );
});

describe("colorIndex", () => {
  it.each([
    [10, 0],
    [15, 128],
    [19.99, 255],
    [20, 255],
    [-1e9, 0],
    [1e9, 255],
  ])("places %d between 10 and 20 at %d", (value, index) => {
    expect(colorIndex(value, 10, 20)).toBe(index);
  });
});
