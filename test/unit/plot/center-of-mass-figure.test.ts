import sharp from "sharp";
import { describe, expect, it } from "vitest";
import { ParameterError } from "../../../src/errors.ts";
import { type CenterOfMassFigure, centerOfMassFigure } from "../../../src/plot/center-of-mass-figure.ts";
import { colorIndex, colorMap } from "../../../src/plot/color-map.ts";
import { type Area, cellColor, decodePicture, framedAreas, type Picture } from "./picture.ts";

const { NaN: nan } = Number;

type Shape = readonly [number, number];

function figure(com: Float32Array, scanShape: Shape, settings: Partial<CenterOfMassFigure> = {}) {
  return { com, scanShape, scanNumber: 22, mode: "xy", format: "png", ...settings } as const;
}

interface Drawn {
  readonly picture: Picture;
  readonly maps: readonly Area[];
  readonly bars: readonly Area[];
}

async function draw(
  com: Float32Array,
  shape: Shape,
  settings: Partial<CenterOfMassFigure> = {},
): Promise<Drawn> {
  const picture = await decodePicture(await centerOfMassFigure(figure(com, shape, settings)));
  const areas = framedAreas(picture);
  return {
    picture,
    maps: areas.filter((area) => area.width !== 36),
    bars: areas.filter((area) => area.width === 36),
  };
}

function mapColor(name: Parameters<typeof colorMap>[0], value: number, low: number, high: number) {
  const index = colorIndex(value, low, high);
  return [...colorMap(name).subarray(3 * index, 3 * index + 3)];
}

function isHatch([r, g, b]: readonly number[]): boolean {
  return r === g && g === b && (r === 0x78 || r === 0xb4);
}

function filled(shape: Shape, x: (row: number, column: number) => number, y = x): Float32Array {
  const com: number[] = [];
  for (const plane of [x, y]) {
    for (let row = 0; row < shape[0]; row++) {
      for (let column = 0; column < shape[1]; column++) com.push(plane(row, column));
    }
  }
  return Float32Array.from(com);
}

describe("centerOfMassFigure in xy", () => {
  const shape = [3, 4] as const;
  // Neither symmetric in rows and columns nor alike in the planes.
  const x = (row: number, column: number) => 10 + 3 * row + 0.5 * column * column;
  const y = (row: number, column: number) => 200 - 7 * row * row + column;

  it("draws plane 0 left and plane 1 right, rows downwards, centred on each mean", async () => {
    const { picture, maps } = await draw(filled(shape, x, y), shape);
    expect(maps).toHaveLength(2);
    expect(maps[0]!.left).toBeLessThan(maps[1]!.left);
    for (const [plane, value] of [x, y].entries()) {
      const values = [0, 1, 2].flatMap((row) => [0, 1, 2, 3].map((column) => value(row, column)));
      const mean = values.reduce((a, b) => a + b) / values.length;
      const half = Math.max(Math.max(...values) - mean, mean - Math.min(...values));
      for (let row = 0; row < 3; row++) {
        for (let column = 0; column < 4; column++) {
          const seen = cellColor(picture, maps[plane]!, shape, row, column);
          expect([...seen]).toEqual(mapColor("diverging", value(row, column), mean - half, mean + half));
        }
      }
    }
  });

  it("keeps the proportions of the scan and fills whole pixels", async () => {
    const { picture, maps } = await draw(filled(shape, x, y), shape);
    const { left, top, width, height } = maps[0]!;
    expect(width / 4).toBe(height / 3);
    const inside = cellColor(picture, maps[0]!, shape, 1, 2);
    for (const [dx, dy] of [
      [0, 0],
      [width / 4 - 1, 0],
      [0, height / 3 - 1],
    ] as const) {
      expect(picture.pixel(left + width / 2 + dx, top + height / 3 + dy)).toEqual(inside);
    }
  });

  it("puts the high end of the colour bar on top", async () => {
    const { picture, bars } = await draw(filled(shape, x, y), shape);
    expect(bars).toHaveLength(2);
    for (const { left, top, height } of bars) {
      expect([...picture.pixel(left + 10, top)]).toEqual(mapColor("diverging", 1, 0, 1));
      expect([...picture.pixel(left + 10, top + height - 1)]).toEqual(mapColor("diverging", 0, 0, 1));
    }
  });

  it("hatches positions without a value and takes means and limits without them", async () => {
    const holes = (row: number, column: number) => (row === 2 && column === 1 ? nan : x(row, column));
    const { picture, maps } = await draw(filled(shape, holes, y), shape);
    expect(isHatch(cellColor(picture, maps[0]!, shape, 2, 1))).toBe(true);
    expect(isHatch(cellColor(picture, maps[0]!, shape, 1, 2))).toBe(false);
    expect(isHatch(cellColor(picture, maps[1]!, shape, 2, 1))).toBe(false);
    const highest = cellColor(picture, maps[0]!, shape, 2, 3);
    expect([...highest]).toEqual(mapColor("diverging", 1, 0, 1));
  });

  it("is not washed out by an outlier", async () => {
    const large = [40, 50] as const;
    const wave = (row: number, column: number) => 288 + Math.sin(row / 5) + Math.cos(column / 7);
    const hit = (row: number, column: number) => (row === 4 && column === 9 ? 575 : wave(row, column));
    const { picture, maps } = await draw(filled(large, hit), large);
    const [red, , blue] = cellColor(picture, maps[0]!, large, 8, 1);
    expect(red - blue).toBeGreaterThan(100);
    const [red2, , blue2] = cellColor(picture, maps[0]!, large, 24, 22);
    expect(blue2 - red2).toBeGreaterThan(100);
    expect([...cellColor(picture, maps[0]!, large, 4, 9)]).toEqual(mapColor("diverging", 1, 0, 1));
  });

  it("draws a constant map in the middle colour", async () => {
    const { picture, maps } = await draw(
      filled([5, 6], () => 288.1),
      [5, 6],
    );
    expect([...cellColor(picture, maps[0]!, [5, 6], 4, 5)]).toEqual(mapColor("diverging", 0.5, 0, 1));
  });
});

