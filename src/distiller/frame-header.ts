import { WireError } from "../errors.ts";
import type { EventDtype } from "../native/addon.ts";
import { describeValue, isRecord } from "../wire/json.ts";
import { type BatchFields, eventBytes } from "./batch-encoder.ts";

/** Header of one frame, as an object. Only for looking at single frames: a batch has tens of thousands. */
export interface FrameHeader {
  readonly scanNumber: number | bigint;
  /** [rows, columns] of scan positions. */
  readonly scanShape: readonly [number, number];
  /** [row, column] in the scan. */
  readonly position: readonly [number, number];
  /** Detector modules that took part. */
  readonly modules: readonly number[];
  /** [rows, columns] of detector pixels. */
  readonly frameShape: readonly [number, number];
  /** Bytes of the frame's events in the message data. */
  readonly lengthBytes: number;
  readonly frameNumber: number | bigint | null;
  readonly dtype: EventDtype;
}

/** Header of a batch as the peer's model holds it. */
export interface BatchHeader {
  readonly scanNumber: number | bigint;
  readonly frames: readonly FrameHeader[];
  readonly totalBatches: number | bigint | null;
  readonly totalFrames: number | bigint | null;
  readonly currentBatchIndex: number | bigint | null;
}

/**
 * Checks a batch header that was parsed from JSON or MessagePack: the same fields are required, and the same values
 * refused, as by the peer's model. Numbers beyond 2^53 must come as bigint.
 *
 * @throws WireError `STEMLINE_BATCH_HEADER` with the path of the first wrong field.
 * Source: NERSC/interactEM, distiller_streaming/models.py; test/golden/msgpack/decode.json.
 */
export function parseBatchHeader(value: unknown): BatchHeader {
  const record = readRecord(value, "header");
  if (!Array.isArray(record.headers)) throw invalid("headers", "a list", record.headers);
  const frames = record.headers.map((frame: unknown, i) => parseFrameHeader(frame, `headers[${i}]`));
  const [first] = frames;
  if (first === undefined) throw invalid("headers", "at least one frame", record.headers);
  for (const [i, frame] of frames.entries()) {
    if (frame.scanNumber !== first.scanNumber) {
      throw invalid(
        `headers[${i}].scan_number`,
        `${first.scanNumber} as in the first frame`,
        frame.scanNumber,
      );
    }
  }
  const totalBytes = frames.reduce((sum, frame) => sum + frame.lengthBytes, 0);
  const batchBytes = readNumber(record.batch_size_bytes, "batch_size_bytes");
  if (batchBytes !== totalBytes)
    throw invalid("batch_size_bytes", `${totalBytes}, the sum of the frames`, batchBytes);
  return {
    scanNumber: readInteger(record.scan_number, "scan_number"),
    frames,
    totalBatches: readOptional(record.total_batches, "total_batches"),
    totalFrames: readOptional(record.total_frames, "total_frames"),
    currentBatchIndex: readOptional(record.current_batch_index, "current_batch_index"),
  };
}

/**
 * Lays a batch header out as typed arrays. Modules are those of the first frame; frame numbers are kept if every frame
 * has one.
 *
 * @throws WireError `STEMLINE_BATCH_HEADER` if frames differ in shape or type, lie outside the scan, or hold part of an
 *   event: such a batch has no single shape, and nothing is guessed.
 */
