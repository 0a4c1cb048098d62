import { WireError } from "../errors.ts";
import type { EventDtype } from "../native/addon.ts";

/** What the header of a BatchedFrames message says, as typed arrays: no object per frame. */
export interface BatchFields {
  readonly scanNumber: number | bigint;
  /** [rows, columns] of scan positions. */
  readonly scanShape: readonly [number, number];
  /** [rows, columns] of detector pixels. */
  readonly frameShape: readonly [number, number];
  readonly dtype: EventDtype;
  /** Row-major scan position of each frame. */
  readonly positions: Uint32Array;
  /** First event of each frame, counted in events; one more entry than frames, the last is the number of events. */
  readonly offsets: Uint32Array;
  /** Detector modules that took part in every frame; `[0, 1, 2, 3]` if not given. */
  readonly modules?: readonly number[];
  /** Running number of each frame; the field is null if not given. */
  readonly frameNumbers?: Uint32Array;
  readonly totalBatches?: number | bigint | null;
  readonly totalFrames?: number | bigint | null;
  readonly currentBatchIndex?: number | bigint | null;
}

/** Bytes of one event. */
export const eventBytes: Readonly<Record<EventDtype, number>> = {
  uint8: 1,
  uint16: 2,
  uint32: 4,
  int32: 4,
  float32: 4,
  float64: 8,
};

const allModules: readonly number[] = [0, 1, 2, 3];
/** Longest MessagePack integer, and longest list header. */
const longestInteger = 9;

/**
 * Writes the header of a BatchedFrames message as MessagePack: fields in the peer's order, integers in their shortest
 * form, absent optionals nil.
 *
 * Frames differ only in their position, size and number, so a frame's bytes are copied from a template, one per
 * combination of integer widths, and only those integers are written.
 *
 * @returns a new buffer that the caller owns; `fields` is not kept.
 * @throws WireError `STEMLINE_BATCH_FIELDS` if there is no frame, the arrays' lengths disagree, a position lies outside
 *   the scan or offsets decrease.
 * Source: NERSC/interactEM, distiller_streaming/models.py, `BatchedFrameHeader`; test/golden/msgpack/encode.json.
 */
export function encodeBatchHeader(fields: BatchFields): Uint8Array {
  checkFields(fields);
  const { positions, offsets, frameNumbers, scanShape } = fields;
  const columns = scanShape[1];
  const itemBytes = eventBytes[fields.dtype];
  const templates = new FrameTemplates(fields);
  const frames = positions.length;
  const prefixBytes = 64;
  const suffixBytes = 128;
  const out = Buffer.allocUnsafeSlow(prefixBytes + frames * templates.longestFrameBytes + suffixBytes);

  let at = writeMapHeader(out, 0, 6);
  at = writeString(out, at, "scan_number");
  at = writeInteger(out, at, fields.scanNumber);
  at = writeString(out, at, "headers");
  at = writeArrayHeader(out, at, frames);
  for (let frame = 0; frame < frames; frame++) {
    const position = positions[frame]!;
    const row = Math.floor(position / columns);
    const column = position - row * columns;
    const lengthBytes = (offsets[frame + 1]! - offsets[frame]!) * itemBytes;
    const number = frameNumbers?.[frame] ?? 0;
    const template = templates.find(column, row, lengthBytes, number);
    out.set(template.bytes, at);
    patchInteger(out, at + template.columnAt, column);
    patchInteger(out, at + template.rowAt, row);
    patchInteger(out, at + template.lengthAt, lengthBytes);
    if (frameNumbers !== undefined) patchInteger(out, at + template.numberAt, number);
    at += template.bytes.length;
  }
  at = writeString(out, at, "batch_size_bytes");
  at = writeInteger(out, at, offsets[frames]! * itemBytes);
  at = writeString(out, at, "total_batches");
  at = writeOptional(out, at, fields.totalBatches);
  at = writeString(out, at, "total_frames");
  at = writeOptional(out, at, fields.totalFrames);
  at = writeString(out, at, "current_batch_index");
  at = writeOptional(out, at, fields.currentBatchIndex);
  return out.subarray(0, at);
}

interface FrameTemplate {
  readonly bytes: Uint8Array;
  /** Where the integers that vary start. */
  readonly columnAt: number;
  readonly rowAt: number;
  readonly lengthAt: number;
  readonly numberAt: number;
}

class FrameTemplates {
  readonly longestFrameBytes: number;
  readonly #fields: BatchFields;
  readonly #templates: (FrameTemplate | undefined)[] = [];

