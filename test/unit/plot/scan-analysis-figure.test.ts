import { describe, expect, it } from "vitest";
import type { Counts } from "../../../src/distiller/com.ts";
import { centerOfMassFigure } from "../../../src/plot/center-of-mass-figure.ts";
import { colorMap } from "../../../src/plot/color-map.ts";
import { type ScanAnalysisFigure, scanAnalysisFigure } from "../../../src/plot/scan-analysis-figure.ts";
import { type Area, cellColor, decodePicture, framedAreas, type Picture } from "./picture.ts";

type Shape = readonly [number, number];

const scan: Shape = [6, 9];
const frame: Shape = [24, 36];

function counts(shape: Shape, of: (index: number) => number): Counts {
  return { shape, values: Float64Array.from({ length: shape[0] * shape[1] }, (_, i) => of(i)) };
}

function figure(settings: Partial<ScanAnalysisFigure> = {}): ScanAnalysisFigure {
  const [rows, columns] = settings.scanShape ?? scan;
  return {
    com: Float32Array.from({ length: 2 * rows * columns }, (_, i) => (i * 7) % 11),
    counts: {},
    scanShape: scan,
    frameShape: frame,
    scanNumber: 22,
    mode: "xy",
    format: "png",
    ...settings,
  };
}

/** The maps of a figure in reading order; bars are 36 pixels wide. */
async function draw(
  settings: Partial<ScanAnalysisFigure>,
): Promise<{ picture: Picture; maps: Area[]; bars: Area[] }> {
  const picture = await decodePicture(await scanAnalysisFigure(figure(settings)));
  const areas = framedAreas(picture);
  return {
    picture,
    maps: areas.filter(({ width }) => width !== 36),
    bars: areas.filter(({ width }) => width === 36),
  };
}

const color = (index: number) => [...colorMap("sequential").subarray(3 * index, 3 * index + 3)];

describe("scanAnalysisFigure", () => {
  it("draws the centre of mass, then the detectors, then all events, then the pattern, three in a row", async () => {
    // Each map has one position of its own that is brightest.
    const peak = (shape: Shape, at: number) => counts(shape, (i) => (i === at ? 9 : 0));
    const { picture, maps, bars } = await draw({
      counts: {
        events: peak(scan, 1),
        pattern: peak(frame, 40),
        bright_field: peak(scan, 3),
        annular_dark_field: peak(scan, 4),
      },
    });
    expect(maps).toHaveLength(6);
    expect(bars).toHaveLength(6);
    const rows = [...new Set(maps.map(({ top }) => top))];
    expect(rows.map((top) => maps.filter((map) => map.top === top).length)).toEqual([3, 3]);
    for (const [map, at] of [
      [2, 3],
      [3, 4],
      [4, 1],
    ] as const) {
      expect([...cellColor(picture, maps[map]!, scan, 0, at)]).toEqual(color(255));
      expect([...cellColor(picture, maps[map]!, scan, 0, at + 1)]).toEqual(color(0));
    }
    expect([...cellColor(picture, maps[5]!, frame, 1, 4)]).toEqual(color(255));
    expect([...cellColor(picture, maps[5]!, frame, 4, 1)]).toEqual(color(0));
    expect(maps[5]!.width / frame[1]).toBe(maps[5]!.height / frame[0]);
  });

  it("has equal colours for equal factors in the pattern, and the darkest one for pixels without events", async () => {
    const { picture, maps } = await draw({
      counts: { pattern: counts(frame, (i) => [0, 1e2, 1e4, 1e6][i] ?? 0) },
    });
    const index = (pixel: number) => {
      const seen = cellColor(picture, maps[2]!, frame, 0, pixel).join();
      return Array.from({ length: 256 }, (_, i) => color(i).join()).indexOf(seen);
    };
    expect(index(0)).toBe(0);
    expect(index(3)).toBe(255);
    for (const [pixel, expected] of [
      [1, 256 / 3],
      [2, 512 / 3],
    ] as const)
      expect(Math.abs(index(pixel) - expected)).toBeLessThan(1.5);
  });

  it("tells maps of the scan from patterns by the name where both have one shape", async () => {
    const ramp = counts(scan, (i) => i);
    const { maps } = await draw({ frameShape: scan, counts: { pattern: ramp, bright_field: ramp } });
    expect(maps).toHaveLength(4);
    // The axis of a pattern is named after the detector, which needs more room: pictures tell both apart.
    const pattern = await scanAnalysisFigure(figure({ frameShape: scan, counts: { pattern: ramp } }));
    const map = await scanAnalysisFigure(figure({ frameShape: scan, counts: { bright_field: ramp } }));
    expect(Buffer.compare(pattern, map)).not.toBe(0);
  });

  it("is the picture of centerOfMassFigure without counts", async () => {
    for (const mode of ["xy", "rtheta"] as const) {
      for (const format of ["png", "jpeg"] as const) {
        const { counts: _, frameShape: __, ...plain } = figure({ mode, format });
        const expected = await centerOfMassFigure(plain);
        expect(Buffer.compare(await scanAnalysisFigure(figure({ mode, format })), expected)).toBe(0);
      }
    }
  });

  it.each([
    [1, 1],
    [40, 200],
    [200, 40],
    [1, 300],
    [1024, 1024],
  ] as Shape[])(
    "draws %d x %d positions with a large detector, without and with all there can be",
    async (...shape) => {
      const large: Shape = [1100, 700];
      const pattern = counts(large, (i) => i % 1000);
      const few = await draw({
        scanShape: shape,
        frameShape: large,
        counts: { pattern, a: counts(shape, () => 4) },
      });
      expect(few.maps).toHaveLength(4);
      for (const { width, height } of few.maps) expect(Math.min(width, height)).toBeGreaterThanOrEqual(160);
      expect(few.picture.width).toBeLessThanOrEqual(4000);
      expect(few.picture.height).toBeLessThanOrEqual(4000);
      if (shape[0] > 1) return;
      const names = Array.from({ length: 40 }, (_, i) => `detector_${i}`);
      const many = await draw({
        scanShape: shape,
        frameShape: large,
        counts: Object.fromEntries(names.map((name) => [name, counts(shape, (i) => i)])),
      });
      expect(many.maps).toHaveLength(36);
      expect(many.picture.width).toBeLessThanOrEqual(4000);
      expect(many.picture.height).toBeLessThanOrEqual(9000);
    },
  );

  it("draws counts that are all 0, also of a scan without any value", async () => {
    const { picture, maps, bars } = await draw({
      com: new Float32Array(108).fill(Number.NaN),
      counts: { events: counts(scan, () => 0), pattern: counts(frame, () => 0) },
    });
    expect(maps).toHaveLength(4);
    expect(bars).toHaveLength(2);
    expect([...cellColor(picture, maps[2]!, scan, 2, 2)]).toEqual(color(0));
    expect([...cellColor(picture, maps[3]!, frame, 2, 2)]).toEqual(color(0));
  });

  it("cuts names that no title has room for", async () => {
    const name = "x".repeat(60_000);
    const { picture } = await draw({ counts: { [name]: counts(scan, (i) => i) } });
    expect(picture.width).toBeLessThanOrEqual(4000);
  });

  it("refuses counts of another shape, by their title", async () => {
    const odd = { shape: [3, 4] as const, values: new Float64Array(12) };
    await expect(scanAnalysisFigure(figure({ counts: { odd_one: odd } }))).rejects.toMatchObject({
      code: "STEMLINE_PLOT_SHAPE",
      message: "Odd one: expected 864 values for frames of 24 x 36, got 12",
    });
  });
});
