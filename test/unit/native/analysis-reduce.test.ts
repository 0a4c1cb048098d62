import { crc32, deflateRawSync } from "node:zlib";
import { describe, expect, it } from "vitest";
import { Com } from "../../../src/distiller/com.ts";
import { ComReducer } from "../../../src/distiller/com-reducer.ts";
import { type NpzArray, readNpz, writeNpz } from "../../../src/distiller/npz.ts";
import type { MessageParts } from "../../../src/native/addon.ts";
import {
  centerOfMassPartial,
  ComReducer as NativeComReducer,
  ScanAnalyzer,
  type VirtualDetector,
} from "../../../src/native/kernels.ts";
import { analysisOracle } from "./analysis-oracle.ts";
import { batchMessage, random, randomFrames, shuffled, type TestFrame, type TestScan } from "./messages.ts";
import { bytesOf, outcomeOf } from "./results.ts";

const seed = Number(process.env.STEMLINE_TEST_SEED ?? Math.floor(Math.random() * 2 ** 31));
const scan = { scanNumber: 3, scanShape: [6, 9], frameShape: [40, 30] } as const satisfies TestScan;
const detectors: VirtualDetector[] = [
  { name: "bright_field", innerRadius: 0, outerRadius: 6 },
  { name: "annular_dark_field", innerRadius: 6, outerRadius: 15 },
];
const analyzer = new ScanAnalyzer(detectors);
const options = { emitEvery: 0, replaceNaNs: false };

const analysisOf = (list: readonly TestFrame[], of: TestScan = scan) =>
  analyzer.analyze(batchMessage(of, list));

/** The sums that a reduced message has, as text. */
function sumsOf(data: Uint8Array) {
  const { com, ...counts } = readNpz(data);
  return {
    com: bytesOf(com!.data).toString("hex"),
    counts: Object.entries(counts).map(([name, array]) => [name, array.dtype, array.shape, [...array.data]]),
  };
}

function expectedSums(of: TestScan, list: readonly TestFrame[]) {
  const { com, count: _, ...counts } = analysisOracle(of, list, detectors);
  return {
    com: bytesOf(com!.data).toString("hex"),
    counts: Object.entries(counts).map(([name, { shape, data }]) => {
      return [name, "<u8", [...shape], Array.from(data, BigInt)];
    }),
  };
}

