import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { decode } from "@msgpack/msgpack";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import partial from "../../../operators/center-of-mass-partial/run.ts";
import reduce from "../../../operators/center-of-mass-reduce/run.ts";
import reader from "../../../operators/distiller-counted-data-reader/run.ts";
import { BatchedFrames } from "../../../src/distiller/batched-frames.ts";
import { Com } from "../../../src/distiller/com.ts";
import { CountedFile } from "../../../src/distiller/counted-file.ts";
import { simulate } from "../../../src/distiller/simulate.ts";
import { type InstalledOperator, runPipeline } from "../../../src/local/runner.ts";
import { checkOperator } from "../../../src/operator/check.ts";
import type { Operator, RunContext } from "../../../src/operator/define-operator.ts";
import { type OperatorSpec, parseOperatorSpec } from "../../../src/spec/operator-spec.ts";
import type { BytesMessage } from "../../../src/wire/message.ts";
import { quietContext } from "../operator/context.ts";
import { pipelineOf } from "./build.ts";

const root = fileURLToPath(new URL("../../../", import.meta.url));
const names = ["distiller-counted-data-reader", "center-of-mass-partial", "center-of-mass-reduce"] as const;
const json = (path: string) => JSON.parse(readFileSync(join(root, path), "utf8"));
const specOf = (name: string): OperatorSpec => parseOperatorSpec(json(`operators/${name}/operator.json`));

const scanShape = [6, 9] as const;
const framesPerPosition = 2;
let folder = "";

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "stemline-com-"));
  const options = { scanShape, frameShape: [96, 128], framesPerPosition, dose: 40 } as const;
  await simulate({ path: join(folder, "scan.h5"), ...options });
  await simulate({ path: join(folder, "other.h5"), ...options, seed: 2 });
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe.each(names)("%s", (name) => {
  test("is sound", async () => {
    expect((await checkOperator(join(root, "operators", name))).problems).toEqual([]);
  });

  test("has what interactEM's has", () => {
    const peer = json("test/golden/spec/peer-operators.json")[name];
    const own = specOf(name);
    const ports = (list: OperatorSpec["inputs"]) =>
      (list ?? []).map(({ name, label, type }) => ({ name, label, type }));
    expect({ id: own.id, image: own.image, label: own.label }).toEqual({
      id: peer.id,
      image: peer.image,
      label: peer.label,
    });
    expect([ports(own.inputs), ports(own.outputs)]).toEqual([peer.inputs, peer.outputs]);
    expect(own.parallel_config).toEqual(peer.parallel_config);
    expect((own.triggers ?? []).map(({ name, label, mode }) => ({ name, label, mode }))).toEqual(
      peer.triggers,
    );
    const described = { ...peer, description: "" };
    described.parameters = peer.parameters.map((parameter: object) => ({ ...parameter, description: "" }));
    for (const list of ["inputs", "outputs"]) {
      described[list] = peer[list].map((port: object) => ({ ...port, description: "" }));
    }
    const expected = (parseOperatorSpec(described).parameters ?? []).map((parameter) => ({
      ...parameter,
      description: expect.any(String),
    }));
    expect(own.parameters!.slice(0, expected.length)).toEqual(expected);
  });
});

/** Means per scan position, straight from the definition. */
async function naiveCenterOfMass(path: string): Promise<Float32Array> {
  const file = await CountedFile.open(path);
  const [rows, columns] = file.scanShape;
  const sums = new Float64Array(3 * rows * columns);
  const plane = rows * columns;
  for (const message of file.batches({ scanNumber: 1 })) {
    const { positions, offsets, events, frameShape } = BatchedFrames.decode(message);
    positions.forEach((position, frame) => {
      for (let event = offsets[frame]!; event < offsets[frame + 1]!; event++) {
        sums[position]! += events[event]! % frameShape[1];
        sums[plane + position]! += Math.floor(events[event]! / frameShape[1]);
        sums[2 * plane + position]! += 1;
      }
    });
  }
  file.close();
  return Float32Array.from(
    { length: 2 * plane },
    (_, index) => sums[index]! / sums[2 * plane + (index % plane)]!,
  );
}

const operators: InstalledOperator[] = [
  { spec: { ...specOf(names[0]), label: "reader" }, operator: reader as Operator },
  { spec: { ...specOf(names[1]), label: "partial" }, operator: partial as Operator },
  { spec: { ...specOf(names[2]), label: "reduce" }, operator: reduce as Operator },
];

