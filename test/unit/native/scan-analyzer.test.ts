import { getEventListeners } from "node:events";
import { setImmediate as nextTurn, setTimeout as sleep } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import { ComReducer } from "../../../src/distiller/com-reducer.ts";
import { readNpz } from "../../../src/distiller/npz.ts";
import { NativeError, ParameterError, WireError } from "../../../src/errors.ts";
import type { MessageParts } from "../../../src/native/addon.ts";
import {
  centerOfMassPartial,
  type EventSelection,
  ScanAnalyzer,
  type VirtualDetector,
} from "../../../src/native/kernels.ts";
import { loadAddon } from "../../../src/native/loader.ts";
import { messageFrom, releaseMessage } from "../../../src/wire/message.ts";
import { analysisOracle, dtypes, typedMessage } from "./analysis-oracle.ts";
import { batchBackends } from "./batch-backends.ts";
import {
  batchMessage,
  largeMessage,
  random,
  randomFrames,
  type TestFrame,
  type TestScan,
} from "./messages.ts";
import { bytesOf, outcomeOf, sha256 } from "./results.ts";

const seed = Number(process.env.STEMLINE_TEST_SEED ?? Math.floor(Math.random() * 2 ** 31));
const supported = batchBackends().filter((backend) => backend.supported);

const scan = { scanNumber: 2, scanShape: [4, 3], frameShape: [32, 48] } as const satisfies TestScan;
const frames = randomFrames({ ...scan, seed, framesPerPosition: 2, maxEvents: 30 });
const message = batchMessage(scan, frames);
const ring: VirtualDetector = { name: "ring", innerRadius: 3, outerRadius: 9 };

/** Every array of an archive by name: type, shape and bytes. */
function arraysOf(archive: Uint8Array) {
  return Object.entries(readNpz(archive)).map(([name, { dtype, shape, data }]) => [
    name,
    dtype,
    shape,
    bytesOf(data).toString("hex"),
  ]);
}

function expectedArrays(
  of: TestScan,
  list: readonly TestFrame[],
  detectors: readonly VirtualDetector[],
  options: EventSelection = {},
) {
  return Object.entries(analysisOracle(of, list, detectors, options)).map(([name, { shape, data }]) => [
    name,
    data instanceof Float32Array ? "<f4" : "<u4",
    [...shape],
    bytesOf(data).toString("hex"),
  ]);
}

function randomDetectors(
  count: number,
  [rows, columns]: readonly [number, number],
  next: () => number,
): VirtualDetector[] {
  return Array.from({ length: count }, (_, d): VirtualDetector => {
    const name = `detector_${d}`;
    if (next() < 0.3) {
      const mask = Uint8Array.from({ length: rows * columns }, () => (next() < 0.3 ? 1 + next() * 255 : 0));
      return { name, mask, maskShape: [rows, columns] };
    }
    // In halves, so that pixels lie on borders; sometimes off the detector.
    const half = (most: number) => Math.floor(next() * 2 * most) / 2;
    const innerRadius = next() < 0.5 ? 0 : half(10);
    return {
      name,
      ...(next() < 0.7 && { center: [half(rows) - 2, half(columns + 4)] as const }),
      innerRadius,
      outerRadius: innerRadius + 0.5 + half(rows),
    };
  });
}

