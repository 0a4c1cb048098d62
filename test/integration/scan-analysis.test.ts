import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import scanAnalysis from "../../operators/scan-analysis/run.ts";
import { findOperators, loadOperators } from "../../src/cli/installed-operators.ts";
import { applySettings } from "../../src/cli/settings.ts";
import { BatchedFrames } from "../../src/distiller/batched-frames.ts";
import { Com, ComPartial } from "../../src/distiller/com.ts";
import { ComReducer } from "../../src/distiller/com-reducer.ts";
import { CountedFile } from "../../src/distiller/counted-file.ts";
import { batchParts } from "../../src/distiller/message-parts.ts";
import { readNpz } from "../../src/distiller/npz.ts";
import { type Simulation, simulate } from "../../src/distiller/simulate.ts";
import { ParameterError } from "../../src/errors.ts";
import { runPipeline } from "../../src/local/runner.ts";
import { centerOfMassPartial } from "../../src/native/kernels.ts";
import { checkOperator } from "../../src/operator/check.ts";
import type { RunContext } from "../../src/operator/define-operator.ts";
import { parseOperatorSpec } from "../../src/spec/operator-spec.ts";
import { type CanonicalPipeline, parsePipeline } from "../../src/spec/pipeline.ts";
import { type BytesMessage, bytesMessage } from "../../src/wire/message.ts";
import { batchMessage } from "../unit/native/messages.ts";
import { quietContext } from "../unit/operator/context.ts";
import { decodePicture, framedAreas } from "../unit/plot/picture.ts";