describe(`the reduce of analyses, STEMLINE_TEST_SEED=${seed}`, () => {
  const frames = randomFrames({ ...scan, seed, framesPerPosition: 4, maxEvents: 60 });

  it.each([1, 2, 7, 30])(
    "split over %d messages in any order is one analysis of everything",
    async (parts) => {
      for (let order = 0; order < 3; order++) {
        // All frames of one position come last, so that the scan is not complete before.
        const last = order * 20;
        const next = random(seed + order);
        const pieces: TestFrame[][] = Array.from({ length: parts }, () => []);
        for (const frame of shuffled(frames, seed + order))
          pieces[frame.position === last ? parts - 1 : Math.floor(next() * parts)]!.push(frame);
        const reducer = new ComReducer();
        const emissions = [];
        for (const piece of pieces) emissions.push(...(await reducer.add(await analysisOf(piece), options)));
        expect(emissions).toMatchObject([{ complete: true, messages: parts, frames: frames.length }]);
        expect(sumsOf(emissions[0]!.data)).toEqual(expectedSums(scan, frames));
      }
    },
  );

  it("of a scan that stays open adds everything up, whatever the split and the order", async () => {
    const taller: TestScan = { ...scan, scanShape: [7, 9] };
    const expected = expectedSums(taller, frames);
    for (let order = 0; order < 4; order++) {
      const list = shuffled(frames, seed + order);
      const reducer = new ComReducer();
      for (let at = 0; at < list.length; at += 10 + 17 * order)
        expect(
          await reducer.add(await analysisOf(list.slice(at, at + 10 + 17 * order), taller), options),
        ).toEqual([]);
      const [emission] = await reducer.flush(options);
      expect(sumsOf(emission!.data)).toEqual(expected);
      const { counts } = Com.decode(emission!);
      expect(Object.keys(counts)).toEqual(["events", "pattern", "bright_field", "annular_dark_field"]);
      for (const [name, , shape, values] of expected.counts) {
        expect(counts[name as string]!.shape).toEqual(shape);
        expect([...counts[name as string]!.values]).toEqual((values as bigint[]).map(Number));
      }
    }
  });

  it("of several scans under way keeps their counts apart, also in what is pushed out", async () => {
    const scans = [1, 2, 3].map((scanNumber) => ({ ...scan, scanNumber, scanShape: [2, 2] as const }));
    const reducer = new ComReducer();
    const lists = scans.map((of) =>
      randomFrames({ ...of, seed: seed + of.scanNumber, framesPerPosition: 1, maxEvents: 40 }),
    );
    const emitted = new Map<unknown, Uint8Array>();
    for (let part = 0; part < 3; part++) {
      for (const [i, of] of scans.entries()) {
        const emissions = await reducer.add(await analysisOf(lists[i]!.slice(part, part + 1), of), options);
        for (const { scanNumber, data } of emissions) emitted.set(scanNumber, data);
      }
    }
    const pushed = await reducer.add(
      await analysisOf(lists[0]!, { ...scans[0]!, scanNumber: 9, scanShape: [3, 2] }),
      {
        ...options,
        maxConcurrentScans: 1,
      },
    );
    for (const { scanNumber, data } of pushed) emitted.set(scanNumber, data);
    for (const [i, of] of scans.entries())
      expect(sumsOf(emitted.get(of.scanNumber)!)).toEqual(expectedSums(of, lists[i]!.slice(0, 3)));
  });

  it("does not round counts beyond 2^32", async () => {
    const of: TestScan = { scanNumber: 1, scanShape: [1, 2], frameShape: [2, 2] };
    const message = await analysisOf([{ position: 0, events: Uint32Array.of(1) }], of);
    const arrays = readNpz(message.data);
    const most = writeNpz({ ...arrays, events: { shape: [1, 2], data: Uint32Array.of(0xffff_ffff, 7) } });
    const reducer = new ComReducer();
    for (let i = 0; i < 3; i++) await reducer.add({ meta: message.meta, data: most }, options);
    const [emission] = await reducer.flush(options);
    expect([...readNpz(emission!.data).events!.data]).toEqual([3n * 0xffff_ffffn, 21n]);
    expect([...Com.decode(emission!).counts.events!.values]).toEqual([3 * 0xffff_ffff, 21]);
  });
});

describe("a message of a scan with other counts", () => {
  const of: TestScan = { ...scan, scanShape: [1, 3] };
  const half = (position: number, change: Partial<TestScan> = {}) =>
    batchMessage({ ...of, ...change }, [{ position, events: Uint32Array.of(5, 77) }]);
  const first = { name: "bright_field", innerRadius: 0, outerRadius: 6 };
  const others: [string, () => Promise<MessageParts>][] = [
    ["none, as a partial result", () => centerOfMassPartial(half(1))],
    ["none, in the form of the positions alone", () => centerOfMassPartial(half(1), { form: "positions" })],
    ["a detector less", () => new ScanAnalyzer([first]).analyze(half(1))],
    ["a detector more", () => new ScanAnalyzer([...detectors, { ...first, name: "third" }]).analyze(half(1))],
    ["a detector of another name", () => new ScanAnalyzer([first, { ...first, name: "b" }]).analyze(half(1))],
    ["patterns of another shape", () => analyzer.analyze(half(1, { frameShape: [30, 40] }))],
  ];

  it.each(others)("(%s) is refused, names both and leaves the state as it was", async (_what, other) => {
    const reducer = new ComReducer();
    await reducer.add(await analyzer.analyze(half(0)), options);
    const refusal = await outcomeOf(async () => reducer.add(await other(), options));
    expect(refusal).toMatchObject({
      code: "STEMLINE_SCAN_CHANGED",
      message: expect.stringMatching(
        /^scan 3 has these counts so far: events \(1, 3\), pattern \(40, 30\), bright_field .*; but this message has: /,
      ),
    });
    await reducer.add(await analyzer.analyze(half(1)), options);
    const [emission] = await reducer.add(await analyzer.analyze(half(2)), options);
    const all = [0, 1, 2].map((position) => ({ position, events: Uint32Array.of(5, 77) }));
    expect(emission).toMatchObject({ complete: true, messages: 3 });
    expect(sumsOf(emission!.data)).toEqual(expectedSums(of, all));
  });

  it("is refused, too, where the scan began without counts", async () => {
    const reducer = new ComReducer();
    await reducer.add(await centerOfMassPartial(half(0)), options);
    expect(await outcomeOf(async () => reducer.add(await analyzer.analyze(half(1)), options))).toMatchObject({
      code: "STEMLINE_SCAN_CHANGED",
      message: expect.stringContaining("has these counts so far: none; but this message has: events (1, 3)"),
    });
    const [emission] = await reducer.flush(options);
    expect(Object.keys(readNpz(emission!.data))).toEqual(["com"]);
    expect(emission).toMatchObject({ messages: 1 });
  });
});

