/**
 * Centre of mass written down from its definition, one event at a time, sharing nothing with the native code. Crops and
 * the filling of NaN follow the rules of test/golden/README.md in float32, rounding after each operation.
 */
import { decode } from "@msgpack/msgpack";
import type { MessageParts } from "../../../src/native/addon.ts";
import type { CenterOfMassPartialOptions } from "../../../src/native/kernels.ts";

interface FrameHeader {
  readonly nSTEM_positions_per_row_m1: number;
  readonly nSTEM_rows_m1: number;
  readonly STEM_x_position_in_row: number;
  readonly STEM_row_in_scan: number;
  readonly frame_shape: readonly [number, number];
  readonly data_size_bytes: number;
  readonly dtype?: keyof typeof readers;
}

const readers = {
  uint8: { bytes: 1, read: (view: DataView, at: number) => view.getUint8(at) },
  uint16: { bytes: 2, read: (view: DataView, at: number) => view.getUint16(at, true) },
  uint32: { bytes: 4, read: (view: DataView, at: number) => view.getUint32(at, true) },
  int32: { bytes: 4, read: (view: DataView, at: number) => view.getInt32(at, true) },
  float32: { bytes: 4, read: (view: DataView, at: number) => view.getFloat32(at, true) },
  float64: { bytes: 8, read: (view: DataView, at: number) => view.getFloat64(at, true) },
};

interface Event {
  readonly row: number;
  readonly column: number;
}

/** `com` is float32 (2, rows, columns), `count` uint32 (rows, columns). */
export interface OracleResult {
  readonly rows: number;
  readonly columns: number;
  readonly com: Float32Array;
  readonly count: Uint32Array;
}

export function centerOfMassOracle(
  message: MessageParts,
  options: CenterOfMassPartialOptions = {},
): OracleResult {
  const { headers } = decode(message.meta) as { headers: FrameHeader[] };
  const first = headers[0]!;
  const rows = first.nSTEM_rows_m1;
  const columns = first.nSTEM_positions_per_row_m1;
  const { bytes, read } = readers[first.dtype ?? "uint32"];
  const view = new DataView(message.data.buffer, message.data.byteOffset, message.data.byteLength);
  const events: Event[][] = Array.from({ length: rows * columns }, () => []);
  let at = 0;
  for (const header of headers) {
    const position = events[header.STEM_row_in_scan * columns + header.STEM_x_position_in_row]!;
    const end = at + header.data_size_bytes;
    for (; at < end; at += bytes) {
      const index = read(view, at);
      const column = index % header.frame_shape[1];
      position.push({ row: (index - column) / header.frame_shape[1], column });
    }
  }
  const com = new Float32Array(2 * events.length).fill(Number.NaN);
  const count = new Uint32Array(events.length);
  events.forEach((all, i) => {
    const kept = crop(all, options);
    count[i] = kept.length;
    if (kept.length === 0) return;
    com[i] = mean(kept.map(({ column }) => column));
    com[events.length + i] = mean(kept.map(({ row }) => row));
  });
  if (options.replaceNaNs === true && at > 0) {
    fillNaNs(com.subarray(0, events.length));
    fillNaNs(com.subarray(events.length));
  }
  return { rows, columns, com, count };
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

const f32 = Math.fround;

function crop(all: readonly Event[], options: CenterOfMassPartialOptions): readonly Event[] {
  const { cropTo, initCenter, cropShape } = options;
  if (cropTo === undefined) return all;
  const [cropRows, cropColumns] = cropTo;
  const centerRow = initCenter?.[0] ?? f32(mean(all.map(({ row }) => row)));
  const centerColumn = initCenter?.[1] ?? f32(mean(all.map(({ column }) => column)));
  if (cropShape === "disk") {
    return all.filter(({ row, column }) => {
      const down = f32(row - f32(centerRow));
      const right = f32(column - f32(centerColumn));
      const distance = f32(Math.sqrt(f32(f32(down * down) + f32(right * right))));
      return distance <= f32(Math.max(cropRows, cropColumns));
    });
  }
  return all.filter(
    ({ row, column }) =>
      row > f32(centerRow - cropRows) &&
      row <= f32(centerRow + cropRows) &&
      column > f32(centerColumn - cropColumns) &&
      column <= f32(centerColumn + cropColumns),
  );
}

/** NaN becomes the float32 mean of the plane; a plane without any value keeps NaN, with its sign set as x86 makes it. */
export function fillNaNs(plane: Float32Array): void {
  const values = plane.filter((value) => !Number.isNaN(value));
  if (values.length === plane.length) return;
  const filler = f32(pairwiseSum(plane.map((value) => (Number.isNaN(value) ? 0 : value))) / values.length);
  const bits = new Uint32Array(plane.buffer, plane.byteOffset, plane.length);
  plane.forEach((value, i) => {
    if (values.length === 0) bits[i] = 0xffc00000;
    else if (Number.isNaN(value)) plane[i] = filler;
  });
}

/** numpy's float32 sum: blocks of up to 128 in eight running sums, blocks added in pairs. */
function pairwiseSum(values: Float32Array): number {
  const add = (a: number, b: number) => f32(a + b);
  const n = values.length;
  if (n < 8) return values.reduce(add, 0);
  if (n <= 128) {
    const sums = [...values.subarray(0, 8)];
    const whole = n - (n % 8);
    for (let i = 8; i < whole; i++) sums[i % 8] = add(sums[i % 8]!, values[i]!);
    const [a, b, c, d, e, f, g, h] = sums as [number, number, number, number, number, number, number, number];
    const sum = add(add(add(a, b), add(c, d)), add(add(e, f), add(g, h)));
    return values.subarray(whole).reduce(add, sum);
  }
  const half = Math.floor(n / 2) - (Math.floor(n / 2) % 8);
  return add(pairwiseSum(values.subarray(0, half)), pairwiseSum(values.subarray(half)));
}