describe(`an analysis, STEMLINE_TEST_SEED=${seed}`, () => {
  const selections: [string, EventSelection][] = [
    ["no crop", {}],
    ["a box", { cropTo: [9, 7] }],
    ["a box with a centre", { cropTo: [9, 7], initCenter: [12, 30] }],
    ["a disk", { cropTo: [8, 5], cropShape: "disk" }],
    ["a disk with a centre", { cropTo: [8, 5], initCenter: [12.5, 30.25], cropShape: "disk" }],
  ];
  const cases = dtypes.flatMap((dtype) => selections.map(([name, options]) => ({ dtype, name, options })));

  it.each(cases)("of $dtype events with $name is what the definition says", async ({ dtype, options }) => {
    const next = random(seed);
    // An index fits its type.
    const frameShape = dtype === "uint8" ? ([12, 20] as const) : scan.frameShape;
    const of: TestScan = { ...scan, frameShape };
    const list = randomFrames({ ...of, seed, framesPerPosition: 3, maxEvents: 40 });
    const detectors = randomDetectors(5, frameShape, next);
    const expected = expectedArrays(of, list, detectors, options);
    const plain = await centerOfMassPartial(typedMessage(of, list, dtype), options);
    for (const { name: backend } of supported) {
      const analyzer = new ScanAnalyzer(detectors);
      const { meta, data, ...figures } = await analyzer.analyze(typedMessage(of, list, dtype), {
        ...options,
        backend,
      });
      expect(arraysOf(data)).toEqual(expected);
      // Header, means and counts are those of a partial result, to the byte.
      expect(Buffer.compare(meta, plain.meta)).toBe(0);
      expect(Buffer.compare(data.subarray(0, 300), plain.data.subarray(0, 300))).toBe(0);
      const events = list.reduce((sum, frame) => sum + frame.events.length, 0);
      expect(figures).toEqual({ frames: list.length, events, droppedFrames: 0, droppedReason: "", backend });
    }
  });

  it.each([0, 1, 16, 32])("counts for %d detectors", async (count) => {
    const detectors = randomDetectors(count, scan.frameShape, random(seed + count));
    const { data } = await new ScanAnalyzer(detectors).analyze(message);
    expect(arraysOf(data)).toEqual(expectedArrays(scan, frames, detectors));
  });

  it("takes the inner border in and leaves the outer one out", async () => {
    const of: TestScan = { scanNumber: 1, scanShape: [1, 1], frameShape: [9, 11] };
    const list = [{ position: 0, events: Uint32Array.from({ length: 99 }, (_, i) => i) }];
    const at = (name: string, innerRadius: number, outerRadius: number, center?: [number, number]) => {
      return { name, innerRadius, outerRadius, ...(center !== undefined && { center }) };
    };
    const { data } = await new ScanAnalyzer([
      at("middle_pixel", 0, 1),
      at("cross", 0, 1.5),
      at("four", 1, Math.SQRT2),
      at("between_pixels", 0, 1, [3.5, 4.5]),
      at("corner", 0, 2, [0, 0]),
      at("outside", 0, 3, [-10, -10]),
      at("all", 0, 1e9),
      at("far_ring", 1e6, 1e9),
    ]).analyze(batchMessage(of, list));
    const { com: _c, count: _n, events: _e, pattern: _p, ...detected } = readNpz(data);
    const counted = Object.fromEntries(
      Object.entries(detected).map(([name, array]) => [name, array.data[0]]),
    );
    // The square of the root of two is above 2.
    expect(counted).toEqual({
      middle_pixel: 1,
      cross: 9,
      four: Math.SQRT2 ** 2 > 2 ? 8 : 4,
      between_pixels: 4,
      corner: 4,
      outside: 0,
      all: 99,
      far_ring: 0,
    });
  });

  it("has its detectors in the middle of frames of whatever shape comes", async () => {
    const analyzer = new ScanAnalyzer([ring]);
    for (const frameShape of [
      [8, 31],
      [32, 48],
      [1, 1],
      [8, 31],
      [33, 20],
    ] as const) {
      const of: TestScan = { ...scan, frameShape };
      const list = randomFrames({ ...of, seed, framesPerPosition: 1, maxEvents: 50 });
      const { data } = await analyzer.analyze(batchMessage(of, list));
      expect(arraysOf(data)).toEqual(expectedArrays(of, list, [ring]));
    }
  });

  it("keeps the masks as they were", async () => {
    const mask = new Uint8Array(32 * 48).fill(1, 0, 700);
    const detector: VirtualDetector = { name: "half", mask, maskShape: [32, 48] };
    const expected = expectedArrays(scan, frames, [{ ...detector, mask: mask.slice() }]);
    const analyzer = new ScanAnalyzer([detector]);
    mask.fill(0);
    expect(arraysOf((await analyzer.analyze(message)).data)).toEqual(expected);
  });

  it("leaves the message as it was, which may start at any byte", async () => {
    const analyzer = new ScanAnalyzer([ring]);
    const expected = await analyzer.analyze(message, { cropTo: [9, 9] });
    for (let offset = 0; offset < 9; offset++) {
      const shifted = (bytes: Uint8Array) => {
        const copy = new Uint8Array(offset + bytes.length).subarray(offset);
        copy.set(bytes);
        return copy;
      };
      const parts = { meta: shifted(message.meta), data: shifted(message.data) };
      const before = sha256(parts.meta, parts.data);
      const { meta, data } = await analyzer.analyze(parts, { cropTo: [9, 9] });
      expect(sha256(parts.meta, parts.data)).toBe(before);
      expect(sha256(meta, data)).toBe(sha256(expected.meta, expected.data));
    }
  });

  it("of calls that overlap, on several analyzers, is that of calls one after another", async () => {
    const next = random(seed);
    const shapes = [
      [32, 48],
      [48, 32],
      [20, 20],
    ] as const;
    const analyzers = [randomDetectors(3, [1, 1], next), [ring], []].map((list) => {
      return {
        list: list.filter((detector) => !("mask" in detector)),
        analyzer: undefined as ScanAnalyzer | undefined,
      };
    });
    for (const entry of analyzers) entry.analyzer = new ScanAnalyzer(entry.list);
    const calls = Array.from({ length: 60 }, (_, i) => {
      const of: TestScan = { ...scan, scanNumber: i, frameShape: shapes[i % 3]! };
      const list = randomFrames({ ...of, seed: seed + i, framesPerPosition: 2, maxEvents: 200 });
      const { list: detectors, analyzer } = analyzers[Math.floor(next() * 3)]!;
      const result = analyzer!.analyze(batchMessage(of, list), {
        backend: supported[i % supported.length]!.name,
      });
      return { result, expected: () => expectedArrays(of, list, detectors) };
    });
    for (const { result, expected } of calls) expect(arraysOf((await result).data)).toEqual(expected());
  });

  it("stays valid while later calls reuse memory", async () => {
    const analyzer = new ScanAnalyzer([ring]);
    const held = [];
    for (let i = 0; i < 40; i++) {
      const of: TestScan = { ...scan, scanShape: [3 + ((i * 7) % 23), 11] };
      const input = batchMessage(of, randomFrames({ ...of, seed: i, framesPerPosition: 1, maxEvents: 9 }));
      const result = await analyzer.analyze(input);
      held.push({ result, hash: sha256(result.meta, result.data) });
      if (i % 2 === 0) held.pop();
    }
    for (const { result, hash } of held) expect(sha256(result.meta, result.data)).toBe(hash);
  });

  it("goes to the reduce unseen, and is gone when its message was given back", async () => {
    const result = await new ScanAnalyzer([ring]).analyze(message);
    const sent = messageFrom(result);
    const [emission] = await new ComReducer().add(result, { emitEvery: 1 });
    releaseMessage(sent);
    expect(() => result.data).toThrow(expect.objectContaining({ code: "STEMLINE_BYTES_RELEASED" }));
    const sums = readNpz(emission!.data);
    expect(Object.keys(sums)).toEqual(["com", "events", "pattern", "ring"]);
  });

  it("may be of a message whose bytes are given back meanwhile", async () => {
    const addon = loadAddon();
    const analyzer = new ScanAnalyzer([ring]);
    const expected = await analyzer.analyze(message);
    const native = new addon.ScanAnalyzer([{ name: "ring", innerRadius: 3, outerRadius: 9 }]);
    const { meta, data } = await native.analyze(message.meta, message.data, {});
    const adding = new addon.ComReducer().add(meta, data, { emitEvery: 1 });
    meta.release();
    data.release();
    const [emission] = await adding;
    const [plain] = await new ComReducer().add(expected, { emitEvery: 1 });
    expect(Buffer.compare(emission!.data.view(), plain!.data)).toBe(0);
    await expect((async () => native.analyze(meta, data, {}))()).rejects.toThrow(
      expect.objectContaining({ code: "STEMLINE_BYTES_RELEASED" }),
    );
  });
});

