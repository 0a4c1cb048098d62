import { beforeAll, describe, expect, it } from "vitest";
import { ComReducer } from "../../../src/distiller/com-reducer.ts";
import { readNpz, writeNpz } from "../../../src/distiller/npz.ts";
import type { MessageParts } from "../../../src/native/addon.ts";
import { backends } from "../../../src/native/backends.ts";
import { centerOfMassPartial, ComReducer as NativeComReducer } from "../../../src/native/kernels.ts";
import { reduceDifferences } from "./deliberate-differences.ts";
import { goldenBytes, goldenJson, npyData } from "./golden-cases.ts";
import { batchMessage, random, randomFrames, shuffled, type TestFrame, type TestScan } from "./messages.ts";
import { centerOfMassOracle, fillNaNs } from "./oracle.ts";
import { bytesOf, npzBytes, npzShape, outcomeOf } from "./results.ts";

interface ReduceCase {
  readonly parameters: { readonly emit_every?: number };
  readonly steps: readonly { readonly in: string; readonly out: string | null; readonly error?: object }[];
}

interface PartialHeader {
  readonly scan_number: number;
  readonly headers: readonly {
    readonly nSTEM_positions_per_row_m1: number;
    readonly nSTEM_rows_m1: number;
    readonly STEM_x_position_in_row: number;
    readonly STEM_row_in_scan: number;
    readonly data_size_bytes: number;
  }[];
}

/**
 * What a scan's partial results without `count` come to: at each position the mean of the values, one for each frame that
 * held events; the rest gets its plane's mean, or 0 where there is none.
 */
class ReduceOracle {
  readonly #scans = new Map<number, { values: [number, number][][]; seen: Set<number> }>();

  add({ meta, data }: MessageParts): Float32Array {
    const { scan_number: scanNumber, headers } = JSON.parse(Buffer.from(meta).toString()) as PartialHeader;
    const positions = headers[0]!.nSTEM_rows_m1 * headers[0]!.nSTEM_positions_per_row_m1;
    const com = readNpz(data).com!.data as Float32Array;
    const scan = this.#scans.get(scanNumber) ?? {
      values: Array.from({ length: positions }, () => []),
      seen: new Set(),
    };
    this.#scans.set(scanNumber, scan);
    for (const header of headers) {
      const position =
        header.STEM_row_in_scan * header.nSTEM_positions_per_row_m1 + header.STEM_x_position_in_row;
      scan.seen.add(position);
      const value: [number, number] = [com[position]!, com[positions + position]!];
      if (header.data_size_bytes > 0 && !value.some(Number.isNaN)) scan.values[position]!.push(value);
    }
    if (scan.seen.size === positions) this.#scans.delete(scanNumber);
    const planes = [0, 1].map((plane) =>
      Float32Array.from(
        scan.values,
        (values) => values.reduce((sum, value) => sum + value[plane]!, 0) / values.length,
      ),
    );
    return Float32Array.from(planes.flatMap((plane) => [...filled(plane)]));
  }
}

/** Missing values become the plane's mean, or 0 where it has none. */
function filled(plane: Float32Array): Float32Array {
  if (plane.every(Number.isNaN)) return new Float32Array(plane.length);
  fillNaNs(plane);
  return plane;
}