const root = fileURLToPath(new URL("../../", import.meta.url));
const folder = mkdtempSync(join(tmpdir(), "stemline-analysis-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const scanShape = [24, 20] as const;
const frameShape = [192, 256] as const;
const diskRadius = 18;
const dose = 120;
const seed = Number(process.env.STEMLINE_TEST_SEED ?? Math.floor(Math.random() * 2 ** 32));
console.log(`seed ${seed}`);

const path = join(folder, "scan.h5");
let simulation: Simulation;
beforeAll(async () => {
  simulation = await simulate({ path, scanShape, frameShape, dose, diskRadius, framesPerPosition: 2, seed });
});

interface Ring {
  /** Row and column. */
  readonly center: readonly [number, number];
  readonly inner: number;
  readonly outer: number;
}

/** What there is to count in the file, one event at a time. */
async function countsOf(rings: Readonly<Record<string, Ring>>): Promise<Record<string, number[]>> {
  const zeros = (shape: readonly [number, number]) => new Array<number>(shape[0] * shape[1]).fill(0);
  const counts: Record<string, number[]> = { events: zeros(scanShape), pattern: zeros(frameShape) };
  for (const name of Object.keys(rings)) counts[name] = zeros(scanShape);
  const file = await CountedFile.open(path);
  for (const message of file.batches({ scanNumber: 1 })) {
    const { positions, offsets, events } = BatchedFrames.decode(message);
    positions.forEach((position, frame) => {
      for (const event of events.slice(offsets[frame], offsets[frame + 1])) {
        counts.events![position]! += 1;
        counts.pattern![Number(event)]! += 1;
        for (const [name, { center, inner, outer }] of Object.entries(rings)) {
          const row = Math.floor(Number(event) / frameShape[1]) - center[0];
          const column = (Number(event) % frameShape[1]) - center[1];
          const distance = row ** 2 + column ** 2;
          if (inner ** 2 <= distance && distance < outer ** 2) counts[name]![position]! += 1;
        }
      }
    });
  }
  file.close();
  return counts;
}

const middle = [(frameShape[0] - 1) / 2, (frameShape[1] - 1) / 2] as const;

function readPipeline(): CanonicalPipeline {
  return parsePipeline(JSON.parse(readFileSync(join(root, "pipelines/scan-analysis.json"), "utf8")));
}

/** Without the plot, so that the arrays are what leaves the pipeline. */
function pipelineToReduce(): CanonicalPipeline {
  const pipeline = readPipeline();
  const operators = pipeline.operators.filter(({ image }) => !image.includes("center-of-mass-plot"));
  const kept = new Set(operators.map(({ id }) => id));
  const ports = pipeline.ports.filter((port) => kept.has(port.canonical_operator_id));
  const ids = new Set(ports.map(({ id }) => id));
  return { ...pipeline, operators, ports, edges: pipeline.edges.filter((edge) => ids.has(edge.output_id)) };
}

async function runWith(pipeline: CanonicalPipeline, settings: readonly string[]) {
  const out = mkdtempSync(join(folder, "out-"));
  const { folders, skipped } = await findOperators(undefined);
  expect(skipped).toEqual([]);
  const reader = "distiller-counted-data-reader";
  const set = [`${reader}.raw_data_dir=${folder}`, `${reader}.filename=scan.h5`, ...settings];
  const specs = folders.map(({ spec }) => spec);
  const summary = await runPipeline(applySettings(pipeline, set, specs), {
    operators: await loadOperators(folders),
    out,
  });
  expect(summary).toMatchObject({ outcome: "finished", failure: null });
  expect(summary.files).toHaveLength(1);
  return { file: readFileSync(summary.files[0]!), summary };
}

describe("a simulated scan through reader, scan-analysis and reduce", () => {
  test.each([
    ["one batch", "8"],
    ["many batches", "0.02"],
  ])(
    "gives each count exactly, and the centre of mass of center-of-mass-partial: %s",
    async (_name, batchSize) => {
      const { file, summary } = await runWith(pipelineToReduce(), [
        `distiller-counted-data-reader.batch_size_mb=${batchSize}`,
        "scan-analysis.bf_outer_radius=16.5",
        "scan-analysis.adf_inner_radius=17",
        "scan-analysis.adf_outer_radius=40",
        "scan-analysis.detector_center_x=92",
        "scan-analysis.detector_center_y=133.5",
        "scan-analysis.init_center_x=92",
        "scan-analysis.init_center_y=134",
        "scan-analysis.crop_to_x=12",
        "scan-analysis.crop_to_y=15",
      ]);
      expect(summary.operators[1]).toMatchObject({ frames: simulation.frames, failures: 0, replicas: 2 });
      const meta = { scan_number: 1, scan_shape: scanShape, frame_shape: frameShape };
      const { com, counts } = Com.decode({ meta, data: file });
      const center = [92, 133.5] as const;
      const expected = await countsOf({
        bright_field: { center, inner: 0, outer: 16.5 },
        annular_dark_field: { center, inner: 17, outer: 40 },
      });
      expect(Object.keys(counts)).toEqual(["events", "pattern", "bright_field", "annular_dark_field"]);
      for (const [name, values] of Object.entries(expected))
        expect([...counts[name]!.values], name).toEqual(values);
      expect(counts.pattern!.shape).toEqual(frameShape);
      expect(counts.events!.values.reduce((sum, value) => sum + value, 0)).toBe(simulation.events);

      const source = await CountedFile.open(path);
      const reducer = new ComReducer();
      const emissions = [];
      for (const message of source.batches({ scanNumber: 1 })) {
        const crop = { cropTo: [12, 15], initCenter: [92, 134] } as const;
        emissions.push(...(await reducer.add(await centerOfMassPartial(message, crop), { emitEvery: 0 })));
      }
      source.close();
      expect(emissions).toHaveLength(1);
      expect(com).toEqual(readNpz(emissions[0]!.data).com!.data);
    },
  );

  test("finds the disk where the simulation has put it", async () => {
    // In vacuum and on the average over the lattice the disk lies off the middle by the beam's offset, so that a detector of
    // its size there holds nearly all electrons, and a ring around that nearly none.
    const { data } = Object.values(readNpz(readFileSync(simulation.truthPath), ["com"]))[0]!;
    const plane = data.length / 2;
    const mean = (from: number) =>
      [...data.slice(from, from + plane)].reduce<number>((sum, value) => sum + Number(value), 0) / plane;
    const { file } = await runWith(pipelineToReduce(), [
      `scan-analysis.detector_center_x=${mean(plane)}`,
      `scan-analysis.detector_center_y=${mean(0)}`,
      `scan-analysis.bf_outer_radius=${diskRadius + diskRadius / 6 + 1}`,
      `scan-analysis.adf_inner_radius=${diskRadius + diskRadius / 3 + 2}`,
      "scan-analysis.adf_outer_radius=300",
      ...["crop_to_x", "crop_to_y"].map((name) => `scan-analysis.${name}=500`),
    ]);
    const meta = { scan_number: 1, scan_shape: scanShape, frame_shape: frameShape };
    const { counts } = Com.decode({ meta, data: file });
    const total = (name: string) => counts[name]!.values.reduce((sum, value) => sum + value, 0);
    expect(total("bright_field") / total("events")).toBeGreaterThan(0.98);
    expect(total("annular_dark_field")).toBe(0);
  });

  test("is drawn as one figure of six maps", async () => {
    const { file } = await runWith(readPipeline(), []);
    expect(framedAreas(await decodePicture(file))).toHaveLength(12);
  });
});

describe("scan-analysis", () => {
  test("is sound", async () => {
    expect((await checkOperator(join(root, "operators/scan-analysis"))).problems).toEqual([]);
  });

  test("takes the parameters of center-of-mass-partial as they are there", () => {
    const parametersOf = (name: string) => {
      const spec = JSON.parse(readFileSync(join(root, `operators/${name}/operator.json`), "utf8"));
      return (parseOperatorSpec(spec).parameters ?? []).map(({ description: _, ...rest }) => rest);
    };
    const partial = parametersOf("center-of-mass-partial");
    expect(parametersOf("scan-analysis").slice(0, partial.length)).toEqual(partial);
  });

  const defaults: Record<string, unknown> = {
    crop_shape: "box",
    invalid_frames: "reject",
    bf_outer_radius: 20,
    adf_inner_radius: 20,
    adf_outer_radius: 90,
  };

  async function batches(): Promise<BytesMessage[]> {
    const file = await CountedFile.open(path);
    const messages = [...file.batches({ scanNumber: 1, batchSizeMb: 0.06 })].map(({ meta, data }) => {
      return bytesMessage(meta.slice(), data.slice());
    });
    file.close();
    return messages;
  }

  /** One replica. Parameters are read when a run begins, as a host gives them. */
  async function replica() {
    const context = (parameters: Record<string, unknown>) => ({
      ...quietContext(),
      parameters: parameters as never,
    });
    const state = await scanAnalysis.setup!(context(defaults));
    const counted: object[] = [];
    const errors: string[] = [];
    const run = async (message: BytesMessage, parameters: Record<string, unknown> = {}) => {
      const result = await scanAnalysis.run(message, {
        ...context({ ...defaults, ...parameters }),
        log: { ...quietContext().log, error: (_fields: object, text: string) => void errors.push(text) },
        state,
        trigger: null,
        count: (work) => void counted.push(work),
      } as RunContext<never, never>);
      return result as BytesMessage | null;
    };
    return { run, state, counted, errors };
  }

  const arraysIn = (message: BytesMessage | null) => readNpz(message!.data);

  test("takes changed parameters with the next message, while others are under way", async () => {
    const [message] = await batches();
    const { run } = await replica();
    const radii = [5, 15, 5, 12, 12, 60];
    const running = radii.map((bf_outer_radius) => run(message!, { bf_outer_radius }));
    const results = (await Promise.all(running)).map(arraysIn);
    for (const [i, bf_outer_radius] of radii.entries()) {
      const alone = arraysIn(await (await replica()).run(message!, { bf_outer_radius }));
      expect(results[i]).toEqual(alone);
    }
    const sums = results.map(({ bright_field }) =>
      [...bright_field!.data].reduce<number>((a, b) => a + Number(b), 0),
    );
    expect(new Set(sums).size).toBe(4);
  });

  test("makes an analyzer anew only for changed detectors", async () => {
    const [message] = await batches();
    const { run, state } = await replica();
    const analyzerFor = async (parameters: Record<string, unknown>) => {
      await run(message!, parameters);
      return state.analyzer;
    };
    const first = await analyzerFor({});
    expect(await analyzerFor({ crop_to_x: 3, crop_to_y: 3, invalid_frames: "drop" })).toBe(first);
    const second = await analyzerFor({ bf_outer_radius: 21 });
    expect(second).not.toBe(first);
    expect(await analyzerFor({ bf_outer_radius: -1 })).toBe(second);
    expect(await analyzerFor({ bf_outer_radius: -1 })).toBe(second);
  });

  test.each([
    [
      "bf_outer_radius",
      { bf_outer_radius: 0 },
      /detector "bright_field": outerRadius: expected more than innerRadius/,
    ],
    ["bf_outer_radius", { bf_outer_radius: -3 }, /detector "bright_field": outerRadius/],
    [
      "bf_outer_radius",
      { bf_outer_radius: Number.NaN },
      /detector "bright_field", outerRadius: expected a finite number, got NaN/,
    ],
    [
      "adf_inner_radius",
      { adf_inner_radius: -1 },
      /detector "annular_dark_field": innerRadius: expected 0 or more/,
    ],
    [
      "adf_inner_radius",
      { adf_inner_radius: 90 },
      /detector "annular_dark_field": outerRadius: expected more than innerRadius, which is 90/,
    ],
    [
      "adf_outer_radius",
      { adf_outer_radius: Number.POSITIVE_INFINITY },
      /detector "annular_dark_field", outerRadius/,
    ],
    [
      "the centre",
      { detector_center_x: Number.NaN, detector_center_y: 1 },
      /center: expected two finite numbers, got \[ NaN, 1 \]/,
    ],
  ])(
    "goes on with the detectors at hand for a bad %s %o, and without any refuses it",
    async (_name, change, text) => {
      const [message] = await batches();
      const { run, errors } = await replica();
      await expect(run(message!, change)).rejects.toThrow(ParameterError);
      await expect(run(message!, change)).rejects.toMatchObject({
        code: "STEMLINE_INVALID_ARGUMENT",
        message: expect.stringMatching(text),
      });
      const before = arraysIn(await run(message!));
      expect(errors).toEqual([]);
      // One message after the other keeps what there is, and the change is reported once.
      for (let i = 0; i < 3; i++) expect(arraysIn(await run(message!, change))).toEqual(before);
      expect(errors).toEqual([expect.stringMatching(/^the detectors stay as they were: /)]);
      expect(errors[0]).toMatch(text);
      expect(arraysIn(await run(message!, { bf_outer_radius: 9 })).bright_field).not.toEqual(
        before.bright_field,
      );
    },
  );

  test("takes half a pair for none: crop, its centre and the detectors' centre", async () => {
    const [message] = await batches();
    const { run } = await replica();
    const none = await run(message!);
    expect(await run(message!, { detector_center_x: middle[0], detector_center_y: middle[1] })).toEqual(none);
    expect(await run(message!, { crop_to_x: 3, init_center_x: 40, detector_center_x: 9 })).toEqual(none);
    expect(await run(message!, { init_center_x: 9, init_center_y: 9, detector_center_y: 9 })).toEqual(none);
    const cropped = arraysIn(await run(message!, { crop_to_x: 3, crop_to_y: 4 }));
    expect(cropped.com).not.toEqual(arraysIn(none).com);
    expect(cropped.bright_field).toEqual(arraysIn(none).bright_field);
    // x is the row: the middle of the disk is 6.5 columns from the middle of the frame, and 4.25 rows.
    const far = arraysIn(
      await run(message!, { detector_center_x: middle[0], detector_center_y: middle[1] + 60 }),
    );
    expect([...far.bright_field!.data].every((count) => count === 0)).toBe(true);
  });

  test("drops frames, counts them, and sends nothing of a batch that has no other", async () => {
    const { run, counted } = await replica();
    const of = { scanNumber: 1, scanShape, frameShape };
    const message = (...frames: readonly Uint32Array[]) => {
      const { meta, data } = batchMessage(
        of,
        frames.map((events, position) => ({ position, events })),
      );
      return bytesMessage(meta, data);
    };
    const [good, bad] = [Uint32Array.of(7, 8), Uint32Array.of(7, 192 * 256)];
    await expect(run(message(good, bad))).rejects.toMatchObject({ code: "STEMLINE_BATCH_EVENT_INDEX" });
    const kept = await run(message(good, bad), { invalid_frames: "drop" });
    expect(kept).toEqual(await run(message(good)));
    expect(await run(message(bad, bad), { invalid_frames: "drop" })).toBeNull();
    expect(counted).toEqual([
      { frames: 2, droppedFrames: 1 },
      { frames: 1, droppedFrames: 0 },
      { frames: 2, droppedFrames: 2 },
    ]);
  });

  test("sends what readers of partial results take, also those of Python", async () => {
    const messages = await batches();
    const { run } = await replica();
    const answer = (await run(messages[1]!))!;
    expect(answer.header).toMatchObject({ subject: "bytes", tracking: null });
    const { com, count } = ComPartial.decode({ meta: answer.header.meta, data: answer.data });
    const plain = await centerOfMassPartial(batchParts(messages[1]!));
    expect(com).toEqual(readNpz(plain.data).com!.data);
    expect(count).toEqual(readNpz(plain.data).count!.data);

    const script = `
import io, json, sys, numpy
arrays = numpy.load(io.BytesIO(sys.stdin.buffer.read()))
print(json.dumps({name: [str(arrays[name].dtype), arrays[name].shape, int(numpy.nansum(arrays[name].astype("f8")))] for name in arrays.files}))`;
    const read = (input: Uint8Array) => {
      const { stdout, stderr, status } = spawnSync("/usr/bin/python3", ["-c", script], {
        input,
        encoding: "utf8",
      });
      expect(stderr).toBe("");
      expect(status).toBe(0);
      return JSON.parse(stdout);
    };
    const described = (archive: Uint8Array) =>
      Object.fromEntries(
        Object.entries(readNpz(archive)).map(([name, { dtype, shape, data }]) => {
          const numbers = Array.from(data as ArrayLike<number | bigint>, Number).filter(
            (value) => !Number.isNaN(value),
          );
          const type = { "<f4": "float32", "<u4": "uint32", "<u8": "uint64" }[dtype];
          return [name, [type, [...shape], Math.trunc(numbers.reduce((a, b) => a + b, 0))]];
        }),
      );
    expect(read(answer.data)).toEqual(described(answer.data));
    const reducer = new ComReducer();
    await reducer.add({ meta: answer.header.meta as Uint8Array, data: answer.data });
    const [emission] = await reducer.flush();
    expect(read(emission!.data)).toEqual(described(emission!.data));
  });

  test("has its arrays read after numpy has compressed them", async () => {
    const [message] = await batches();
    const { run } = await replica();
    const answer = (await run(message!))!;
    const script = `
import io, sys, numpy
arrays = numpy.load(io.BytesIO(sys.stdin.buffer.read()))
numpy.savez_compressed(sys.stdout.buffer, **arrays)`;
    const { stdout } = spawnSync("/usr/bin/python3", ["-c", script], {
      input: answer.data,
      maxBuffer: 2 ** 26,
    });
    expect(stdout.length).toBeLessThan(answer.data.length);
    const meta = answer.header.meta as Uint8Array;
    const reduce = async (data: Uint8Array) => {
      const reducer = new ComReducer();
      await reducer.add({ meta, data });
      return (await reducer.flush())[0]!.data;
    };
    expect(Buffer.compare(await reduce(stdout), await reduce(answer.data))).toBe(0);
  });
});
