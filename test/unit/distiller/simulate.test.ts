import { existsSync, mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { CountedFile } from "../../../src/distiller/counted-file.ts";
import { readNpz } from "../../../src/distiller/npz.ts";
import { simulate } from "../../../src/distiller/simulate.ts";
import { framesOf, temporaryFolder } from "./helpers.ts";

const folder = temporaryFolder();

/** Mean column and row of each position over all its frames, and the number of electrons: nothing shared with src. */
async function measure(path: string) {
  const file = await CountedFile.open(path);
  const [rows, columns] = file.scanShape;
  const sums = Array.from({ length: rows * columns }, () => ({ column: 0, row: 0, electrons: 0 }));
  let frame = 0;
  for (const message of file.batches({ scanNumber: 1 })) {
    for (const events of framesOf(message)) {
      const sum = sums[Math.floor(frame++ / file.framesPerPosition)]!;
      for (const event of events) {
        sum.column += event % file.frameShape[1];
        sum.row += Math.floor(event / file.frameShape[1]);
        sum.electrons++;
      }
    }
  }
  file.close();
  return sums.map(({ column, row, electrons }) => ({
    column: column / electrons,
    row: row / electrons,
    electrons,
  }));
}

describe("simulate", () => {
  const seed = 8731;
  const scanShape = [40, 56] as const;
  const frameShape = [200, 260] as const;
  const dose = 150;
  const diskRadius = 21.5;
  const path = join(folder, "scan.h5");
  const made = simulate({
    path,
    scanShape,
    frameShape,
    dose,
    diskRadius,
    seed,
    deflection: 3,
    latticePeriod: 16,
    framesPerPosition: 2,
  });
  console.log(`seed ${seed}`);

  /** Mean of z^2 of both coordinates of all positions against a truth. */
  async function chiSquare(truthOf: (position: number) => { column: number; row: number }): Promise<number> {
    await made;
    const positions = await measure(path);
    let sum = 0;
    for (const [position, { column, row, electrons }] of positions.entries()) {
      // Uniform in a disk of radius R, a coordinate has variance R^2 / 4; rounding to pixels adds 1/12. N electrons are
      // averaged.
      const variance = (diskRadius ** 2 / 4 + 1 / 12) / electrons;
      const truth = truthOf(position);
      sum += ((column - truth.column) ** 2 + (row - truth.row) ** 2) / variance;
    }
    return sum / (2 * positions.length);
  }

  const truth = async () => {
    await made;
    const { com, potential } = readNpz(readFileSync(join(folder, "scan.truth.npz")));
    expect(com?.shape).toEqual([2, ...scanShape]);
    expect(potential?.shape).toEqual([...scanShape]);
    const count = scanShape[0] * scanShape[1];
    const values = [...com!.data].map(Number);
    return {
      column: (position: number) => values[position]!,
      row: (position: number) => values[count + position]!,
      potential: [...potential!.data].map(Number),
    };
  };

  // Mean of 2 n squares of standard normal numbers: 1, with standard deviation sqrt(2 / (2 n)). 5 of those: 1 in 3 million.
  const tolerance = 5 * Math.sqrt(1 / (scanShape[0] * scanShape[1]));

  it("is recovered by a centre of mass within shot noise", async () => {
    const { column, row } = await truth();
    expect(Math.abs((await chiSquare((p) => ({ column: column(p), row: row(p) }))) - 1)).toBeLessThan(
      tolerance,
    );
  });

  it("is not recovered with axes swapped, the shift turned around or the beam elsewhere", async () => {
    const { column, row } = await truth();
    // Beam centre: middle of the frame and the default offset.
    const center = { column: 129.5 + 6.5, row: 99.5 - 4.25 };
    const wrong = {
      "axes swapped": (p: number) => ({
        column: center.column + row(p) - center.row,
        row: center.row + column(p) - center.column,
      }),
      "sign turned": (p: number) => ({ column: 2 * center.column - column(p), row: 2 * center.row - row(p) }),
      "columns turned": (p: number) => ({ column: 2 * center.column - column(p), row: row(p) }),
      "rows turned": (p: number) => ({ column: column(p), row: 2 * center.row - row(p) }),
      "scan axes swapped": (p: number) => {
        const other = (p % scanShape[0]) * scanShape[1] + Math.floor(p / scanShape[0]);
        return { column: column(other), row: row(other) };
      },
      "no shift": () => center,
      "half a pixel off": (p: number) => ({ column: column(p) + 0.5, row: row(p) }),
    };
    for (const [name, truthOf] of Object.entries(wrong)) {
      expect(await chiSquare(truthOf), name).toBeGreaterThan(1 + 2 * tolerance);
    }
  });

  it("has shifts that are the gradient of the potential, up to the deflection asked for", async () => {
    const { column, row, potential } = await truth();
    let largest = 0;
    for (let r = 1; r < scanShape[0] - 1; r++) {
      // Away from the specimen's edge, where a difference over two positions is a good derivative.
      for (let c = 8; c < scanShape[1] - 1; c++) {
        const p = r * scanShape[1] + c;
        const alongColumns = (potential[p + 1]! - potential[p - 1]!) / 2;
        const alongRows = (potential[p + scanShape[1]]! - potential[p - scanShape[1]]!) / 2;
        const shift = [column(p) - 136, row(p) - 95.25] as const;
        largest = Math.max(largest, Math.hypot(...shift));
        // Central differences damp a wave of period 16 / 1.7 by up to (2 pi 1.7 / 16)^2 / 6 = 7%.
        expect(Math.abs(alongColumns - shift[0])).toBeLessThan(0.25);
        expect(Math.abs(alongRows - shift[1])).toBeLessThan(0.25);
      }
    }
    expect(largest).toBeGreaterThan(2.5);
    expect(largest).toBeLessThanOrEqual(3.0001);
  });

  it("has vacuum at the first column and none beyond the first tenth", async () => {
    const { potential, column, row } = await truth();
    for (let r = 0; r < scanShape[0]; r++) {
      expect(Math.abs(potential[r * scanShape[1]]!)).toBe(0);
      expect([column(r * scanShape[1]), row(r * scanShape[1])]).toEqual([136, 95.25]);
    }
  });

  it("has Poisson numbers of electrons", async () => {
    await made;
    const counts = (await measure(path)).map(({ electrons }) => electrons);
    const mean = counts.reduce((a, b) => a + b) / counts.length;
    const variance = counts.reduce((sum, count) => sum + (count - mean) ** 2, 0) / (counts.length - 1);
    // Two frames a position: mean and variance 300. Standard errors: sqrt(300 / n), and 300 sqrt(2 / n) for the variance.
    expect(Math.abs(mean - 2 * dose)).toBeLessThan(5 * Math.sqrt((2 * dose) / counts.length));
    expect(Math.abs(variance - 2 * dose)).toBeLessThan(5 * 2 * dose * Math.sqrt(2 / counts.length));
  });

  it("says what it did", async () => {
    const { frames, events, truthPath, parametersPath } = await made;
    expect(frames).toBe(2 * scanShape[0] * scanShape[1]);
    expect(events).toBe((await measure(path)).reduce((sum, { electrons }) => sum + electrons, 0));
    expect(existsSync(truthPath)).toBe(true);
    expect(JSON.parse(readFileSync(parametersPath, "utf8"))).toMatchObject({
      scanShape,
      seed,
      diskRadius,
      dose,
    });
  });

  it("makes the same file of the same seed and another of another", async () => {
    const small = { scanShape: [3, 4], frameShape: [64, 80], dose: 20 } as const;
    const [a, b, c] = ["a", "b", "c"].map((name) => join(folder, `${name}.h5`)) as [string, string, string];
    await simulate({ ...small, path: a, seed: 5 });
    await simulate({ ...small, path: b, seed: 5 });
    await simulate({ ...small, path: c, seed: 6 });
    expect(readFileSync(a).equals(readFileSync(b))).toBe(true);
    expect(readFileSync(a).equals(readFileSync(c))).toBe(false);
  });

  it("reports progress up to the end", async () => {
    const seen: [number, number][] = [];
    await simulate({
      path: join(folder, "progress.h5"),
      scanShape: [30, 40],
      dose: 1000,
      onProgress: (done, total) => seen.push([done, total]),
    });
    expect(seen.length).toBeGreaterThan(1);
    expect(seen.at(-1)).toEqual([1200, 1200]);
    expect(seen.every(([done], i) => i === 0 || done > seen[i - 1]![0])).toBe(true);
  });

  it("writes a scan without electrons", async () => {
    const empty = await simulate({ path: join(folder, "dark.h5"), scanShape: [2, 2], dose: 0 });
    expect(empty.events).toBe(0);
  });

  it("says where it cannot write", async () => {
    const path = join(folder, "no", "such", "folder.h5");
    await expect(simulate({ path })).rejects.toMatchObject({ code: "STEMLINE_COUNTED_FILE_WRITE" });
    mkdirSync(join(folder, "taken.truth.npz"));
    await expect(simulate({ path: join(folder, "taken.h5"), scanShape: [2, 2] })).rejects.toMatchObject({
      code: "STEMLINE_COUNTED_FILE_WRITE",
      message: expect.stringContaining("taken.truth.npz"),
    });
  });

  it.each([
    ["dose", { dose: -1 }],
    ["dose", { dose: Number.NaN }],
    ["scanShape", { scanShape: [0, 4] as const }],
    ["framesPerPosition", { framesPerPosition: 1.5 }],
    ["diskRadius", { diskRadius: 0 }],
    ["deflection", { deflection: -1 }],
    ["latticePeriod", { latticePeriod: 1 }],
    ["seed", { seed: 2 ** 32 }],
    ["in columns", { frameShape: [576, 100] as const, diskRadius: 45 }],
    ["in rows", { frameShape: [100, 576] as const, diskRadius: 45 }],
  ])("refuses a wrong %s", async (name, wrong) => {
    await expect(simulate({ path: join(folder, "wrong.h5"), ...wrong })).rejects.toMatchObject({
      code: "STEMLINE_SIMULATE_PARAMETER",
      message: expect.stringContaining(name),
    });
    expect(existsSync(join(folder, "wrong.h5"))).toBe(false);
  });
});