  constructor(fields: BatchFields) {
    this.#fields = fields;
    this.longestFrameBytes = this.#make(
      0xffffffff,
      0xffffffff,
      Number.MAX_SAFE_INTEGER,
      0xffffffff,
    ).bytes.length;
  }

  /** Template whose integers have the widths of these. */
  find(column: number, row: number, lengthBytes: number, number: number): FrameTemplate {
    const key =
      widthCode(column) | (widthCode(row) << 3) | (widthCode(lengthBytes) << 6) | (widthCode(number) << 9);
    let template = this.#templates[key];
    if (template === undefined) {
      template = this.#make(column, row, lengthBytes, number);
      this.#templates[key] = template;
    }
    return template;
  }

  #make(column: number, row: number, lengthBytes: number, number: number): FrameTemplate {
    const { scanNumber, scanShape, frameShape, dtype, modules = allModules, frameNumbers } = this.#fields;
    const out = Buffer.alloc(256 + modules.length * longestInteger);
    let at = writeMapHeader(out, 0, 10);
    at = writeString(out, at, "scan_number");
    at = writeInteger(out, at, scanNumber);
    at = writeString(out, at, "nSTEM_positions_per_row_m1");
    at = writeInteger(out, at, scanShape[1]);
    at = writeString(out, at, "nSTEM_rows_m1");
    at = writeInteger(out, at, scanShape[0]);
    const columnAt = writeString(out, at, "STEM_x_position_in_row");
    at = writeInteger(out, columnAt, column);
    const rowAt = writeString(out, at, "STEM_row_in_scan");
    at = writeInteger(out, rowAt, row);
    at = writeString(out, at, "modules");
    at = writeArrayHeader(out, at, modules.length);
    for (const module of modules) at = writeInteger(out, at, module);
    at = writeString(out, at, "frame_shape");
    at = writeArrayHeader(out, at, 2);
    at = writeInteger(out, at, frameShape[0]);
    at = writeInteger(out, at, frameShape[1]);
    const lengthAt = writeString(out, at, "data_size_bytes");
    at = writeInteger(out, lengthAt, lengthBytes);
    const numberAt = writeString(out, at, "frame_number");
    at = writeOptional(out, numberAt, frameNumbers === undefined ? null : number);
    at = writeString(out, at, "dtype");
    at = writeString(out, at, dtype);
    return { bytes: out.subarray(0, at), columnAt, rowAt, lengthAt, numberAt };
  }
}

function checkFields({ positions, offsets, frameNumbers, scanShape }: BatchFields): void {
  const frames = positions.length;
  if (frames === 0) throw invalid("expected at least one frame, got none");
  if (offsets.length !== frames + 1 || offsets[0] !== 0) {
    throw invalid(
      `expected ${frames + 1} offsets starting with 0 for ${frames} frames, got ${offsets.length} starting with ${offsets[0]}`,
    );
  }
  if (frameNumbers !== undefined && frameNumbers.length !== frames) {
    throw invalid(`expected ${frames} frame numbers, got ${frameNumbers.length}`);
  }
  const scanPositions = scanShape[0] * scanShape[1];
  for (let frame = 0; frame < frames; frame++) {
    if (positions[frame]! >= scanPositions) {
      throw invalid(
        `frame ${frame}: expected a scan position below ${scanPositions}, got ${positions[frame]}`,
      );
    }
    if (offsets[frame + 1]! < offsets[frame]!) {
      throw invalid(
        `frame ${frame}: expected offsets that do not decrease, got ${offsets[frame]} then ${offsets[frame + 1]}`,
      );
    }
  }
}

function invalid(problem: string): WireError {
  return new WireError("STEMLINE_BATCH_FIELDS", `Batch of frames: ${problem}`);
}

/** 0 for one byte, then the byte count of the value behind its marker: what decides a frame's layout. */
function widthCode(value: number): number {
  if (value < 0x80) return 0;
  if (value < 0x100) return 1;
  if (value < 0x10000) return 2;
  return value < 0x100000000 ? 3 : 4;
}

/** Writes over an integer of the same width; its marker is there already. */
function patchInteger(out: Buffer, at: number, value: number): void {
  if (value < 0x80) {
    out[at] = value;
  } else if (value < 0x100) {
    out[at + 1] = value;
  } else if (value < 0x10000) {
    out[at + 1] = value >>> 8;
    out[at + 2] = value;
  } else {
    writeInteger(out, at, value);
  }
}

function writeMapHeader(out: Buffer, at: number, entries: number): number {
  return out.writeUInt8(0x80 | entries, at);
}

function writeArrayHeader(out: Buffer, at: number, length: number): number {
  if (length < 16) return out.writeUInt8(0x90 | length, at);
  if (length < 0x10000) return out.writeUInt16BE(length, out.writeUInt8(0xdc, at));
  return out.writeUInt32BE(length, out.writeUInt8(0xdd, at));
}

function writeString(out: Buffer, at: number, text: string): number {
  const start = out.writeUInt8(0xa0 | text.length, at);
  return start + out.write(text, start, "latin1");
}

function writeOptional(out: Buffer, at: number, value: number | bigint | null | undefined): number {
  return value === null || value === undefined ? out.writeUInt8(0xc0, at) : writeInteger(out, at, value);
}

function writeInteger(out: Buffer, at: number, value: number | bigint): number {
  if (value < 0) {
    if (value >= -32) return out.writeInt8(Number(value), at);
    if (value >= -0x80) return out.writeInt8(Number(value), out.writeUInt8(0xd0, at));
    if (value >= -0x8000) return out.writeInt16BE(Number(value), out.writeUInt8(0xd1, at));
    if (value >= -0x80000000) return out.writeInt32BE(Number(value), out.writeUInt8(0xd2, at));
    return out.writeBigInt64BE(BigInt(value), out.writeUInt8(0xd3, at));
  }
  if (value < 0x80) return out.writeUInt8(Number(value), at);
  if (value < 0x100) return out.writeUInt8(Number(value), out.writeUInt8(0xcc, at));
  if (value < 0x10000) return out.writeUInt16BE(Number(value), out.writeUInt8(0xcd, at));
  if (value < 0x100000000) return out.writeUInt32BE(Number(value), out.writeUInt8(0xce, at));
  return out.writeBigUInt64BE(BigInt(value), out.writeUInt8(0xcf, at));
}
