// Whole messages through Node, beside the same work in plain JavaScript. Run by scripts/bench.mjs; prints JSON with the
// sections of docs/benchmarks.md, and what is noisy on standard error.
import { mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { decode } from "@msgpack/msgpack";
import {
  BatchedFrames,
  ComReducer,
  CountedFile,
  centerOfMassPartial,
  readNpz,
  simulate,
  writeNpz,
} from "../../src/distiller/index.ts";
import { defaultBackend } from "../../src/native/kernels.ts";

const detectorFramesPerSecond = 87_000;
const frameSide = 576;
const eventsPerFrame = [10, 30, 100, 300];
/** Messages of one sample: enough that outputs become garbage and are collected within it, as in an operator. */
const messagesPerSample = 32;
const leastRounds = 5;
const noisySpread = 0.1;

interface Section {
  readonly name: string;
  readonly title: string;
  readonly notes: readonly string[];
  readonly columns: readonly { readonly title: string; readonly digits: number | null }[];
  readonly rows: (string | number | null)[][];
}

interface Timing {
  /** Seconds a sample. */
  readonly best: number;
  readonly median: number;
}

interface Candidate {
  readonly name: string;
  readonly run: () => void | Promise<void>;
  /** Throws if the result of a run is wrong. */
  readonly check?: () => void;
}

interface Message {
  readonly meta: Uint8Array;
  readonly data: Uint8Array;
  readonly frames: number;
  readonly events: number;
}

/** A COMPartial message. */
interface Parts {
  readonly meta: Uint8Array;
  readonly data: Uint8Array;
}

interface PeerFrame {
  readonly STEM_x_position_in_row: number;
  readonly STEM_row_in_scan: number;
  readonly nSTEM_positions_per_row_m1: number;
  readonly nSTEM_rows_m1: number;
  readonly frame_shape: readonly [number, number];
  readonly data_size_bytes: number;
}

interface PeerHeader {
  readonly headers: readonly PeerFrame[];
}

/** Columns of the tables that tell of whole messages. */
const messageColumns = [
  { title: "events/frame", digits: null },
  { title: "scan", digits: null },
  { title: "how", digits: null },
  { title: "frames/message", digits: null },
  { title: "ms best", digits: 2 },
  { title: "ms median", digits: 2 },
  { title: "spread", digits: null },
  { title: "Mframes/s best", digits: 2 },
  { title: "Mframes/s median", digits: 2 },
  { title: "x detector", digits: 1 },
  { title: "x JavaScript", digits: 1 },
  { title: "bytes in+out GB/s", digits: 2 },
] as const;

const { values: settings } = parseArgs({
  options: {
    seconds: { type: "string", default: "0.5" },
    only: { type: "string", multiple: true, default: [] },
  },
});
const secondsEach = Number(settings.seconds);
let figures = 0;
let noisyFigures = 0;

const parts: readonly [name: string, bench: () => Promise<Section>][] = [
  ["node-partial", benchPartial],
  ["node-reduce", benchReduce],
  ["node-files", benchFiles],
];
const sections: Section[] = [];
for (const [name, bench] of parts) {
  if (settings.only.length === 0 || settings.only.includes(name)) sections.push(await bench());
}
if (noisyFigures > 0) {
  console.error(
    `Noisy: the median of ${noisyFigures} of ${figures} Node figures is more than 10 % above the best (marked !).`,
  );
}
console.log(JSON.stringify({ machine: { node: process.version, backend: defaultBackend() }, sections }));

async function benchPartial(): Promise<Section> {
  const section: Section = {
    name: "node-partial",
    title: "center-of-mass-partial from Node: message bytes to message bytes",
    notes: [
      "JavaScript: @msgpack/msgpack, a loop, JSON.stringify, on the main thread. Native calls run on libuv's threads.",
    ],
    columns: messageColumns,
    rows: [],
  };
  for (const side of [128, 512]) {
    for (const events of eventsPerFrame) {
      const message = makeMessage({
        scanSide: side,
        eventsPerFrame: events,
        firstFrame: Math.floor((side * side) / 3),
      });
      let plain: Parts | undefined;
      const results: Parts[] = [];
      const check = () => {
        for (const result of results) expectSame(result, plain!);
      };
      const candidates: Candidate[] = [
        {
          name: "JavaScript",
          run: () => {
            plain = javascriptPartial(message);
          },
        },
        {
          name: "one by one",
          run: async () => {
            results.length = 0;
            for (let i = 0; i < messagesPerSample; i++) results[0] = await centerOfMassPartial(message);
          },
          check,
        },
        {
          name: "2 in flight",
          run: async () => {
            results.length = 0;
            let started = 0;
            const worker = async (slot: number) => {
              while (started++ < messagesPerSample) results[slot] = await centerOfMassPartial(message);
            };
            await Promise.all([worker(0), worker(1)]);
          },
          check,
        },
      ];
      const messages = [1, messagesPerSample, messagesPerSample];
      const timings = await measure(candidates);
      const bytes = message.meta.length + message.data.length + plain!.meta.length + results[0]!.data.length;
      addRows(section, { side, events, message, candidates, timings, messages, bytes });
    }
  }
  return section;
}

async function benchReduce(): Promise<Section> {
  const section: Section = {
    name: "node-reduce",
    title:
      "center-of-mass-reduce from Node: all partial results of a scan, and the scan's own result at the end",
    notes: ["JavaScript: JSON.parse, a loop, .npz with the checksums of node:zlib."],
    columns: messageColumns,
    rows: [],
  };
  for (const side of [128, 512]) {
    const events = 10;
    const framesPerMessage = 16_384;
    const messages: Message[] = [];
    const partials: Parts[] = [];
    for (let first = 0; first < side * side; first += framesPerMessage) {
      const message = makeMessage({
        scanSide: side,
        eventsPerFrame: events,
        firstFrame: first,
        frames: framesPerMessage,
      });
      messages.push(message);
      const { meta, data } = await centerOfMassPartial(message);
      // A copy, as a received message is: the native buffer goes back to its pool.
      partials.push({ meta: meta.slice(), data: data.slice() });
    }
    let plain: Uint8Array | undefined;
    let reduced: Uint8Array | undefined;
    const candidates: Candidate[] = [
      {
        name: "JavaScript",
        run: () => {
          plain = javascriptReduce(partials, side);
        },
      },
      {
        name: "one by one",
        run: async () => {
          const reducer = new ComReducer();
          for (const partial of partials) {
            for (const { complete, data } of await reducer.add(partial, { replaceNaNs: false }))
              if (complete) reduced = data;
          }
        },
        check: () =>
          expectSameArray(readNpz(reduced!, ["com"]).com?.data, readNpz(plain!, ["com"]).com?.data),
      },
    ];
    const timings = await measure(candidates);
    const message = messages[0]!;
    const bytes =
      partials.reduce((sum, { meta, data }) => sum + meta.length + data.length, 0) / partials.length;
    const counts = [partials.length, partials.length];
    addRows(section, { side, events, message, candidates, timings, messages: counts, bytes });
  }
  return section;
}

async function benchFiles(): Promise<Section> {
  const section: Section = {
    name: "node-files",
    title: "Counted files: simulate a 128 x 128 scan, read it as BatchedFrames messages of 1 MiB",
    notes: ["Reading is from the page cache: the file was just written."],
    columns: [
      { title: "events/frame", digits: null },
      { title: "what", digits: null },
      { title: "MB", digits: 1 },
      { title: "ms best", digits: 1 },
      { title: "ms median", digits: 1 },
      { title: "spread", digits: null },
      { title: "Mframes/s", digits: 2 },
      { title: "x detector", digits: 1 },
      { title: "GB/s", digits: 2 },
    ],
    rows: [],
  };
  const folder = mkdtempSync(join(tmpdir(), "stemline-bench-"));
  try {
    for (const dose of [10, 100]) {
      const path = join(folder, `dose-${dose}.h5`);
      let written = 0;
      let read = 0;
      const candidates: Candidate[] = [
        {
          name: "simulate",
          run: async () => {
            written = (await simulate({ path, dose, scanShape: [128, 128] })).events;
          },
        },
        {
          name: "open and read",
          run: async () => {
            const file = await CountedFile.open(path);
            read = 0;
            for (const { data } of file.batches({ scanNumber: 1 })) read += data.length / 4;
            file.close();
          },
          check: () => {
            if (read !== written) throw new Error(`read ${read} events of ${written}`);
          },
        },
      ];
      const timings = await measure(candidates);
      const bytes = statSync(path).size;
      const frames = 128 * 128;
      for (const [i, { best, median }] of timings.entries()) {
        section.rows.push([
          String(dose),
          candidates[i]!.name,
          bytes * 1e-6,
          best * 1e3,
          median * 1e3,
          spreadText({ best, median }),
          (frames / median) * 1e-6,
          frames / median / detectorFramesPerSecond,
          (bytes / median) * 1e-9,
        ]);
      }
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
  return section;
}

interface MessageFigures {
  readonly side: number;
  readonly events: number;
  readonly message: Message;
  readonly candidates: readonly Candidate[];
  /** Of each candidate; the first is JavaScript. */
  readonly timings: readonly Timing[];
  /** Messages of a sample of each candidate. */
  readonly messages: readonly number[];
  /** In and out, of one message. */
  readonly bytes: number;
}

/** Speeds are of the median, which has its share of garbage collections. */
function addRows(section: Section, figures: MessageFigures): void {
  const { side, events, message, candidates, timings, messages, bytes } = figures;
  const javascript = timings[0]!.median / messages[0]!;
  for (const [i, timing] of timings.entries()) {
    const best = timing.best / messages[i]!;
    const median = timing.median / messages[i]!;
    section.rows.push([
      String(events),
      `${side} x ${side}`,
      candidates[i]!.name,
      String(message.frames),
      best * 1e3,
      median * 1e3,
      spreadText(timing),
      (message.frames / best) * 1e-6,
      (message.frames / median) * 1e-6,
      message.frames / median / detectorFramesPerSecond,
      javascript / median,
      (bytes / median) * 1e-9,
    ]);
  }
}

/** Checks, then times all candidates, which take turns so that noise hits all of them alike. */
async function measure(candidates: readonly Candidate[]): Promise<Timing[]> {
  for (const { run } of candidates) await run();
  for (const { check } of candidates) check?.();
  const samples = candidates.map((): number[] => []);
  const end = performance.now() + 1e3 * secondsEach * candidates.length;
  for (let round = 0; round < leastRounds || performance.now() < end; round++) {
    for (const [i, { run }] of candidates.entries()) {
      // What another candidate left behind is not this one's to clear up.
      globalThis.gc?.();
      const start = performance.now();
      await run();
      samples[i]!.push((performance.now() - start) * 1e-3);
    }
  }
  return samples.map((times) => {
    times.sort((a, b) => a - b);
    return { best: times[0]!, median: times[Math.floor(times.length / 2)]! };
  });
}

function spreadText({ best, median }: Timing): string {
  figures++;
  const spread = median / best - 1;
  const noisy = spread > noisySpread;
  if (noisy) noisyFigures++;
  return `${Math.round(100 * spread)} %${noisy ? " !" : ""}`;
}

interface MessagePlan {
  readonly scanSide: number;
  readonly eventsPerFrame: number;
  readonly firstFrame: number;
  readonly frames?: number;
}

/** One BatchedFrames message of Poisson frames, events anywhere on the detector. */
function makeMessage(plan: MessagePlan): Message {
  const { scanSide, firstFrame } = plan;
  const frames = plan.frames ?? (plan.eventsPerFrame <= 10 ? 32_768 : 16_384);
  const random = sfc32(42 + firstFrame);
  const offsets = new Uint32Array(frames + 1);
  for (let i = 0; i < frames; i++) offsets[i + 1] = offsets[i]! + poisson(plan.eventsPerFrame, random);
  const events = new Uint32Array(offsets[frames]!);
  for (let i = 0; i < events.length; i++) events[i] = Math.floor(random() * frameSide * frameSide);
  const positions = Uint32Array.from({ length: frames }, (_, i) => (firstFrame + i) % (scanSide * scanSide));
  const { meta, data } = BatchedFrames.encode(
    {
      scanNumber: 1234,
      scanShape: [scanSide, scanSide],
      frameShape: [frameSide, frameSide],
      dtype: "uint32",
      positions,
      offsets,
    },
    new Uint8Array(events.buffer),
  );
  return { meta, data, frames, events: events.length };
}

/** What centerOfMassPartial does, in plain JavaScript. */
function javascriptPartial({ meta, data }: Message): Parts {
  const header = decode(meta) as PeerHeader;
  const events = new Uint32Array(data.buffer, data.byteOffset, data.length / 4);
  const { nSTEM_rows_m1: rows, nSTEM_positions_per_row_m1: columns, frame_shape: shape } = header.headers[0]!;
  const width = shape[1];
  const rowSum = new Float64Array(rows * columns);
  const columnSum = new Float64Array(rows * columns);
  const count = new Uint32Array(rows * columns);
  let at = 0;
  for (const frame of header.headers) {
    const position = frame.STEM_row_in_scan * columns + frame.STEM_x_position_in_row;
    const end = at + frame.data_size_bytes / 4;
    let row = 0;
    let column = 0;
    for (let i = at; i < end; i++) {
      const event = events[i]!;
      const eventRow = Math.floor(event / width);
      row += eventRow;
      column += event - eventRow * width;
    }
    rowSum[position]! += row;
    columnSum[position]! += column;
    count[position]! += end - at;
    at = end;
  }
  const com = new Float32Array(2 * rows * columns);
  for (let i = 0; i < rows * columns; i++) {
    com[i] = columnSum[i]! / count[i]!;
    com[rows * columns + i] = rowSum[i]! / count[i]!;
  }
  return {
    meta: Buffer.from(JSON.stringify(header)),
    data: writeNpz({
      com: { shape: [2, rows, columns], data: com },
      count: { shape: [rows, columns], data: count },
    }),
  };
}

/** What ComReducer does for a complete scan, in plain JavaScript. */
function javascriptReduce(partials: readonly Parts[], side: number): Uint8Array {
  const positions = side * side;
  const sums = new Float64Array(2 * positions);
  const counts = new Uint32Array(positions);
  for (const { meta, data } of partials) {
    const { headers } = JSON.parse(
      Buffer.from(meta.buffer, meta.byteOffset, meta.length).toString(),
    ) as PeerHeader;
    const arrays = readNpz(data, ["com", "count"]);
    const com = arrays.com!.data as Float32Array;
    const count = arrays.count!.data as Uint32Array;
    const seen = new Set<number>();
    for (const frame of headers) {
      const position = frame.STEM_row_in_scan * side + frame.STEM_x_position_in_row;
      const weight = count[position]!;
      if (seen.has(position) || weight === 0) continue;
      seen.add(position);
      sums[position]! += Math.round(com[position]! * weight);
      sums[positions + position]! += Math.round(com[positions + position]! * weight);
      counts[position]! += weight;
    }
  }
  const com = new Float32Array(2 * positions);
  for (let i = 0; i < positions; i++) {
    com[i] = sums[i]! / counts[i]!;
    com[positions + i] = sums[positions + i]! / counts[i]!;
  }
  return writeNpz({ com: { shape: [2, side, side], data: com } });
}

function expectSame(got: Parts, expected: Parts): void {
  if (Buffer.compare(got.meta, expected.meta) !== 0) throw new Error("centerOfMassPartial: wrong JSON");
  const arrays = readNpz(got.data, ["com", "count"]);
  const wanted = readNpz(expected.data, ["com", "count"]);
  expectSameArray(arrays.com?.data, wanted.com?.data);
  expectSameArray(arrays.count?.data, wanted.count?.data);
}

function expectSameArray(
  got: ArrayLike<unknown> | undefined,
  expected: ArrayLike<unknown> | undefined,
): void {
  if (got === undefined || got.length !== expected?.length)
    throw new Error("an array is missing or has another length");
  for (let i = 0; i < got.length; i++) {
    if (!Object.is(got[i], expected[i])) throw new Error(`item ${i} is ${got[i]}, expected ${expected[i]}`);
  }
}

function poisson(mean: number, random: () => number): number {
  let count = 0;
  for (let left = mean; left > 0; left -= 30) {
    const limit = Math.exp(-Math.min(left, 30));
    for (let product = random(); product > limit; product *= random()) count++;
  }
  return count;
}

function sfc32(seed: number): () => number {
  let [a, b, c, counter] = [seed | 0, 0x9e3779b9, 0x243f6a88, 1];
  const next = () => {
    const sum = (a + b + counter++) | 0;
    a = b ^ (b >>> 9);
    b = (c + (c << 3)) | 0;
    c = (((c << 21) | (c >>> 11)) + sum) | 0;
    return (sum >>> 0) / 2 ** 32;
  };
  for (let i = 0; i < 20; i++) next();
  return next;
}