/** The parameters of an operator.json with other values. */
function valued(name: string, values: Readonly<Record<string, unknown>>): object[] {
  return specOf(name).parameters!.map((parameter) => ({
    ...parameter,
    default: values[parameter.name] ?? parameter.default,
  }));
}

test("reader, partial and reduce give the exact centre of mass, whatever the batches and replicas", async () => {
  const expected = await naiveCenterOfMass(join(folder, "scan.h5"));
  for (const [batchSizeMb, replicas] of [
    [1, 1],
    [0.0001, 3],
    [0.002, 2],
  ] as const) {
    const out = mkdtempSync(join(folder, "out-"));
    const wires = [
      ["reader", "partial"],
      ["partial", "reduce"],
    ] as const;
    const pipeline = pipelineOf(operators, wires, {
      parallelism: { partial: replicas },
      parameters: {
        reader: valued(names[0], { raw_data_dir: folder, filename: "scan.h5", batch_size_mb: batchSizeMb }),
        partial: valued(names[1], { crop_to_x: 500, crop_to_y: 500 }),
      },
    });
    const summary = await runPipeline(pipeline, { operators, out });
    expect(summary).toMatchObject({ outcome: "finished", failure: null });
    const frames = 6 * 9 * framesPerPosition;
    expect(summary.operators).toMatchObject([
      { frames, expectedFrames: frames, failures: 0 },
      { frames, replicas, failures: 0 },
      { frames, failures: 0 },
    ]);
    expect(readdirSync(out)).toEqual(["reduce-1.npz"]);
    const meta = { scan_number: 1, scan_shape: scanShape, frame_shape: [96, 128], headers: {} };
    const { com } = Com.decode({ meta, data: readFileSync(join(out, "reduce-1.npz")) });
    expect(com).toEqual(expected);
  }
});

test("in one process partial and reduce leave the whole scan out, which changes no byte of the result", async () => {
  const run = async (fastLane: boolean, includeHeaders: boolean) => {
    const out = mkdtempSync(join(folder, "out-"));
    const wires = [
      ["reader", "partial"],
      ["partial", "reduce"],
    ] as const;
    const pipeline = pipelineOf(operators, wires, {
      parallelism: { partial: 2 },
      parameters: {
        reader: valued(names[0], { raw_data_dir: folder, filename: "scan.h5", batch_size_mb: 0.002 }),
        reduce: valued(names[2], { emit_every: 0, include_headers: includeHeaders }),
      },
    });
    const summary = await runPipeline(pipeline, { operators, out, fastLane });
    expect(summary.outcome).toBe("finished");
    const files = readdirSync(out).map((name) => readFileSync(join(out, name)).toString("latin1"));
    return { files, bytes: summary.operators[1]!.bytesOut };
  };
  for (const includeHeaders of [false, true]) {
    const classic = await run(false, includeHeaders);
    const lane = await run(true, includeHeaders);
    expect(lane.files).toEqual(classic.files);
    expect(lane.bytes).toBeLessThan(classic.bytes / 4);
  }
});

/** Calls an operator as a host does, one call after another. */
async function host(operator: Operator, parameters: Record<string, unknown>) {
  const base = { ...quietContext(), parameters: parameters as never };
  const state = await operator.setup?.(base);
  const context: RunContext<Record<never, never>, unknown> = {
    ...base,
    state,
    trigger: "read_now",
    count() {},
  };
  return {
    context,
    parameters,
    run: async (message: BytesMessage | null, trigger: string | null = "read_now") => {
      const result = await operator.run(message, { ...context, trigger });
      if (result === null) return [];
      const list: BytesMessage[] = [];
      if ("header" in result) list.push(result);
      else for await (const each of result) list.push(each);
      return list;
    },
    end: () => operator.teardown?.({ ...base, state }),
  };
}

const scanNumbers = (messages: readonly BytesMessage[]) =>
  messages.map(({ header, data }) => BatchedFrames.decode({ meta: header.meta, data }).scanNumber);

