import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, describe, expect, test } from "vitest";
import { findOperators, loadOperators } from "../../src/cli/installed-operators.ts";
import { applySettings } from "../../src/cli/settings.ts";
import { readNpz } from "../../src/distiller/npz.ts";
import { simulate } from "../../src/distiller/simulate.ts";
import { runPipeline } from "../../src/local/runner.ts";
import { type CanonicalPipeline, parsePipeline } from "../../src/spec/pipeline.ts";
import { sharedData } from "../unit/distiller/helpers.ts";

const root = fileURLToPath(new URL("../../", import.meta.url));
const folder = mkdtempSync(join(tmpdir(), "stemline-com-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** The demo's pipeline up to the reduce, so that its array is what leaves the pipeline. */
function pipelineToReduce(): CanonicalPipeline {
  const demo = parsePipeline(JSON.parse(readFileSync(join(root, "pipelines/center-of-mass.json"), "utf8")));
  const operators = demo.operators.filter(({ image }) => !image.includes("center-of-mass-plot"));
  const kept = new Set(operators.map(({ id }) => id));
  const ports = demo.ports.filter((port) => kept.has(port.canonical_operator_id));
  const ids = new Set(ports.map(({ id }) => id));
  return { ...demo, operators, ports, edges: demo.edges.filter((edge) => ids.has(edge.output_id)) };
}

/** Runs a counted file through the installed operators and reads the array that the reduce left. */
async function centerOfMassOf(file: string, settings: readonly string[] = []) {
  const out = mkdtempSync(join(folder, "out-"));
  const { folders } = await findOperators(undefined);
  const reader = "distiller-counted-data-reader";
  const pipeline = applySettings(
    pipelineToReduce(),
    [
      `${reader}.raw_data_dir=${dirname(file)}`,
      `${reader}.filename=${file.slice(dirname(file).length + 1)}`,
      ...settings,
    ],
    folders.map(({ spec }) => spec),
  );
  const summary = await runPipeline(pipeline, { operators: await loadOperators(folders), out });
  expect(summary).toMatchObject({ outcome: "finished", failure: null });
  expect(summary.files).toHaveLength(1);
  const { com } = readNpz(readFileSync(summary.files[0]!));
  return { shape: com!.shape, values: com!.data as Float32Array, summary };
}

describe("real detector frames through reader, partial and reduce", () => {
  const expectedFile = sharedData("merlin_expected.json");
  const absent =
    expectedFile === undefined ? " (skipped: the folder with merlin_expected.json is not there)" : "";
  const cases = ["merlin_256x256.h5", "merlin_128x256.h5"].flatMap((name) =>
    ["0.001", "8"].map((batchSize) => [name, batchSize] as const),
  );

  test.skipIf(absent !== "").each(cases)(`%s, batches of %s MB${absent}`, async (name, batchSize) => {
    const all: { file: string; scan_shape: number[]; com_column_row: [number, number][] }[] = JSON.parse(
      readFileSync(expectedFile!, "utf8"),
    );
    const expected = all.find(({ file }) => file === name)!;
    const { shape, values } = await centerOfMassOf(sharedData(name)!, [
      `distiller-counted-data-reader.batch_size_mb=${batchSize}`,
    ]);
    expect(shape).toEqual([2, ...expected.scan_shape]);
    const plane = expected.com_column_row.length;
    for (const [position, [column, row]] of expected.com_column_row.entries()) {
      expect(Math.abs(values[position]! - column)).toBeLessThan(1e-5);
      expect(Math.abs(values[plane + position]! - row)).toBeLessThan(1e-5);
    }
  });
});

describe("a simulated scan through reader, partial and reduce", () => {
  const scanShape = [96, 80] as const;
  const frameShape = [192, 256] as const;
  const radius = 18;
  const seed = Number(process.env.STEMLINE_TEST_SEED ?? Math.floor(Math.random() * 2 ** 32));
  console.log(`seed ${seed}`);

  test.each([
    ["many electrons", 200],
    ["few electrons", 12],
  ])("is recovered within shot noise: %s", async (_name, dose) => {
    const path = join(folder, `scan-${dose}.h5`);
    const { truthPath, frames } = await simulate({
      path,
      scanShape,
      frameShape,
      dose,
      diskRadius: radius,
      framesPerPosition: 2,
      seed,
    });
    const { values, summary } = await centerOfMassOf(path, [
      "distiller-counted-data-reader.batch_size_mb=0.1",
    ]);
    expect(summary.operators[0]).toMatchObject({ frames });
    expect(existsSync(truthPath)).toBe(true);
    const truth = readNpz(readFileSync(truthPath)).com!.data as Float32Array;

    // A coordinate of an electron that is uniform in a disk of radius R has variance R^2 / 4; the rounding to pixels adds
    // 1/12. The mean of N of them, N Poisson with mean M = 2 x dose, has variance (R^2 / 4 + 1/12) E[1/N], where E[1/N] =
    // 1/M + 1/M^2 + 2/M^3 + ... Positions without any electron (exp(-24) of them at the low dose) do not occur.
    const mean = 2 * dose;
    const variance = (radius ** 2 / 4 + 1 / 12) * (1 / mean + 1 / mean ** 2 + 2 / mean ** 3 + 6 / mean ** 4);
    const count = values.length;
    const chiSquare = values.reduce((sum, value, i) => sum + (value - truth[i]!) ** 2 / variance, 0) / count;
    // The mean of `count` squares of standard normal numbers has standard deviation sqrt(2 / count). Rounding to pixels and
    // the next term of E[1/N] stay far below five of those.
    expect(Math.abs(chiSquare - 1)).toBeLessThan(5 * Math.sqrt(2 / count));

    // Axes swapped, or the shift turned around, must not pass.
    const plane = count / 2;
    const swapped = values.reduce(
      (sum, value, i) => sum + (value - truth[(i + plane) % count]!) ** 2 / variance,
      0,
    );
    expect(swapped / count).toBeGreaterThan(2);
  });
});