describe.each(backends())("recorded reductions on $name", ({ name: backend, supported }) => {
  const names = goldenJson<{ name: string }[]>("reduce/index.json").map(({ name }) => name);

  it.skipIf(!supported).each(names)("%s", async (name) => {
    const { parameters, steps } = goldenJson<ReduceCase>(`reduce/${name}/case.json`);
    const { emit_every: emitEvery } = parameters;
    const options = { includeHeaders: true, backend, ...(emitEvery !== undefined && { emitEvery }) };
    const reducer = new ComReducer();
    const oracle = new ReduceOracle();
    let differences = 0;
    for (const step of steps) {
      const file = (folder: string, part: string) => goldenBytes(`reduce/${name}/${folder}/${part}`);
      const message = { meta: file(step.in, "part1.json"), data: file(step.in, "part2.npz") };
      const ours = await outcomeOf(() => reducer.add(message, options));
      if ("code" in ours || step.error !== undefined) {
        expect(ours).toMatchObject({ code: "STEMLINE_SCAN_CHANGED" });
        expect(step.error).toBeDefined();
        continue;
      }
      const expected = oracle.add(message);
      expect(ours.length, step.in).toBe(step.out === null ? 0 : 1);
      const [emission] = ours;
      if (step.out === null || emission === undefined) continue;
      expect(Buffer.from(emission.meta).toString(), step.out).toBe(file(step.out, "part1.json").toString());
      expect(npzBytes(emission.data, "com").equals(bytesOf(expected)), `${step.out}: com as defined`).toBe(
        true,
      );
      const isPeers = file(step.out, "part2.npz").equals(emission.data);
      expect(npyData(file(step.out, "com.npy")).equals(bytesOf(expected)), "archive and array agree").toBe(
        isPeers,
      );
      if (isPeers) continue;
      expect(reduceDifferences[name]?.ours, `${step.out}: not as the peer's`).toBe("result");
      differences++;
    }
    if (name in reduceDifferences) expect(differences, "a row that is no difference").toBeGreaterThan(0);
  });

  it.each(Object.keys(reduceDifferences))("%s is a recorded reduction", (name) => {
    expect(names).toContain(name);
  });
});

const scan = { scanNumber: 3, scanShape: [6, 9], frameShape: [576, 576] } as const satisfies TestScan;
const positions = 54;

const partialOf = (frames: readonly TestFrame[], of: TestScan = scan) =>
  centerOfMassPartial(batchMessage(of, frames));

/** Cuts a list into pieces of 1 to `most` items. */
function pieces<T>(items: readonly T[], most: number, seed: number): T[][] {
  const next = random(seed);
  const out: T[][] = [];
  for (let at = 0; at < items.length; ) {
    const size = 1 + Math.floor(next() * most);
    out.push(items.slice(at, at + size));
    at += size;
  }
  return out;
}