describe("centerOfMassFigure in rtheta", () => {
  it("draws length and direction of the deviation, x to the right and y down", async () => {
    const shape = [2, 4] as const;
    // Means are (10, 20); deviations are unequal in length and in all four directions.
    const deviations = [
      [3, 0],
      [0, 2],
      [-3, 0],
      [0, -2],
      [1, 1],
      [-1, -1],
      [4, -4],
      [-4, 4],
    ] as const;
    const at = (row: number, column: number) => deviations[4 * row + column]!;
    const { picture, maps } = await draw(
      filled(
        shape,
        (row, column) => 10 + at(row, column)[0],
        (row, column) => 20 + at(row, column)[1],
      ),
      shape,
      { mode: "rtheta" },
    );
    // Twice as wide as high: one above the other.
    expect(maps[0]!.top).toBeLessThan(maps[1]!.top);
    for (let row = 0; row < 2; row++) {
      for (let column = 0; column < 4; column++) {
        const [dx, dy] = at(row, column);
        const radius = mapColor("sequential", Math.hypot(dx, dy), Math.SQRT2, 4 * Math.SQRT2);
        expect([...cellColor(picture, maps[0]!, shape, row, column)]).toEqual(radius);
        const angle = mapColor("cyclic", Math.atan2(dy, dx), -Math.PI, Math.PI);
        expect([...cellColor(picture, maps[1]!, shape, row, column)]).toEqual(angle);
      }
    }
  });

  it("hatches a position that lacks one of the two", async () => {
    const shape = [3, 3] as const;
    const com = filled(shape, (row, column) => row * 2 + column);
    com[4] = nan;
    com[9 + 6] = nan;
    const { picture, maps } = await draw(com, shape, { mode: "rtheta" });
    for (const map of maps) {
      expect(isHatch(cellColor(picture, map, shape, 1, 1))).toBe(true);
      expect(isHatch(cellColor(picture, map, shape, 2, 0))).toBe(true);
      expect(isHatch(cellColor(picture, map, shape, 0, 2))).toBe(false);
    }
  });

  it("averages directions of a large scan around the circle", async () => {
    // Neighbours just below π and just above -π: their mean points to -x, not to +x.
    const shape = [4, 4096] as const;
    const x = (_: number, column: number) => (column < 2048 ? -1 : 1);
    const y = (_: number, column: number) => (column % 2 === 0 ? 0.01 : -0.01);
    const { picture, maps } = await draw(filled(shape, x, y), shape, { mode: "rtheta" });
    const map = maps[1]!;
    expect(map.width).toBe(2048);
    const seen = picture.pixel(map.left + 500, map.top + 20);
    const ends = [0, 1].map((end) => mapColor("cyclic", end, 0, 1));
    expect(ends.some((color) => color.join() === seen.join())).toBe(true);
  });
});