describe("the reader", () => {
  const start = (change = {}) =>
    host(reader as Operator, {
      raw_data_dir: folder,
      filename: "scan.h5",
      cache_last_file: false,
      batch_size_mb: 1,
      keep_flyback: true,
      ...change,
    });

  test.each([false, true])("counts the readings of a file (cache_last_file %s)", async (cache) => {
    const { run, parameters, end } = await start({ cache_last_file: cache });
    for (const scan of [1, 2, 3]) {
      expect(scanNumbers(await run(null))).toEqual([scan]);
      expect(await run(null)).toEqual([]);
    }
    parameters.filename = "other.h5";
    expect(scanNumbers(await run(null))).toEqual([1]);
    // Another name in the middle of a reading starts that file from its first frame.
    parameters.filename = "scan.h5";
    expect(scanNumbers(await run(null))).toEqual([1]);
    await end();
  });

  test("does nothing without its trigger", async () => {
    const { run } = await start();
    expect(await run(null, null)).toEqual([]);
  });

  test("leaves out the flyback column when told to, also of a file it kept open", async () => {
    const { run, parameters, end } = await start({ cache_last_file: true });
    const shape = async () => {
      const [message] = await run(null);
      await run(null);
      return BatchedFrames.decode({ meta: message!.header.meta, data: message!.data }).scanShape;
    };
    expect(await shape()).toEqual([6, 9]);
    parameters.keep_flyback = false;
    expect(await shape()).toEqual([6, 8]);
    await end();
  });

  test("names the file that is missing, and recovers when it is there", async () => {
    const { run, parameters, end } = await start({ filename: "none.h5" });
    await expect(run(null)).rejects.toThrow(`${folder}/none.h5`);
    parameters.filename = "scan.h5";
    expect(scanNumbers(await run(null))).toEqual([1]);
    await end();
  });
});

describe("partial and reduce", () => {
  const batches = async (batchSizeMb: number) => {
    const { run, end } = await host(reader as Operator, {
      raw_data_dir: folder,
      filename: "scan.h5",
      cache_last_file: false,
      batch_size_mb: batchSizeMb,
      keep_flyback: true,
    });
    const messages: BytesMessage[] = [];
    for (let next = await run(null); next.length > 0; next = await run(null)) messages.push(...next);
    await end();
    return messages;
  };
  const defaults = { crop_shape: "box", invalid_frames: "reject" };

  test("half a pair of crop or centre counts as none", async () => {
    const [message] = await batches(1);
    const of = async (parameters: object) => {
      const { run } = await host(partial as Operator, { ...defaults, ...parameters });
      return (await run(message!))[0]!.data;
    };
    const none = await of({});
    expect(await of({ crop_to_x: 3, init_center_x: 40 })).toEqual(none);
    const cropped = await of({ crop_to_x: 3, crop_to_y: 3 });
    expect(cropped).not.toEqual(none);
    expect(await of({ crop_to_x: 3, crop_to_y: 3, init_center_y: 40 })).toEqual(cropped);
    expect(await of({ crop_to_x: 3, crop_to_y: 3, init_center_x: 40, init_center_y: 40 })).not.toEqual(
      cropped,
    );
  });

  test("at the end reduce hands over the scan that is not finished", async () => {
    const messages = await batches(0.002);
    expect(messages.length).toBeGreaterThan(3);
    const { run: takePart } = await host(partial as Operator, defaults);
    const { run, context } = await host(reduce as Operator, {
      emit_every: 0,
      max_concurrent_scans: 2,
      include_headers: false,
      replace_nans: false,
    });
    for (const message of messages.slice(1)) expect(await run((await takePart(message))[0]!)).toEqual([]);
    const left: BytesMessage[] = [];
    for await (const message of (reduce as Operator).flush!(context)) left.push(message);
    expect(left).toHaveLength(1);
    const { com } = Com.decode({ meta: left[0]!.header.meta, data: left[0]!.data });
    const expected = await naiveCenterOfMass(join(folder, "scan.h5"));
    const [first] = messages;
    const missing = new Set(BatchedFrames.decode({ meta: first!.header.meta, data: first!.data }).positions);
    expect(missing.size).toBeGreaterThan(0);
    expect(com).toEqual(expected.map((value, index) => (missing.has(index % (6 * 9)) ? Number.NaN : value)));
  });

  test("takes a header that came as an object, as the peer does", async () => {
    const message = (await batches(1))[0]!;
    const { run } = await host(partial as Operator, defaults);
    const [expected] = await run(message);
    const meta = decode(message.header.meta as Uint8Array) as Record<string, unknown>;
    const [got] = await run({ ...message, header: { ...message.header, meta } });
    expect(got).toEqual(expected);

    const reducer = { emit_every: 1, max_concurrent_scans: 1, include_headers: false, replace_nans: true };
    const { run: join } = await host(reduce as Operator, reducer);
    const joined = await join(expected!);
    expect(joined).toHaveLength(1);
    const { run: joinAgain } = await host(reduce as Operator, reducer);
    const object = JSON.parse(Buffer.from(expected!.header.meta as Uint8Array).toString());
    expect(await joinAgain({ ...expected!, header: { ...expected!.header, meta: object } })).toEqual(joined);
  });
});