describe("partial results with counts", () => {
  const seeds = [1, 2, 3, 4, 5, 6];

  it.each(seeds)("split over many messages give the bits of one message (seed %i)", async (seed) => {
    const frames = randomFrames({ ...scan, seed, framesPerPosition: 5, maxEvents: 200 });
    const truth = centerOfMassOracle(batchMessage(scan, frames)).com;
    const options = { emitEvery: 0, replaceNaNs: false };

    const one = await new ComReducer().add(await partialOf(frames), options);
    expect(one.map(({ complete }) => complete)).toEqual([true]);
    expect(npzBytes(one[0]!.data, "com").equals(bytesOf(truth))).toBe(true);

    const reducer = new ComReducer();
    const messages = pieces(shuffled(frames, seed), 20, seed);
    expect(messages.length).toBeGreaterThan(15);
    for (const piece of messages) {
      // One more position keeps the scan open, so that nothing is emitted before the end.
      expect(await reducer.add(await partialOf(piece, taller), options)).toEqual([]);
    }
    const [split, ...rest] = await reducer.flush(options);
    expect(rest).toEqual([]);
    expect(split).toMatchObject({
      scanNumber: 3,
      messages: messages.length,
      frames: frames.length,
      positionsSeen: positions,
      positions: positions + 9,
      complete: false,
      evicted: false,
    });
    const com = npzBytes(split!.data, "com");
    const plane = 4 * (positions + 9);
    expect(com.subarray(0, 4 * positions).equals(bytesOf(truth.subarray(0, positions)))).toBe(true);
    expect(com.subarray(plane, plane + 4 * positions).equals(bytesOf(truth.subarray(positions)))).toBe(true);
  });
  const taller: TestScan = { ...scan, scanShape: [7, 9] };

  it("are weighted by events, not by frames or messages", async () => {
    const reducer = new ComReducer();
    const tiny: TestScan = { scanNumber: 1, scanShape: [1, 2], frameShape: [10, 20] };
    const options = { emitEvery: 1, replaceNaNs: false };
    const at = (row: number, column: number, times: number) => new Uint32Array(times).fill(row * 20 + column);
    await reducer.add(await partialOf([{ position: 0, events: at(2, 12, 3) }], tiny), options);
    await reducer.add(await partialOf([{ position: 0, events: at(6, 4, 1) }], tiny), options);
    const frames = [{ position: 0, events: at(0, 0, 0) }];
    const [emission] = await reducer.add(await partialOf(frames, tiny), options);
    const com = readNpz(emission!.data).com!;
    // Three events at column 12 and one at 4; three at row 2 and one at 6; an empty frame changes nothing.
    expect([...com.data]).toEqual([10, Number.NaN, 3, Number.NaN]);
    expect(com.shape).toEqual([2, 1, 2]);
  });

  it("count a position once, however many of its frames a message has", async () => {
    const tiny: TestScan = { scanNumber: 1, scanShape: [1, 2], frameShape: [10, 20] };
    const events = Uint32Array.of(25);
    const reducer = new ComReducer();
    const options = { emitEvery: 1, replaceNaNs: false };
    await reducer.add(await partialOf([{ position: 0, events: Uint32Array.of(21, 21, 21) }], tiny), options);
    const [emission] = await reducer.add(
      await partialOf(
        [1, 2, 3].map(() => ({ position: 0, events })),
        tiny,
      ),
      options,
    );
    expect(readNpz(emission!.data).com!.data[0]).toBe(3);
  });

  it("of one scan are kept apart from another's", async () => {
    const seed = 77;
    const other: TestScan = { ...scan, scanNumber: 4 };
    const a = randomFrames({ ...scan, seed, framesPerPosition: 2, maxEvents: 50 });
    const b = randomFrames({ ...other, seed: seed + 1, framesPerPosition: 2, maxEvents: 50 });
    const reducer = new ComReducer();
    const options = { emitEvery: 0, replaceNaNs: false };
    await reducer.add(await partialOf(a.slice(0, 50)), options);
    await reducer.add(await partialOf(b.slice(0, 70), other), options);
    const [doneA] = await reducer.add(await partialOf(a.slice(50)), options);
    const [doneB] = await reducer.add(await partialOf(b.slice(70), other), options);
    for (const [done, frames, of] of [
      [doneA, a, scan],
      [doneB, b, other],
    ] as const) {
      const truth = centerOfMassOracle(batchMessage(of, frames)).com;
      expect(done).toMatchObject({ scanNumber: of.scanNumber, complete: true, messages: 2, frames: 108 });
      expect(npzBytes(done!.data, "com").equals(bytesOf(truth)), `scan ${of.scanNumber}, seed ${seed}`).toBe(
        true,
      );
    }
  });
});

describe("partial results without counts", () => {
  const tiny: TestScan = { scanNumber: 1, scanShape: [1, 2], frameShape: [10, 20] };
  const at = (column: number, times = 1) => ({ position: 0, events: new Uint32Array(times).fill(column) });
  const empty = at(0, 0);

  const cases: [string, TestFrame[][], number][] = [
    ["frames that held events, not all frames", [[at(4, 9), empty, empty], [at(10)]], 7],
    ["all frames that held events", [[at(4), at(4)], [at(10)]], 6],
    ["frames, whatever number of events they held", [[at(4, 99)], [at(10)]], 7],
    ["nothing where all frames are empty", [[empty, empty], [at(10)], [empty]], 10],
  ];
  it.each(cases)("are weighted by %s", async (_what, messages, expected) => {
    const reducer = new ComReducer();
    let column = Number.NaN;
    for (const frames of messages) {
      const { meta, data } = await partialOf(frames, tiny);
      const { com } = readNpz(data, ["com"]);
      const [emission] = await reducer.add(
        { meta, data: writeNpz({ com: com! }) },
        { emitEvery: 1, replaceNaNs: false },
      );
      column = Number(readNpz(emission!.data).com!.data[0]);
    }
    expect(column).toBe(expected);
  });
});