export function batchFields(header: BatchHeader): BatchFields {
  const { frames } = header;
  const first = frames[0]!;
  const { scanShape, frameShape, dtype, modules } = first;
  const positions = new Uint32Array(frames.length);
  const offsets = new Uint32Array(frames.length + 1);
  const frameNumbers = new Uint32Array(frames.length);
  for (const [i, frame] of frames.entries()) {
    const path = `headers[${i}]`;
    checkSame(`${path}.frame_shape`, frameShape.join(" x "), frame.frameShape.join(" x "));
    checkSame(`${path}: scan shape`, scanShape.join(" x "), frame.scanShape.join(" x "));
    checkSame(`${path}.dtype`, dtype, frame.dtype);
    const [row, column] = frame.position;
    if (row < 0 || row >= scanShape[0] || column < 0 || column >= scanShape[1]) {
      throw invalid(path, `a position in the ${scanShape.join(" x ")} scan`, `(${row}, ${column})`);
    }
    positions[i] = row * scanShape[1] + column;
    const events = frame.lengthBytes / eventBytes[dtype];
    if (!Number.isInteger(events) || events < 0) {
      throw invalid(`${path}.data_size_bytes`, `a multiple of ${eventBytes[dtype]}`, frame.lengthBytes);
    }
    const next = offsets[i]! + events;
    if (next > 0xffffffff) throw invalid(path, "fewer than 2^32 events in the batch", next);
    offsets[i + 1] = next;
    frameNumbers[i] = Number(frame.frameNumber ?? 0);
  }
  const numbered = frames.every(
    ({ frameNumber }, i) => frameNumber !== null && frameNumber === frameNumbers[i],
  );
  return {
    scanNumber: header.scanNumber,
    scanShape,
    frameShape,
    dtype,
    positions,
    offsets,
    modules,
    ...(numbered ? { frameNumbers } : {}),
    totalBatches: header.totalBatches,
    totalFrames: header.totalFrames,
    currentBatchIndex: header.currentBatchIndex,
  };
}

function parseFrameHeader(value: unknown, path: string): FrameHeader {
  const record = readRecord(value, path);
  const number = (key: string) => readNumber(record[key], `${path}.${key}`);
  const { modules, frame_shape: frameShape, dtype = "uint32" } = record;
  if (!Array.isArray(modules)) throw invalid(`${path}.modules`, "a list", modules);
  if (!Array.isArray(frameShape) || frameShape.length !== 2) {
    throw invalid(`${path}.frame_shape`, "[rows, columns]", frameShape);
  }
  if (!isEventDtype(dtype)) {
    throw invalid(`${path}.dtype`, `one of ${Object.keys(eventBytes).join(", ")}`, dtype);
  }
  return {
    scanNumber: readInteger(record.scan_number, `${path}.scan_number`),
    scanShape: [number("nSTEM_rows_m1"), number("nSTEM_positions_per_row_m1")],
    position: [number("STEM_row_in_scan"), number("STEM_x_position_in_row")],
    modules: modules.map((module, i) => readNumber(module, `${path}.modules[${i}]`)),
    frameShape: [
      readNumber(frameShape[0], `${path}.frame_shape[0]`),
      readNumber(frameShape[1], `${path}.frame_shape[1]`),
    ],
    lengthBytes: number("data_size_bytes"),
    frameNumber: readOptional(record.frame_number, `${path}.frame_number`),
    dtype,
  };
}

function isEventDtype(value: unknown): value is EventDtype {
  return typeof value === "string" && Object.hasOwn(eventBytes, value);
}

/** Object of a JSON or MessagePack document. */
export function readRecord(value: unknown, path: string): Readonly<Record<string, unknown>> {
  if (!isRecord(value)) throw invalid(path, "an object", value);
  return value;
}

/** Integer of any size; small ones come as number whatever the decoder made of them. */
export function readInteger(value: unknown, path: string): number | bigint {
  if (typeof value === "bigint") {
    return BigInt(Number.MIN_SAFE_INTEGER) <= value && value <= BigInt(Number.MAX_SAFE_INTEGER)
      ? Number(value)
      : value;
  }
  if (Number.isSafeInteger(value)) return value as number;
  throw invalid(path, "an integer", value);
}

/** Integer below 2^53, as sizes and positions are. */
export function readNumber(value: unknown, path: string): number {
  const integer = readInteger(value, path);
  if (typeof integer === "bigint") throw invalid(path, "an integer below 2^53", integer);
  return integer;
}

function readOptional(value: unknown, path: string): number | bigint | null {
  return value === null || value === undefined ? null : readInteger(value, path);
}

function checkSame(path: string, first: string, value: string): void {
  if (value !== first) throw invalid(path, `${first} as in the first frame`, value);
}

function invalid(path: string, expected: string, value: unknown): WireError {
  return new WireError(
    "STEMLINE_BATCH_HEADER",
    `Batch header, ${path}: expected ${expected}, got ${describeValue(value)}`,
  );
}
