import { decode } from "@msgpack/msgpack";
import { describe, expect, it } from "vitest";
import { batchFields, parseBatchHeader } from "../../../src/distiller/frame-header.ts";
import { WireError } from "../../../src/errors.ts";
import { goldenJson, type WireBatch } from "./helpers.ts";

interface DecodeCase {
  readonly name: string;
  readonly msgpack_hex: string;
  readonly dict: { readonly ok: boolean; readonly value?: WireBatch };
}

/** JavaScript has one kind of number: 0.0 of a float is 0 of an integer once it is decoded. */
const invisible = new Set(["float-int-valued", "modules-floats"]);

const cases = goldenJson<DecodeCase[]>("msgpack/decode.json").filter(({ name }) => !invisible.has(name));
const base = cases.find(({ name }) => name === "base")!.dict.value!;

describe("parseBatchHeader", () => {
  it.each(cases.filter(({ dict }) => dict.ok))("takes $name as the peer does", ({ msgpack_hex, dict }) => {
    const header = parseBatchHeader(decode(Buffer.from(msgpack_hex, "hex"), { useBigInt64: true }));
    const value = dict.value!;
    expect(Number(header.scanNumber)).toBe(value.scan_number);
    const [first] = header.frames;
    expect(first?.frameNumber === null ? null : Number(first?.frameNumber)).toBe(
      value.headers[0]?.frame_number,
    );
    expect(header.totalFrames).toBe(value.total_frames);
    expect(header.frames).toHaveLength(value.headers.length);
    for (const [i, frame] of value.headers.entries()) {
      expect(header.frames[i]).toMatchObject({
        scanShape: [frame.nSTEM_rows_m1, frame.nSTEM_positions_per_row_m1],
        position: [frame.STEM_row_in_scan, frame.STEM_x_position_in_row],
        modules: frame.modules,
        frameShape: frame.frame_shape,
        lengthBytes: frame.data_size_bytes,
        dtype: frame.dtype,
      });
    }
  });

  it.each(cases.filter(({ dict }) => !dict.ok))("refuses $name as the peer does", ({ msgpack_hex }) => {
    expect(() => parseBatchHeader(decode(Buffer.from(msgpack_hex, "hex")))).toThrow(WireError);
  });

  it("names the field, what was expected and what came", () => {
    const headers = [{ ...base.headers[0], frame_shape: "4x4" }];
    expect(() => parseBatchHeader({ ...base, headers })).toThrow(
      'Batch header, headers[0].frame_shape: expected [rows, columns], got "4x4"',
    );
  });
});

describe("batchFields", () => {
  const frame = base.headers[0]!;

  it("lays frames out row-major", () => {
    const second = { ...frame, STEM_row_in_scan: 1, STEM_x_position_in_row: 2, data_size_bytes: 12 };
    const { positions, offsets, scanShape } = batchFields(
      parseBatchHeader({ ...base, headers: [frame, second], batch_size_bytes: 20 }),
    );
    expect(scanShape).toEqual([2, 3]);
    expect([...positions]).toEqual([1, 5]);
    expect([...offsets]).toEqual([0, 2, 5]);
  });

  it.each([
    ["another frame shape", { frame_shape: [4, 5] }],
    ["another scan shape", { nSTEM_rows_m1: 3 }],
    ["another type", { dtype: "int32" }],
    ["a column outside the scan", { STEM_x_position_in_row: 3 }],
    ["a negative row", { STEM_row_in_scan: -1 }],
    ["part of an event", { data_size_bytes: 6 }],
    ["a negative size", { data_size_bytes: -4 }],
  ])("refuses a second frame with %s", (_, change) => {
    const second = { ...frame, ...change };
    const batch_size_bytes = frame.data_size_bytes + second.data_size_bytes;
    const header = parseBatchHeader({ ...base, headers: [frame, second], batch_size_bytes });
    expect(() => batchFields(header)).toThrow(/headers\[1\]/);
  });
});
