/** Benchmarks of the path through Node and of plain JavaScript, on the messages of the native benchmarks. */
import { mkdtempSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { decode } from "@msgpack/msgpack";
import {
  ComReducer,
  CountedFile,
  centerOfMassPartial,
  readNpz,
  simulate,
  writeNpz,
} from "../../src/distiller/index.ts";
import { messageFrom, releaseMessage } from "../../src/wire/message.ts";
import { BenchError } from "./errors.ts";
import {
  type Parts,
  PlainReducer,
  parseHeader,
  partialArchive,
  plainFrameSums,
  plainPartial,
} from "./plain.ts";

export interface NodeCase {
  /** Keys of the input files, see inputs.cpp. */
  readonly inputs: readonly string[];
  /** Makes ready what is timed. `folder` holds the input files. */
  readonly make: (folder: string) => ReadyCase | Promise<ReadyCase>;
}

export interface ReadyCase {
  readonly frames: number;
  readonly events: number;
  readonly bytes: number;
  /** One sample. */
  readonly run: () => void | Promise<void>;
  /** How often a sample does the work. */
  readonly times: number;
  /** Throws if the result of a sample is wrong. */
  readonly check: () => void;
  readonly end?: () => void;
}

interface Message extends Parts {
  readonly frames: number;
  readonly events: number;
}

const frameSide = 576;
const eventsPerFrame = [10, 30, 100, 300];
const scanSides = [128, 512];
/** Messages of one sample through Node: enough that outputs become garbage and are collected within it, as in an operator. */
const messagesPerSample = 32;
const smallPerSample = 1024;

export const nodeCases: ReadonlyMap<string, NodeCase> = new Map([
  ...eventsPerFrame.map((events) => sumsCase(events)),
  ...headerCases(),
  ...scanSides.map((side) => archiveCase(side)),
  ...eventsPerFrame.flatMap((events) =>
    scanSides.flatMap((side) => {
      const axes = `${events}/${side}`;
      return [
        ...partialCases("partial", `real/${axes}`, axes, messagesPerSample),
        ...partialCases("small", `small/${axes}`, axes, smallPerSample),
      ];
    }),
  ),
  ...eventsPerFrame.map((events) => twoAtOnceCase(events)),
  ...reduceCases("json/32768", ["paired/10/512"]),
  ...reduceCases(
    "scan/512",
    [0, 1, 2, 3, 4, 5, 6, 7].map((index) => `scan/10/512/${index}`),
  ),
  ...fileCases(),
]);

export function inputFile(folder: string, key: string, suffix: string): Buffer {
  return readFileSync(join(folder, `${key.replaceAll("/", "-")}.${suffix}`));
}

type Entry = readonly [string, NodeCase];

function sumsCase(events: number): Entry {
  const key = `com/${events}/l3`;
  const make = (folder: string): ReadyCase => {
    const list = asUint32(inputFile(folder, key, "events"));
    const counts = asUint32(inputFile(folder, key, "counts"));
    const expected = inputFile(folder, key, "none");
    const sums = new Float64Array(2 * counts.length);
    return {
      ...{ frames: counts.length, events: list.length, bytes: list.byteLength, times: 1 },
      run: () => plainFrameSums(list, counts, frameSide, sums),
      check: () => {
        for (let i = 0; i < sums.length; i++) {
          const wanted = expected.readBigUInt64LE(24 * (i >> 1) + 8 * (i & 1));
          if (BigInt(sums[i]!) !== wanted) throw new BenchError(`wrong sums of frame ${i >> 1}`);
        }
      },
    };
  };
  return [`com/none/javascript/${events}/l3`, { inputs: [key], make }];
}

function headerCases(): Entry[] {
  const key = "real/10/512";
  const make =
    (bytesOf: (message: Message, json: Buffer) => Uint8Array, run: (bytes: Uint8Array) => unknown) =>
    async (folder: string): Promise<ReadyCase> => {
      const message = readMessage(folder, key);
      const json = Buffer.from((await centerOfMassPartial(message)).meta);
      const bytes = bytesOf(message, json);
      let result: unknown;
      return {
        ...{ frames: message.frames, events: 0, bytes: bytes.length, times: 1 },
        run: () => {
          result = run(bytes);
        },
        check: () => {
          const text = Buffer.isBuffer(result) ? result : Buffer.from(JSON.stringify(result));
          expectSameBytes(text, json, "the header");
        },
      };
    };
  const encode = async (folder: string): Promise<ReadyCase> => {
    const header = decode(readMessage(folder, key).meta);
    return await make(
      (_, json) => json,
      () => Buffer.from(JSON.stringify(header)),
    )(folder);
  };
  return [
    ["decode/msgpack/javascript/32768", { inputs: [key], make: make(({ meta }) => meta, decode) }],
    ["decode/json/javascript/32768", { inputs: [key], make: make((_, json) => json, parseHeader) }],
    ["encode/json/javascript/32768", { inputs: [key], make: encode }],
  ];
}

function archiveCase(side: number): Entry {
  const make = (): ReadyCase => {
    const com = Float32Array.from({ length: 2 * side * side }, (_, i) => i / 7);
    const count = Uint32Array.from({ length: side * side }, (_, i) => i);
    let archive: Uint8Array | undefined;
    return {
      ...{ frames: 0, events: 0, bytes: com.byteLength + count.byteLength, times: 1 },
      run: () => {
        archive = partialArchive(com, count, [side, side]);
      },
      check: () =>
        expectSameArchive(archive!, writeNpz({ com: { shape: [2, side, side], data: com } }), ["com"]),
    };
  };
  return [`npz/javascript/${side}`, { inputs: [], make }];
}

function partialCases(operation: string, key: string, axes: string, times: number): Entry[] {
  const javascript = async (folder: string): Promise<ReadyCase> => {
    const message = readMessage(folder, key);
    const native = await centerOfMassPartial(message);
    let result: Parts | undefined;
    return {
      ...{ ...amountOf(message), times: 1 },
      run: () => {
        result = plainPartial(message);
      },
      check: () => expectSamePartial(result!, native),
    };
  };
  const node = (folder: string): ReadyCase => {
    const message = readMessage(folder, key);
    let result: Parts | undefined;
    return {
      ...{ ...amountOf(message), times },
      run: async () => {
        for (let i = 0; i < times; i++) result = replaced(result, await centerOfMassPartial(message));
      },
      check: () => expectSamePartial(result!, plainPartial(message)),
    };
  };
  return [
    [`${operation}/none/javascript/${axes}`, { inputs: [key], make: javascript }],
    [`${operation}/none/node/${axes}`, { inputs: [key], make: node }],
  ];
}

/** The new result; the one before is given back, as an operator's process does when it was sent meanwhile. */
function replaced(before: Parts | undefined, result: Parts): Parts {
  if (before !== undefined) releaseMessage(messageFrom(before));
  return result;
}

function twoAtOnceCase(events: number): Entry {
  const key = `real/${events}/512`;
  const make = (folder: string): ReadyCase => {
    const message = readMessage(folder, key);
    const results: Parts[] = [];
    const run = async () => {
      let started = 0;
      const worker = async (slot: number) => {
        while (started++ < messagesPerSample) {
          results[slot] = replaced(results[slot], await centerOfMassPartial(message));
        }
      };
      await Promise.all([worker(0), worker(1)]);
    };
    const check = () => {
      for (const result of results) expectSamePartial(result, plainPartial(message));
    };
    return { ...amountOf(message), times: messagesPerSample, run, check };
  };
  return [`partial/none/node/${events}/512/threads:2`, { inputs: [key], make }];
}

function reduceCases(name: string, inputs: readonly string[]): Entry[] {
  const [variant, axis] = name.split("/");
  const complete = inputs.length > 1;
  const side = 512;
  const partialsOf = async (folder: string) => {
    const partials: Parts[] = [];
    const sum = { frames: 0, events: 0, bytes: 0 };
    for (const key of inputs) {
      const message = readMessage(folder, key);
      const { meta, data } = await centerOfMassPartial(message);
      // A copy, as a received message is: the native buffer goes back to its pool.
      partials.push({ meta: meta.slice(), data: data.slice() });
      sum.frames += message.frames;
      sum.events += message.events;
      sum.bytes += meta.length + data.length;
    }
    return { partials, sum };
  };
  const plainEmission = (partials: readonly Parts[]) => {
    const reducer = new PlainReducer(side);
    for (const partial of partials) reducer.add(partial);
    return reducer.emit();
  };
  const javascript = async (folder: string): Promise<ReadyCase> => {
    const { partials, sum } = await partialsOf(folder);
    const reducer = new PlainReducer(side);
    let emission: Uint8Array | undefined;
    return {
      ...{ ...sum, times: 1 },
      run: () => {
        if (complete) emission = plainEmission(partials);
        else for (const partial of partials) reducer.add(partial);
      },
      check: () => expectSameArchive(emission ?? reducer.emit(), plainEmission(partials), ["com"]),
    };
  };
  const node = async (folder: string): Promise<ReadyCase> => {
    const { partials, sum } = await partialsOf(folder);
    const times = complete ? 4 : 50;
    const ongoing = new ComReducer();
    let emission: Parts | undefined;
    return {
      ...{ ...sum, times },
      run: async () => {
        for (let i = 0; i < times; i++) {
          const reducer = complete ? new ComReducer() : ongoing;
          for (const partial of partials) {
            for (const emitted of await reducer.add(partial, { replaceNaNs: false })) {
              emission = replaced(emission, emitted);
            }
          }
        }
      },
      check: () => expectSameArchive(emission!.data, plainEmission(partials), ["com"]),
    };
  };
  return [
    [`reduce/${variant}/javascript/${axis}`, { inputs, make: javascript }],
    [`reduce/${variant}/node/${axis}`, { inputs, make: node }],
  ];
}

/** Counted files of a 128 x 128 scan; reading is from the page cache. */
function fileCases(): Entry[] {
  const frames = 128 * 128;
  return [10, 100].flatMap((dose): Entry[] => {
    const make = async (what: "simulate" | "read"): Promise<ReadyCase> => {
      const folder = mkdtempSync(join(tmpdir(), "stemline-bench-"));
      const path = join(folder, "counted.h5");
      const write = async () => (await simulate({ path, dose, scanShape: [128, 128] })).events;
      const read = async () => {
        const file = await CountedFile.open(path);
        let events = 0;
        for (const { data } of file.batches({ scanNumber: 1 })) events += data.length / 4;
        file.close();
        return events;
      };
      const written = await write();
      let counted = written;
      return {
        ...{ frames, events: written, bytes: statSync(path).size, times: 1 },
        run: async () => {
          counted = what === "read" ? await read() : await write();
        },
        check: () => {
          if (counted !== written) throw new BenchError(`${counted} events instead of ${written}`);
        },
        end: () => rmSync(folder, { recursive: true, force: true }),
      };
    };
    return [
      [`file/simulate/${dose}`, { inputs: [], make: () => make("simulate") }],
      [`file/read/${dose}`, { inputs: [], make: () => make("read") }],
    ];
  });
}

function readMessage(folder: string, key: string): Message {
  const [data, meta, counts] = ["events", "meta", "counts"].map((suffix) => inputFile(folder, key, suffix));
  return { meta: meta!, data: data!, frames: counts!.length / 4, events: data!.length / 4 };
}

function amountOf({ meta, data, frames, events }: Message) {
  return { frames, events, bytes: meta.length + data.length };
}

function asUint32(bytes: Buffer): Uint32Array {
  return new Uint32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length));
}

function expectSamePartial(got: Parts, expected: Parts): void {
  expectSameBytes(got.meta, expected.meta, "the header");
  expectSameArchive(got.data, expected.data, ["com", "count"]);
}

function expectSameBytes(got: Uint8Array, expected: Uint8Array, what: string): void {
  if (Buffer.compare(got, expected) !== 0) throw new BenchError(`${what} is wrong`);
}

function expectSameArchive(got: Uint8Array, expected: Uint8Array, names: readonly string[]): void {
  const arrays = readNpz(got, names);
  const wanted = readNpz(expected, names);
  for (const name of names) {
    const [values, others] = [arrays[name]?.data, wanted[name]!.data];
    if (values?.length !== others.length) throw new BenchError(`${name} is missing or has another length`);
    for (let i = 0; i < others.length; i++) {
      if (!Object.is(values[i], others[i]))
        throw new BenchError(`${name}: item ${i} is ${values[i]}, expected ${others[i]}`);
    }
  }
}