describe("invalid frames", () => {
  const bad = (change: (list: TestFrame[]) => void) => {
    const list = frames.map((frame) => ({ ...frame }));
    change(list);
    return batchMessage(scan, list);
  };
  const outsideDetector = bad((list) => {
    list[5] = { position: 2, events: Uint32Array.of(3, 32 * 48) };
  });
  const outsideScan = bad((list) => {
    list[5] = { position: 12, events: Uint32Array.of(3, 4) };
  });
  const others = frames.filter((_, i) => i !== 5);

  it.each([
    ["an event outside the detector", outsideDetector, "STEMLINE_BATCH_EVENT_INDEX"],
    ["a position outside the scan", outsideScan, "STEMLINE_BATCH_SCAN_POSITION"],
  ])("with %s are refused by name, or dropped", async (_what, batch, code) => {
    const analyzer = new ScanAnalyzer([ring]);
    for (const { name: backend } of supported) {
      const refusal = await analyzer.analyze(batch, { backend }).catch((error: unknown) => error);
      expect(refusal).toBeInstanceOf(WireError);
      expect(refusal).toMatchObject({ code, message: expect.stringMatching(/frame 5/) });
      const { meta, data, ...figures } = await analyzer.analyze(batch, { backend, invalidFrames: "drop" });
      expect(figures).toMatchObject({ frames: frames.length, droppedFrames: 1 });
      expect(figures.droppedReason).toContain("frame 5");
      expect(arraysOf(data)).toEqual(expectedArrays(scan, others, [ring]));
      expect(JSON.parse(Buffer.from(meta).toString()).headers).toHaveLength(others.length);
    }
    // A refusal leaves nothing behind.
    expect(arraysOf((await analyzer.analyze(message)).data)).toEqual(expectedArrays(scan, frames, [ring]));
  });

  it("that are all there is leave nothing", async () => {
    const batch = batchMessage(scan, [{ position: 0, events: Uint32Array.of(32 * 48) }]);
    const figures = await new ScanAnalyzer([ring]).analyze(batch, { invalidFrames: "drop" });
    expect(figures).toMatchObject({ frames: 1, droppedFrames: 1, events: 0 });
  });
});

