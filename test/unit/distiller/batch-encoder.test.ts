import { encode } from "@msgpack/msgpack";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type BatchFields, encodeBatchHeader, eventBytes } from "../../../src/distiller/batch-encoder.ts";
import { WireError } from "../../../src/errors.ts";
import type { EventDtype } from "../../../src/native/addon.ts";
import { decodeHeader, goldenBytes, goldenJson, type WireBatch, type WireFrame } from "./helpers.ts";

interface EncodeCase {
  readonly name: string;
  readonly hex: string;
  readonly json: string;
}

const fields: BatchFields = {
  scanNumber: 1,
  scanShape: [2, 3],
  frameShape: [4, 4],
  dtype: "uint32",
  positions: Uint32Array.of(1),
  offsets: Uint32Array.of(0, 2),
};

/** What a recorded header says, laid out as our encoder takes it. */
function fieldsOf(batch: WireBatch): BatchFields {
  const first = batch.headers[0]!;
  const dtype = first.dtype as EventDtype;
  const offsets = new Uint32Array(batch.headers.length + 1);
  batch.headers.forEach(({ data_size_bytes }, i) => {
    offsets[i + 1] = offsets[i]! + data_size_bytes / eventBytes[dtype];
  });
  const numbered = first.frame_number !== null;
  return {
    scanNumber: batch.scan_number,
    scanShape: [first.nSTEM_rows_m1, first.nSTEM_positions_per_row_m1],
    frameShape: first.frame_shape,
    dtype,
    positions: Uint32Array.from(
      batch.headers,
      (frame) => frame.STEM_row_in_scan * frame.nSTEM_positions_per_row_m1 + frame.STEM_x_position_in_row,
    ),
    offsets,
    modules: first.modules,
    ...(numbered
      ? { frameNumbers: Uint32Array.from(batch.headers, (frame) => frame.frame_number ?? 0) }
      : {}),
    totalBatches: batch.total_batches,
    totalFrames: batch.total_frames,
    currentBatchIndex: batch.current_batch_index,
  };
}

/** The same header through a general MessagePack library. */
function encodeByLibrary(f: BatchFields): Uint8Array {
  const columns = f.scanShape[1];
  const headers = Array.from(
    f.positions,
    (position, i): WireFrame => ({
      scan_number: Number(f.scanNumber),
      nSTEM_positions_per_row_m1: columns,
      nSTEM_rows_m1: f.scanShape[0],
      STEM_x_position_in_row: position % columns,
      STEM_row_in_scan: Math.floor(position / columns),
      modules: [...(f.modules ?? [0, 1, 2, 3])],
      frame_shape: [f.frameShape[0], f.frameShape[1]],
      data_size_bytes: (f.offsets[i + 1]! - f.offsets[i]!) * eventBytes[f.dtype],
      frame_number: f.frameNumbers?.[i] ?? null,
      dtype: f.dtype,
    }),
  );
  return encode({
    scan_number: Number(f.scanNumber),
    headers,
    batch_size_bytes: f.offsets.at(-1)! * eventBytes[f.dtype],
    total_batches: f.totalBatches ?? null,
    total_frames: f.totalFrames ?? null,
    current_batch_index: f.currentBatchIndex ?? null,
  });
}