describe("scans of every shape", () => {
  const shapes: Shape[] = [
    [1, 1],
    [1, 2],
    [1, 50],
    [50, 1],
    [2, 3],
    [20, 20],
    [24, 20],
    [128, 128],
    [1024, 1024],
    [1025, 700],
    [4, 2000],
    [2000, 4],
    [512, 1024],
    [3, 100000],
  ];

  it.each(shapes)("draws %d x %d in both modes within bounds", async (rows, columns) => {
    for (const mode of ["xy", "rtheta"] as const) {
      const com = filled(
        [rows, columns],
        (row, column) => (row * 7 + column * 3) % 11,
        (row) => row,
      );
      const { picture, maps, bars } = await draw(com, [rows, columns], { mode });
      expect(maps).toHaveLength(2);
      expect(bars).toHaveLength(2);
      expect(picture.width).toBeLessThanOrEqual(3200);
      expect(picture.height).toBeLessThanOrEqual(2900);
      for (const map of maps) {
        expect(map.width).toBeGreaterThanOrEqual(160);
        expect(map.height).toBeGreaterThanOrEqual(160);
        const proportion = (map.width * rows) / (map.height * columns);
        // A block at the end of a large scan may be partly filled.
        const stretched = Math.min(map.width, map.height) < 320;
        if (!stretched) expect(Math.abs(proportion - 1)).toBeLessThan(0.01);
      }
    }
  });

  it.each([[[1, 1]], [[6, 9]], [[1024, 2048]]] as [Shape][])(
    "hatches %s without any value",
    async (shape) => {
      const com = new Float32Array(2 * shape[0] * shape[1]).fill(nan);
      for (const mode of ["xy", "rtheta"] as const) {
        const { picture, maps, bars } = await draw(com, shape, { mode });
        expect(maps).toHaveLength(2);
        // Without values there are no limits; an angle has them anyway.
        expect(bars).toHaveLength(mode === "xy" ? 0 : 1);
        expect(picture.height).toBeLessThanOrEqual(2900);
        for (const { left, top, width, height } of maps) {
          expect(isHatch(picture.pixel(left, top))).toBe(true);
          expect(isHatch(picture.pixel(left + width - 1, top + height - 1))).toBe(true);
        }
      }
    },
  );

  it("leaves a margin free of ink all around", async () => {
    for (const shape of [
      [1, 1],
      [50, 1],
      [1, 50],
      [30, 40],
    ] as const) {
      const com = filled(shape, (row, column) =>
        row === 0 ? 287.12345 : 287.12345 + row * 1e-4 + column * 1e-4,
      );
      for (const mode of ["xy", "rtheta"] as const) {
        const { picture } = await draw(com, shape, { mode });
        const edge: string[] = [];
        for (let x = 0; x < picture.width; x++) {
          for (const y of [0, 15, picture.height - 16, picture.height - 1])
            edge.push(picture.pixel(x, y).join());
        }
        for (let y = 0; y < picture.height; y++) {
          for (const x of [0, 15, picture.width - 16, picture.width - 1])
            edge.push(picture.pixel(x, y).join());
        }
        expect([...new Set(edge)]).toEqual(["255,255,255"]);
      }
    }
  });
});

describe("bytes of centerOfMassFigure", () => {
  const com = filled(
    [3, 4],
    (row, column) => row + column,
    (row) => row,
  );

  it("are the asked format", async () => {
    for (const format of ["png", "jpeg"] as const) {
      const bytes = await centerOfMassFigure(figure(com, [3, 4], { format }));
      expect((await sharp(bytes).metadata()).format).toBe(format);
      const signature = format === "png" ? [0x89, 0x50, 0x4e, 0x47] : [0xff, 0xd8, 0xff];
      expect([...bytes.subarray(0, signature.length)]).toEqual(signature);
    }
  });

  it("show the same map as JPEG", async () => {
    const { picture, maps } = await draw(com, [3, 4]);
    const jpeg = await decodePicture(await centerOfMassFigure(figure(com, [3, 4], { format: "jpeg" })));
    for (let row = 0; row < 3; row++) {
      const [exact, lossy] = [picture, jpeg].map((p) => cellColor(p, maps[0]!, [3, 4], row, 1));
      for (const channel of [0, 1, 2] as const)
        expect(Math.abs(exact![channel] - lossy![channel])).toBeLessThan(6);
    }
  });

  it("are the same for the same input, and not for another scan number", async () => {
    const [first, again, other] = await Promise.all([
      centerOfMassFigure(figure(com, [3, 4])),
      centerOfMassFigure(figure(com.slice(), [3, 4])),
      centerOfMassFigure(figure(com, [3, 4], { scanNumber: 23 })),
    ]);
    expect(Buffer.compare(first, again)).toBe(0);
    expect(Buffer.compare(first, other)).not.toBe(0);
  });

  it("do not depend on what else lies in the memory of the input, which is left alone", async () => {
    const memory = new Float32Array(40).fill(1e9);
    memory.set(com, 7);
    const view = memory.subarray(7, 7 + com.length);
    const bytes = await centerOfMassFigure(figure(view, [3, 4]));
    expect(Buffer.compare(bytes, await centerOfMassFigure(figure(com, [3, 4])))).toBe(0);
    expect([...view]).toEqual([...com]);
  });
});

describe("bad input", () => {
  it.each([
    [23, [3, 4]],
    [25, [3, 4]],
    [12, [3, 4]],
    [0, [3, 4]],
    [0, [0, 4]],
    [24, [-3, -4]],
    [3, [1.5, 1]],
    [24, [nan, 4]],
  ] as [number, Shape][])("refuses %d values for a scan of %s", async (length, shape) => {
    const drawn = centerOfMassFigure(figure(new Float32Array(length), shape));
    await expect(drawn).rejects.toThrow(ParameterError);
    await expect(drawn).rejects.toMatchObject({ code: "STEMLINE_PLOT_SHAPE" });
  });

  it("names both sizes", async () => {
    const drawn = centerOfMassFigure(figure(new Float32Array(5), [3, 4]));
    await expect(drawn).rejects.toThrow("com: expected 24 values for 2 planes of 3 x 4, got 5");
  });
});