describe("ComReducer", () => {
  const tiny = (scanNumber: number): TestScan => ({ scanNumber, scanShape: [1, 2], frameShape: [4, 4] });
  const half = (scanNumber: number, position = 0, event = 5) =>
    partialOf([{ position, events: Uint32Array.of(event) }], tiny(scanNumber));
  let large: MessageParts[] = [];

  beforeAll(async () => {
    const wide: TestScan = { scanNumber: 1, scanShape: [10, 20], frameShape: [4, 4] };
    large = await Promise.all(
      Array.from({ length: 101 }, (_, position) =>
        partialOf([{ position, events: Uint32Array.of(5) }], wide),
      ),
    );
  });

  it("emits every 50 messages unless told otherwise", async () => {
    const reducer = new ComReducer();
    const emitted: number[] = [];
    for (const [i, message] of large.entries()) {
      if ((await reducer.add(message)).length > 0) emitted.push(i + 1);
    }
    expect(emitted).toEqual([50, 100]);
  });

  it("leaves the headers out unless asked for them", async () => {
    const [emission] = await new ComReducer().add(await half(12), { emitEvery: 1 });
    expect(Buffer.from(emission!.meta).toString()).toBe(
      '{"scan_number":12,"scan_shape":[1,2],"frame_shape":[4,4],"headers":{}}',
    );
  });

  it("emits and forgets the oldest scan when there is one too many", async () => {
    const reducer = new ComReducer();
    const options = { emitEvery: 0, maxConcurrentScans: 2, replaceNaNs: false };
    expect(await reducer.add(await half(1), options)).toEqual([]);
    expect(await reducer.add(await half(2), options)).toEqual([]);
    const evicted = await reducer.add(await half(3), options);
    expect(evicted).toMatchObject([
      { scanNumber: 1, evicted: true, complete: false, positionsSeen: 1, positions: 2 },
    ]);
    expect([...readNpz(evicted[0]!.data).com!.data]).toEqual([1, Number.NaN, 1, Number.NaN]);
    // Scan 1 starts afresh: its other half does not complete it.
    expect(await reducer.add(await half(1, 1), options)).toMatchObject([{ scanNumber: 2, evicted: true }]);
    expect(await reducer.add(await half(1, 0), options)).toMatchObject([
      { scanNumber: 1, complete: true, messages: 2 },
    ]);
  });

  it("emits evicted scans before the message's own", async () => {
    const reducer = new ComReducer();
    await reducer.add(await half(1), { emitEvery: 0 });
    await reducer.add(await half(2), { emitEvery: 0 });
    const emissions = await reducer.add(await half(3), { emitEvery: 1, maxConcurrentScans: 1 });
    expect(emissions.map(({ scanNumber, evicted }) => [scanNumber, evicted])).toEqual([
      [1, true],
      [2, true],
      [3, false],
    ]);
  });

  it("flushes the scans under way, oldest first, and forgets them", async () => {
    const reducer = new ComReducer();
    for (const scanNumber of [5, 3, 4]) await reducer.add(await half(scanNumber), { emitEvery: 0 });
    const flushed = await reducer.flush();
    expect(flushed.map(({ scanNumber, evicted, complete }) => [scanNumber, evicted, complete])).toEqual([
      [5, false, false],
      [3, false, false],
      [4, false, false],
    ]);
    expect(await reducer.flush()).toEqual([]);
  });

  it("works calls off in the order they were made, unawaited and through either reader", async () => {
    const reducer = new ComReducer();
    const first = await half(1, 0, 5);
    const other = { ...(await half(1, 1, 10)), data: inOtherTypes((await half(1, 1, 10)).data) };
    const calls = [
      reducer.add(other),
      reducer.add(first),
      reducer.flush(),
      reducer.add(first),
      reducer.flush(),
    ];
    const emitted = (await Promise.all(calls)).map((emissions) =>
      emissions.map(({ complete, messages }) => [complete, messages]),
    );
    expect(emitted).toEqual([[], [[true, 2]], [], [], [[false, 1]]]);
  });

  it("goes on after a refused message as if it had not come", async () => {
    const options = { emitEvery: 0, replaceNaNs: false };
    const good = await half(1, 0, 5);
    const changed = await partialOf([{ position: 0, events: Uint32Array.of(5) }], {
      ...tiny(1),
      scanShape: [2, 2],
    });
    const swap = (from: string, to: string) => ({
      ...good,
      meta: Buffer.from(Buffer.from(good.meta).toString().replace(from, to)),
    });
    const refused: Record<string, MessageParts> = {
      STEMLINE_SCAN_CHANGED: changed,
      STEMLINE_BATCH_MALFORMED: { ...good, meta: Buffer.from("{@}") },
      STEMLINE_BATCH_TRUNCATED: { ...good, meta: good.meta.subarray(0, -1) },
      STEMLINE_BATCH_TRAILING_BYTES: { ...good, meta: Buffer.concat([good.meta, Buffer.from("x")]) },
      STEMLINE_BATCH_WRONG_TYPE: swap('"scan_number":1', '"scan_number":"1"'),
      STEMLINE_BATCH_MISSING_FIELD: swap('"batch_size_bytes"', '"batch_size"'),
      STEMLINE_BATCH_SCAN_POSITION: swap('"STEM_x_position_in_row":0', '"STEM_x_position_in_row":2'),
      STEMLINE_BATCH_DTYPE: swap("uint32", "uint64"),
      STEMLINE_BATCH_SIZE: swap('"batch_size_bytes":4', '"batch_size_bytes":8'),
      STEMLINE_NPZ_INVALID: { ...good, data: new Uint8Array(0) },
    };
    const reducer = new ComReducer();
    await reducer.add(good, options);
    for (const [code, message] of Object.entries(refused)) {
      expect(await outcomeOf(() => reducer.add(message, options))).toMatchObject({ code });
    }
    const shapes = [
      { com: { shape: [2, 2, 1], data: new Float32Array(4) } },
      {
        com: { shape: [2, 1, 2], data: new Float32Array(4) },
        count: { shape: [2], data: new Uint32Array(2) },
      },
      { count: { shape: [1, 2], data: new Uint32Array(2) } },
    ];
    for (const arrays of shapes) {
      const message = { ...good, data: writeNpz(arrays) };
      expect(await outcomeOf(() => reducer.add(message, options))).toMatchObject({
        code: "STEMLINE_NPZ_INVALID",
      });
    }
    const [emission] = await reducer.add(await half(1, 1, 14), options);
    expect(emission).toMatchObject({ complete: true, messages: 2, frames: 2 });
    expect([...readNpz(emission!.data).com!.data]).toEqual([1, 2, 1, 3]);
  });

  it("refuses a cut-off or damaged archive wherever it is cut or damaged", async () => {
    const { meta, data } = await half(1);
    const reducer = new ComReducer();
    for (let length = 0; length < data.length; length++) {
      const result = await outcomeOf(() => reducer.add({ meta, data: data.subarray(0, length) }));
      expect(result, `cut to ${length} bytes`).toMatchObject({ code: "STEMLINE_NPZ_INVALID" });
    }
    // Behind the checksum: the data of com. Some other bytes of a zip archive mean nothing.
    const start = Buffer.from(data).indexOf("\n", 60) + 1;
    for (let at = start; at < start + 16; at++) {
      const damaged = Buffer.from(data);
      damaged[at]! ^= 1;
      expect(await outcomeOf(() => reducer.add({ meta, data: damaged })), `byte ${at}`).toMatchObject({
        code: "STEMLINE_NPZ_INVALID",
      });
    }
    expect(await reducer.flush()).toEqual([]);
  });
});

