import { describe, expect, it } from "vitest";
import { BatchedFrames } from "../../../src/distiller/batched-frames.ts";
import { WireError } from "../../../src/errors.ts";
import { decodeHeader, goldenBytes, goldenJson } from "./helpers.ts";

interface BatchCase {
  readonly name: string;
  /** Where the peer fails: on the header, or when it cuts frames out. */
  readonly decode_error: string | null;
  readonly iter_frames_error?: string | null;
  readonly scan_shape: [number, number];
  readonly frame_shape: [number, number];
  readonly dtype: string;
  readonly n_frames: number;
  /** Left out where there are many. */
  readonly positions_flat?: number[];
}

const cases = goldenJson<{ name: string }[]>("batches/index.json").map(({ name }) => {
  const recorded = goldenJson<BatchCase>(`batches/${name}/case.json`);
  return {
    ...recorded,
    meta: goldenBytes(`batches/${name}/part1.msgpack`),
    data: goldenBytes(`batches/${name}/part2.bin`),
  };
});
/** Batches that the peer takes, or part of its code takes, and we refuse: nothing is guessed or clamped. */
const stricter = /^odd-(fractional|frame-shape|scan-shape)|^dtype-mixed|^position-/;
const fails = ({ decode_error, iter_frames_error }: BatchCase) =>
  (decode_error ?? iter_frames_error ?? null) !== null;
const good = cases.filter((recorded) => !fails(recorded) && !stricter.test(recorded.name));
const bad = cases.filter(fails);

describe("BatchedFrames.decode", () => {
  it("has recorded batches of both kinds", () => {
    expect(good.length).toBeGreaterThan(35);
    expect(bad.length).toBeGreaterThan(4);
  });

  it.each(good)(
    "reads $name as the peer does",
    ({ meta, data, scan_shape, frame_shape, dtype, positions_flat }) => {
      const batch = BatchedFrames.decode({ meta, data });
      const header = decodeHeader(meta);
      expect(batch.scanShape).toEqual(scan_shape);
      expect(batch.frameShape).toEqual(frame_shape);
      expect(batch.dtype).toBe(dtype);
      expect([...batch.positions]).toEqual(
        positions_flat ??
          header.headers.map(
            (frame) => frame.STEM_row_in_scan * scan_shape[1] + frame.STEM_x_position_in_row,
          ),
      );
      expect(batch.scanNumber).toBe(header.scan_number);
      expect(batch.totalFrames).toBe(header.total_frames);
      expect(batch.currentBatchIndex).toBe(header.current_batch_index);
      const bytes = batch.events.BYTES_PER_ELEMENT;
      let at = 0;
      for (const [i, { data_size_bytes }] of header.headers.entries()) {
        expect(batch.offsets[i]).toBe(at);
        at += data_size_bytes / bytes;
      }
      expect(batch.offsets.at(-1)).toBe(at);
      expect(
        Buffer.from(batch.events.buffer, batch.events.byteOffset, batch.events.byteLength).equals(data),
      ).toBe(true);
    },
  );

  it.each(good)("reads $name from an object meta as from bytes", ({ meta, data }) => {
    const fromBytes = BatchedFrames.decode({ meta, data });
    const fromObject = BatchedFrames.decode({ meta: { ...decodeHeader(meta) }, data });
    for (const key of [
      "scanNumber",
      "scanShape",
      "frameShape",
      "dtype",
      "totalBatches",
      "totalFrames",
    ] as const) {
      expect(fromObject[key]).toEqual(fromBytes[key]);
    }
    expect(fromObject.positions).toEqual(fromBytes.positions);
    expect(fromObject.offsets).toEqual(fromBytes.offsets);
    expect(fromObject.events).toEqual(fromBytes.events);
  });

  it.each(bad)("refuses $name", ({ meta, data }) => {
    expect(() => BatchedFrames.decode({ meta, data })).toThrow(WireError);
  });

  it("gives events as a view of aligned data and as a copy of other data", () => {
    const { meta, data } = cases.find(({ name }) => name === "tiny-2x3")!;
    const room = new Uint8Array(data.length + 8);
    room.set(data, 4);
    const aligned = BatchedFrames.decode({ meta, data: room.subarray(4, 4 + data.length) }).events;
    expect(aligned.buffer).toBe(room.buffer);
    room.set(data, 5);
    const unaligned = BatchedFrames.decode({ meta, data: room.subarray(5, 5 + data.length) }).events;
    expect(unaligned.buffer).not.toBe(room.buffer);
    expect(Buffer.from(unaligned.buffer).equals(data)).toBe(true);
  });

  it("makes header objects when asked", () => {
    const { meta, data } = cases.find(({ name }) => name === "opt-all")!;
    const { headers } = BatchedFrames.decode({ meta, data });
    const wire = decodeHeader(meta).headers;
    expect(headers.map(({ frameNumber }) => frameNumber)).toEqual(
      wire.map(({ frame_number }) => frame_number),
    );
    expect(headers.map(({ modules }) => modules)).toEqual(wire.map(({ modules }) => modules));
    expect(headers.map(({ position }) => position)).toEqual(
      wire.map(({ STEM_row_in_scan, STEM_x_position_in_row }) => [STEM_row_in_scan, STEM_x_position_in_row]),
    );
  });
});

describe("BatchedFrames.encode", () => {
  const fields = {
    scanNumber: 7,
    scanShape: [2, 3],
    frameShape: [4, 5],
    dtype: "uint16",
    positions: Uint32Array.of(5, 0),
    offsets: Uint32Array.of(0, 3, 3),
  } as const;

  it("is read back", () => {
    const data = new Uint8Array(Uint16Array.of(19, 0, 7).buffer);
    const batch = BatchedFrames.decode(BatchedFrames.encode(fields, data));
    expect(batch.scanNumber).toBe(7);
    expect([...batch.positions]).toEqual([5, 0]);
    expect([...batch.offsets]).toEqual([0, 3, 3]);
    expect([...batch.events]).toEqual([19, 0, 7]);
    expect(batch.totalBatches).toBeNull();
  });

  it("passes the data on without a copy", () => {
    const data = new Uint8Array(6);
    expect(BatchedFrames.encode(fields, data).data).toBe(data);
  });

  it("refuses data of another length", () => {
    expect(() => BatchedFrames.encode(fields, new Uint8Array(8))).toThrow(
      /expected 6 bytes of events, got 8/,
    );
  });
});