describe("encodeBatchHeader", () => {
  const cases = goldenJson<EncodeCase[]>("msgpack/encode.json");

  it.each(cases.filter(({ name }) => name.startsWith("batched")))(
    "writes $name byte for byte",
    ({ hex, json }) => {
      expect(Buffer.from(encodeBatchHeader(fieldsOf(JSON.parse(json)))).toString("hex")).toBe(hex);
    },
  );

  // Negative positions and a scan of 127 x 128 with position (-33, -1) have no place in a scan, so we never write them.
  const frames = cases.filter(
    ({ name }) => name.startsWith("frame-header") && name !== "frame-header-int-sizes",
  );
  it.each(frames)("writes the frame of $name byte for byte", ({ hex, json }) => {
    const frame: WireFrame = JSON.parse(json);
    const batch = {
      scan_number: frame.scan_number,
      headers: [frame],
      batch_size_bytes: frame.data_size_bytes,
      total_batches: null,
      total_frames: null,
      current_batch_index: null,
    };
    expect(Buffer.from(encodeBatchHeader(fieldsOf(batch))).toString("hex")).toContain(`91${hex}`);
  });

  interface Case {
    readonly name: string;
  }
  const batches = goldenJson<Case[]>("batches/index.json")
    .map(({ name }) => name)
    // Headers that disagree, lie outside the scan, hold part of an event, or are not there: there are no such fields.
    .filter((name) => !/^bad-|^odd-|^dtype-mixed|^position-/.test(name));

  it.each(batches)("writes the header of batches/%s byte for byte", (name) => {
    const recorded = goldenBytes(`batches/${name}/part1.msgpack`);
    expect(Buffer.from(encodeBatchHeader(fieldsOf(decodeHeader(recorded)))).equals(recorded)).toBe(true);
  });

  it("writes what a general library writes, at every width of every integer", () => {
    const integer = fc.oneof(
      ...[0, 0x7f, 0x80, 0xff, 0x100, 0xffff, 0x10000, 2 ** 32 - 1].map((value) => fc.constant(value)),
      fc.nat(),
    );
    const batch = fc.record({
      scanNumber: fc.oneof(integer, fc.constantFrom(2 ** 32, 2 ** 40, -1, -32, -33, -128, -129, -32769)),
      columns: fc.constantFrom(1, 3, 127, 128, 255, 256, 65535, 65536),
      rows: fc.constantFrom(1, 2, 127, 128, 255, 256),
      dtype: fc.constantFrom(...(Object.keys(eventBytes) as EventDtype[])),
      frames: fc.array(
        fc.record({
          where: fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
          events: fc.constantFrom(0, 1, 31, 32, 63, 64, 16383, 16384, 70000),
          number: integer,
        }),
        { minLength: 1, maxLength: 40 },
      ),
      modules: fc.option(fc.array(fc.nat(300), { maxLength: 20 }), { nil: undefined }),
      numbered: fc.boolean(),
      total: fc.option(integer, { nil: null }),
    });
    fc.assert(
      fc.property(batch, ({ scanNumber, columns, rows, dtype, frames, modules, numbered, total }) => {
        const offsets = new Uint32Array(frames.length + 1);
        frames.forEach(({ events }, i) => {
          offsets[i + 1] = offsets[i]! + events;
        });
        const made: BatchFields = {
          scanNumber,
          scanShape: [rows, columns],
          frameShape: [columns, 576],
          dtype,
          positions: Uint32Array.from(frames, ({ where }) => Math.floor(where * rows * columns)),
          offsets,
          ...(modules === undefined ? {} : { modules }),
          ...(numbered ? { frameNumbers: Uint32Array.from(frames, ({ number }) => number) } : {}),
          totalBatches: total,
          totalFrames: null,
          currentBatchIndex: total,
        };
        expect(Buffer.from(encodeBatchHeader(made)).equals(encodeByLibrary(made))).toBe(true);
      }),
      { numRuns: 300 },
    );
  });

  it.each([15, 16, 65535, 65536])("writes the list header of %i frames", (frames) => {
    const made = { ...fields, positions: new Uint32Array(frames), offsets: new Uint32Array(frames + 1) };
    expect(Buffer.from(encodeBatchHeader(made)).equals(encodeByLibrary(made))).toBe(true);
  });

  it("writes a scan number beyond 2^53 exactly", () => {
    const hex = Buffer.from(encodeBatchHeader({ ...fields, scanNumber: 2n ** 63n + 5n })).toString("hex");
    expect(hex).toContain(`${Buffer.from("scan_number").toString("hex")}cf8000000000000005`);
  });

  it.each<[string, Partial<BatchFields>, RegExp]>([
    ["no frames", { positions: new Uint32Array(0), offsets: Uint32Array.of(0) }, /at least one frame/],
    ["too few offsets", { offsets: Uint32Array.of(0) }, /expected 2 offsets .* got 1/],
    ["offsets that do not start with 0", { offsets: Uint32Array.of(1, 2) }, /starting with 0/],
    [
      "offsets that decrease",
      { positions: Uint32Array.of(0, 1), offsets: Uint32Array.of(0, 5, 4) },
      /frame 1: .* got 5 then 4/,
    ],
    ["a position outside the scan", { positions: Uint32Array.of(6) }, /frame 0: .* below 6, got 6/],
    ["too many frame numbers", { frameNumbers: Uint32Array.of(1, 2) }, /expected 1 frame numbers, got 2/],
  ])("refuses %s", (_, wrong, message) => {
    expect(() => encodeBatchHeader({ ...fields, ...wrong })).toThrow(WireError);
    expect(() => encodeBatchHeader({ ...fields, ...wrong })).toThrow(message);
  });
});