describe("an AbortSignal", () => {
  const slow = { backend: "scalar", cropTo: [100, 100], cropShape: "disk" } as const;

  it("that is aborted already keeps the call from starting", async () => {
    const reason = new Error("too late");
    const analyzer = new ScanAnalyzer([ring]);
    await expect(analyzer.analyze(message, { signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
  });

  it("stops a call that runs, and others that overlap it are none the worse", async () => {
    const large = largeMessage(65536, 200);
    const analyzer = new ScanAnalyzer([ring]);
    const expected = await analyzer.analyze(large, slow);
    let stopped = 0;
    for (let attempt = 0; attempt < 20 && stopped < 2; attempt++) {
      const controller = new AbortController();
      const other = analyzer.analyze(large, slow);
      const call = analyzer.analyze(large, { ...slow, signal: controller.signal }).then(
        () => "finished",
        (error: unknown) => error,
      );
      await sleep(5);
      const reason = { attempt };
      controller.abort(reason);
      const result = await call;
      expect(getEventListeners(controller.signal, "abort")).toEqual([]);
      expect(sha256((await other).data)).toBe(sha256(expected.data));
      // A fast machine may have finished by then.
      if (result === "finished") continue;
      expect(result).toBe(reason);
      stopped++;
    }
    expect(stopped).toBe(2);
  });

  it("that comes after the result changes nothing and is left without a listener", async () => {
    const controller = new AbortController();
    const analyzer = new ScanAnalyzer([ring]);
    const { data } = await analyzer.analyze(message, { signal: controller.signal });
    expect(getEventListeners(controller.signal, "abort")).toEqual([]);
    const before = sha256(data);
    controller.abort("late");
    await nextTurn();
    expect(sha256(data)).toBe(before);
  });
});

describe("detectors that cannot be", () => {
  const annulus = (change: object) => [{ ...ring, ...change }];
  const mask = (change: object) => [{ name: "mask", mask: new Uint8Array(6), maskShape: [2, 3], ...change }];
  const cases: [string, unknown[], string | RegExp][] = [
    [
      "a negative inner radius",
      annulus({ innerRadius: -1 }),
      /^detector "ring": innerRadius: expected 0 or more pixels, got -1$/,
    ],
    [
      "an outer radius of the inner one",
      annulus({ innerRadius: 9 }),
      /^detector "ring": outerRadius: expected more than innerRadius/,
    ],
    [
      "an outer radius below 0",
      annulus({ innerRadius: 0, outerRadius: -2 }),
      /^detector "ring": outerRadius: /,
    ],
    [
      "an inner radius of NaN",
      annulus({ innerRadius: Number.NaN }),
      'detector "ring", innerRadius: expected a finite number, got NaN',
    ],
    [
      "an infinite outer radius",
      annulus({ outerRadius: Number.POSITIVE_INFINITY }),
      'detector "ring", outerRadius: expected a finite number, got Infinity',
    ],
    [
      "an outer radius of text",
      annulus({ outerRadius: "9" }),
      'detector "ring", outerRadius: expected a finite number, got "9"',
    ],
    [
      "no outer radius",
      annulus({ outerRadius: undefined }),
      'detector "ring", outerRadius: expected a finite number, got undefined',
    ],
    [
      "half a centre",
      annulus({ center: [1] }),
      'detector "ring", center: expected two finite numbers, got [ 1 ]',
    ],
    [
      "a centre of NaN",
      annulus({ center: [1, Number.NaN] }),
      'detector "ring", center: expected two finite numbers, got [ 1, NaN ]',
    ],
    ["an empty name", annulus({ name: "" }), /^detector "": expected a name/],
    ["a name that begins with a digit", annulus({ name: "1st" }), /^detector "1st": expected a name/],
    ["a name with a dot", annulus({ name: "a.npy" }), /^detector "a.npy": expected a name/],
    ["a name of 65 letters", annulus({ name: "a".repeat(65) }), /expected a name of 1 to 64/],
    [
      "the name of another array",
      annulus({ name: "pattern" }),
      'detector "pattern": another array has this name',
    ],
    ["one name twice", [ring, ring], 'detector "ring": expected different names'],
    [
      "33 of them",
      Array.from({ length: 33 }, (_, i) => ({ ...ring, name: `d${i}` })),
      /^detectors: expected at most 32, got 33/,
    ],
    [
      "a mask of another size",
      mask({ mask: new Uint8Array(5) }),
      /^detector "mask": mask: expected 2 x 3 pixels.*got 5$/,
    ],
    [
      "a mask without pixels",
      mask({ mask: new Uint8Array(0), maskShape: [0, 3] }),
      /^detector "mask": mask: /,
    ],
    [
      "a mask of other elements",
      mask({ mask: new Uint16Array(6) }),
      /^detector "mask", mask: expected a Uint8Array, got /,
    ],
    [
      "half a mask shape",
      mask({ maskShape: [6] }),
      'detector "mask", maskShape: expected two finite numbers, got [ 6 ]',
    ],
    ["a broken mask shape", mask({ maskShape: [1.5, 4] }), /expected a whole number/],
  ];
  it("no list of them is refused", () => {
    expect(() => new ScanAnalyzer(null as never)).toThrow("detectors: expected an array, got null");
  });

  it.each(cases)("%s: are refused by name", async (_what, detectors, text) => {
    const error = await outcomeOf(() => new ScanAnalyzer(detectors as VirtualDetector[]));
    expect(error).toMatchObject({
      code: "STEMLINE_INVALID_ARGUMENT",
      message: typeof text === "string" ? text : expect.stringMatching(text),
    });
    expect(() => new ScanAnalyzer(detectors as VirtualDetector[])).toThrow(ParameterError);
  });

  it("include masks that the frames do not fit, when they come", async () => {
    const analyzer = new ScanAnalyzer([
      { name: "plate", mask: new Uint8Array(48 * 32), maskShape: [48, 32] },
    ]);
    expect(await outcomeOf(() => analyzer.analyze(message))).toEqual({
      code: "STEMLINE_BATCH_DETECTOR_SHAPE",
      message: 'detector "plate" has a mask of 48 x 32 pixels, but frames have 32 x 48',
    });
  });
});

describe("calls that cannot be", () => {
  const analyzer = new ScanAnalyzer([ring]);

  it.each([
    ["cropTo", [1], "cropTo: expected two finite numbers, got [ 1 ]"],
    ["initCenter", "0,0", 'initCenter: expected two finite numbers, got "0,0"'],
    ["cropShape", "circle", 'cropShape: expected "box" or "disk", got "circle"'],
    ["invalidFrames", "ignore", 'invalidFrames: expected "reject" or "drop", got "ignore"'],
    ["backend", 1, "backend: expected a string, got a number"],
  ])("are refused for the option %s %o", async (name, value, text) => {
    const call = () => analyzer.analyze(message, { [name]: value } as EventSelection);
    expect(await outcomeOf(call)).toEqual({ code: "STEMLINE_INVALID_ARGUMENT", message: text });
  });

  it("are refused for a backend that is not there", async () => {
    await expect(analyzer.analyze(message, { backend: "vax" })).rejects.toThrow(NativeError);
    await expect(analyzer.analyze(message, { backend: "vax" })).rejects.toMatchObject({
      code: "STEMLINE_BACKEND_UNAVAILABLE",
    });
  });

  it("are refused for parts that are no bytes, or none of a batch", async () => {
    for (const name of ["meta", "data"] as const) {
      const parts = { ...message, [name]: [1, 2] } as unknown as MessageParts;
      expect(await outcomeOf(() => analyzer.analyze(parts))).toMatchObject({
        code: "STEMLINE_INVALID_ARGUMENT",
        message: expect.stringContaining(`${name}: expected a Uint8Array`),
      });
    }
    const empty = new Uint8Array(0);
    expect(await outcomeOf(() => analyzer.analyze({ meta: empty, data: empty }))).toMatchObject({
      code: "STEMLINE_BATCH_TRUNCATED",
    });
    for (let length = 0; length < message.meta.length; length += 17) {
      const cut = { ...message, meta: message.meta.subarray(0, length) };
      expect(await outcomeOf(() => analyzer.analyze(cut))).toMatchObject({
        code: "STEMLINE_BATCH_TRUNCATED",
      });
    }
  });

  it("are refused for frames of too many pixels to count", async () => {
    const of: TestScan = { ...scan, frameShape: [4097, 4096] };
    const batch = batchMessage(of, [{ position: 0, events: Uint32Array.of(1) }]);
    expect(await outcomeOf(() => analyzer.analyze(batch))).toMatchObject({
      code: "STEMLINE_BATCH_TOO_LARGE",
      message: expect.stringContaining("4097 x 4096"),
    });
  });
});