/** The same arrays in types that native code does not read. */
function inOtherTypes(archive: Uint8Array): Uint8Array {
  const { com, count } = readNpz(archive);
  return writeNpz({
    ...(com !== undefined && {
      com: { shape: com.shape, data: Float64Array.from(com.data as Float32Array) },
    }),
    ...(count !== undefined && {
      count: { shape: count.shape, data: BigInt64Array.from(count.data as Uint32Array, BigInt) },
    }),
  });
}

describe("archives that numpy reads", () => {
  interface AcceptCase {
    readonly name: string;
    readonly file: string;
    readonly ok: boolean;
    readonly shape?: readonly number[];
  }
  const header = (scanNumber: number) => {
    const frame = (position: number) =>
      `{"scan_number":${scanNumber},"nSTEM_positions_per_row_m1":3,"nSTEM_rows_m1":2,` +
      `"STEM_x_position_in_row":${position % 3},"STEM_row_in_scan":${Math.floor(position / 3)},` +
      '"modules":[0,1,2,3],"frame_shape":[4,4],"data_size_bytes":4,"frame_number":null,"dtype":"uint32"}';
    const headers = [0, 1, 2, 3, 4, 5].map(frame).join(",");
    return Buffer.from(`{"scan_number":${scanNumber},"headers":[${headers}],"batch_size_bytes":24}`);
  };
  const cases = goldenJson<AcceptCase[]>("npz/accept.json");

  it.each(cases.map((entry) => [entry.name, entry] as const))("%s", async (_name, { file, ok, shape }) => {
    const data = goldenBytes(`npz/${file}`);
    const result = await outcomeOf(() => new ComReducer().add({ meta: header(1), data }));
    if (!ok) {
      expect(result).toMatchObject({ code: "STEMLINE_NPZ_INVALID" });
      return;
    }
    expect(shape).toEqual([2, 2, 3]);
    expect(result).toMatchObject([{ complete: true }]);
    if ("code" in result) return;
    // The recorded array is 0, 1, 2, ... 11.
    const com = Float32Array.from({ length: 12 }, (_, i) => i);
    expect(npzBytes(result[0]!.data, "com").equals(bytesOf(com))).toBe(true);
    expect(npzShape(result[0]!.data, "com")).toEqual([2, 2, 3]);
  });

  it("of which native code reads some itself and leaves others to the general reader", async () => {
    const codes: Record<string, number> = {};
    for (const { file, ok } of cases.filter((entry) => entry.ok)) {
      const data = goldenBytes(`npz/${file}`);
      const result = await outcomeOf(() => new NativeComReducer().add({ meta: header(1), data }));
      const code = "code" in result ? result.code : String(ok);
      codes[code] = (codes[code] ?? 0) + 1;
    }
    expect(Object.keys(codes).sort()).toEqual(["STEMLINE_NPZ_LAYOUT", "true"]);
  });

  it("in other types give what they give in ours", async () => {
    const com = { shape: [2, 2, 3], data: Float32Array.from({ length: 12 }, (_, i) => 3 + i / 7) };
    const counts = [1, 2, 3, 4, 5, 60];
    const reduce = async (data: Uint8Array) => {
      const [emission] = await new ComReducer().add({ meta: header(1), data });
      return bytesOf(emission!.data);
    };
    const expected = await reduce(
      writeNpz({ com, count: { shape: [2, 3], data: Uint32Array.from(counts) } }),
    );
    expect(npzBytes(expected, "com").equals(bytesOf(com.data)), "counts round the sums").toBe(false);
    const wide = { ...com, data: Float64Array.from(com.data) };
    for (const data of [
      Int8Array.from(counts),
      Int16Array.from(counts),
      Float32Array.from(counts),
      Float64Array.from(counts),
      BigUint64Array.from(counts, BigInt),
    ]) {
      const count = { shape: [2, 3], data };
      expect((await reduce(writeNpz({ com: wide, count }))).equals(expected)).toBe(true);
      expect((await reduce(writeNpz({ com, count }))).equals(expected)).toBe(true);
    }
  });

  it.each([[-1], [1.5], [2 ** 32], [Number.NaN]])("with a count of %s are refused", async (bad) => {
    const com = { shape: [2, 2, 3], data: new Float32Array(12) };
    const count = { shape: [2, 3], data: Float64Array.of(1, 1, 1, bad, 1, 1) };
    const message = { meta: header(1), data: writeNpz({ com, count }) };
    const reducer = new ComReducer();
    expect(await outcomeOf(() => reducer.add(message))).toMatchObject({
      code: "STEMLINE_NPZ_INVALID",
      message: expect.stringContaining(`got ${bad} at index 3`),
    });
    expect(await reducer.flush()).toEqual([]);
  });
});