/** The same archive as an archiver with compression writes it. */
function deflated(archive: Uint8Array): Buffer {
  const members = Object.entries(readNpz(archive)).map(([name, array]) => {
    const single = writeNpz({ [name]: array });
    const start = 50 + `${name}.npy`.length;
    const content = single.subarray(start, start + Number(single.readBigUInt64LE(34 + `${name}.npy`.length)));
    return { name: Buffer.from(`${name}.npy`), content, packed: deflateRawSync(content) };
  });
  const parts: Buffer[] = [];
  const central: Buffer[] = [];
  let at = 0;
  for (const { name, content, packed } of members) {
    const common = Buffer.alloc(26);
    common.writeUInt16LE(20, 0);
    common.writeUInt16LE(8, 4);
    common.writeUInt32LE(crc32(content), 10);
    common.writeUInt32LE(packed.length, 14);
    common.writeUInt32LE(content.length, 18);
    common.writeUInt16LE(name.length, 22);
    const tail = Buffer.alloc(14);
    tail.writeUInt32LE(at, 10);
    parts.push(Buffer.from("PK\x03\x04"), common, name, packed);
    central.push(Buffer.from("PK\x01\x02\x14\x00"), common, tail, name);
    at += 30 + name.length + packed.length;
  }
  const directory = Buffer.concat(central);
  const end = Buffer.alloc(22);
  end.write("PK\x05\x06", 0, "latin1");
  end.writeUInt16LE(members.length, 8);
  end.writeUInt16LE(members.length, 10);
  end.writeUInt32LE(directory.length, 12);
  end.writeUInt32LE(at, 16);
  return Buffer.concat([...parts, directory, end]);
}

describe("an analysis that native code does not read itself", () => {
  const list = randomFrames({ ...scan, seed, framesPerPosition: 1, maxEvents: 60 });

  async function reduce(change: (data: Uint8Array) => Uint8Array) {
    const { meta, data } = await analysisOf(list);
    const message = { meta, data: change(data) };
    const native = await outcomeOf(() => new NativeComReducer().add(message, options));
    expect(native).toMatchObject({ code: "STEMLINE_NPZ_LAYOUT" });
    return await outcomeOf(() => new ComReducer().add(message, options));
  }
  const changed = (change: (arrays: Record<string, NpzArray>) => object) => (data: Uint8Array) =>
    writeNpz({ ...readNpz(data), ...change(readNpz(data)) });

  it.each<[string, (data: Uint8Array) => Uint8Array]>([
    ["compressed", deflated],
    [
      "with means in float64",
      changed(({ com }) => ({ com: { ...com, data: Float64Array.from(com!.data as Float32Array) } })),
    ],
    [
      "with counts of 64 bits",
      changed(({ count }) => ({
        count: { ...count, data: BigInt64Array.from(count!.data as Uint32Array, BigInt) },
      })),
    ],
  ])("(%s) keeps its counts", async (_what, change) => {
    const emissions = await reduce(change);
    expect(sumsOf((emissions as { data: Uint8Array }[])[0]!.data)).toEqual(expectedSums(scan, list));
  });

  it("loses what are no counts: other types and other shapes", async () => {
    const emissions = await reduce((data) =>
      deflated(
        changed(() => ({
          signed: { shape: [6, 9], data: new Int32Array(54) },
          wide: { shape: [6, 9], data: new BigUint64Array(54) },
          flat: { shape: [54], data: new Uint32Array(54) },
        }))(data),
      ),
    );
    expect(sumsOf((emissions as { data: Uint8Array }[])[0]!.data)).toEqual(expectedSums(scan, list));
  });

  it("is refused when counts are damaged", async () => {
    const result = await reduce((data) => {
      const archive = deflated(data);
      const at = archive.indexOf("bright_field.npy") + "bright_field.npy".length;
      archive[at + 40]! ^= 0x10;
      return archive;
    });
    expect(result).toMatchObject({
      code: "STEMLINE_NPZ_INVALID",
      message: expect.stringContaining("bright_field"),
    });
  });
});
