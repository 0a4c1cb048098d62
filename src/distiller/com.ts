import { WireError } from "../errors.ts";
import { describeValue } from "../wire/json.ts";
import type { MessageHeader } from "../wire/message.ts";
import { type BatchFields, eventBytes } from "./batch-encoder.ts";
import { batchFields, parseBatchHeader, readNumber, readRecord } from "./frame-header.ts";
import { type NpzArray, type NpzMember, readNpz, writeNpz } from "./npz.ts";

interface Parts {
  readonly meta: MessageHeader["meta"];
  readonly data: Uint8Array;
}

const text = new TextDecoder("utf-8", { fatal: true });

/**
 * Centre of mass of the frames of one batch, spread over the whole scan: what center-of-mass-partial sends.
 *
 * Source: NERSC/interactEM, distiller_streaming/models.py, `COMPartial`. `count` is our addition, which the peer's
 * reader passes over.
 */
export class ComPartial {
  /** The batch that the values come from; `offsets` tells how many events each frame had before any crop. */
  readonly batch: BatchFields;
  /**
   * (2, rows, columns), row-major, detector pixels: plane 0 is the mean column, plane 1 the mean row; NaN where the batch
   * has no event.
   */
  readonly com: Float32Array;
  /** (rows, columns): events behind each value; null in a message from the Python operator. */
  readonly count: Uint32Array | null;

  /** @throws WireError `STEMLINE_COM_SHAPE` if an array does not fit the batch's scan. */
  constructor(batch: BatchFields, com: Float32Array, count: Uint32Array | null) {
    checkLength("com", com.length, 2 * countPositions(batch.scanShape));
    if (count !== null) checkLength("count", count.length, countPositions(batch.scanShape));
    this.batch = batch;
    this.com = com;
    this.count = count;
  }

  /**
   * Reads a message: the batch header as JSON bytes or object, the arrays as npz. Arrays are copies.
   *
   * @throws WireError if the header or the archive is not valid, or the arrays do not fit the scan.
   */
  static decode({ meta, data }: Parts): ComPartial {
    const batch = batchFields(parseBatchHeader(readJson(meta)));
    const arrays = readNpz(data, ["com", "count"]);
    const shape = batch.scanShape;
    const count = arrays.count === undefined ? null : readCount(arrays.count, shape);
    return new ComPartial(batch, readCom(arrays.com, shape), count);
  }

  /** Makes the message's two byte parts, byte for byte the peer's if `count` is null. */
  encode(): { meta: Uint8Array; data: Uint8Array } {
    const [rows, columns] = this.batch.scanShape;
    const com = { shape: [2, rows, columns], data: this.com };
    const count = this.count === null ? {} : { count: { shape: [rows, columns], data: this.count } };
    return { meta: encodeBatchJson(this.batch), data: writeNpz({ com, ...count }) };
  }
}

/** Counts of events, one for each scan position or each detector pixel. */
export interface Counts {
  /** [rows, columns] of scan positions or of detector pixels. */
  readonly shape: readonly [number, number];
  /** Row-major whole numbers, exact below 2^53. */
  readonly values: Float64Array;
}

/**
 * Centre of mass of a whole scan: what center-of-mass-reduce sends.
 *
 * Source: NERSC/interactEM, distiller_streaming/models.py, `COM` and `COMMeta`.
 */
export class Com {
  readonly scanNumber: number;
  /** [rows, columns] of scan positions. */
  readonly scanShape: readonly [number, number];
  /** [rows, columns] of detector pixels. */
  readonly frameShape: readonly [number, number];
  /** (2, rows, columns), row-major, detector pixels: plane 0 is the mean column, plane 1 the mean row. */
  readonly com: Float32Array;
  /** What scan-analysis counts besides, by name and in the message's order; empty in the peer's messages. */
  readonly counts: Readonly<Record<string, Counts>>;
  /** Frame headers as they are on the wire, by flat scan position; empty unless the sender was asked to include them. */
  readonly headers: Readonly<Record<string, unknown>>;

  /** @throws WireError `STEMLINE_COM_SHAPE` if an array does not fit the scan or, of counts, its shape. */
  constructor(
    fields: Pick<Com, "scanNumber" | "scanShape" | "frameShape" | "com"> &
      Partial<Pick<Com, "counts" | "headers">>,
  ) {
    checkLength("com", fields.com.length, 2 * countPositions(fields.scanShape));
    for (const [name, { shape, values }] of Object.entries(fields.counts ?? {}))
      checkLength(name, values.length, shape[0] * shape[1], "its shape");
    this.scanNumber = fields.scanNumber;
    this.scanShape = fields.scanShape;
    this.frameShape = fields.frameShape;
    this.com = fields.com;
    this.counts = fields.counts ?? {};
    this.headers = fields.headers ?? {};
  }

  /**
   * Reads a message: meta as JSON bytes or object, the arrays as npz. Arrays are copies. Counts are the arrays of unsigned
   * integers of 4 or 8 bytes that have the scan's or the frames' shape; any other array besides `com` is passed over.
   *
   * @throws WireError if the meta or the archive is not valid, or `com` does not fit the scan.
   */
  static decode({ meta, data }: Parts): Com {
    const record = readRecord(readJson(meta), "meta");
    const scanShape = readShape(record.scan_shape, "scan_shape");
    const frameShape = readShape(record.frame_shape, "frame_shape");
    const isCounts = ({ dtype, shape }: NpzMember) =>
      (dtype === "<u4" || dtype === "<u8") &&
      [scanShape, frameShape].some((expected) => shape.join() === expected.join());
    const { com, ...counts } = readNpz(data, (member) => member.name === "com" || isCounts(member));
    return new Com({
      scanNumber: readNumber(record.scan_number, "scan_number"),
      scanShape,
      frameShape,
      com: readCom(com, scanShape),
      counts: Object.fromEntries(Object.entries(counts).map(([name, array]) => [name, countsOf(array)])),
      headers: record.headers === undefined ? {} : readRecord(record.headers, "headers"),
    });
  }

  /** Makes the message's two byte parts, byte for byte the peer's if there are no counts. */
  encode(): { meta: Uint8Array; data: Uint8Array } {
    const [rows, columns] = this.scanShape;
    const counts = Object.entries(this.counts).map(([name, { shape, values }]) => {
      return [name, { shape, data: BigUint64Array.from(values, BigInt) }] as const;
    });
    const json =
      `{"scan_number":${this.scanNumber},"scan_shape":[${rows},${columns}],"frame_shape":[${this.frameShape.join(",")}],` +
      `"headers":${JSON.stringify(this.headers)}}`;
    return {
      meta: Buffer.from(json),
      data: writeNpz({ com: { shape: [2, rows, columns], data: this.com }, ...Object.fromEntries(counts) }),
    };
  }
}

/** The batch header as compact JSON, fields in the peer's order. */
function encodeBatchJson(batch: BatchFields): Uint8Array {
  const { scanNumber, scanShape, frameShape, dtype, positions, offsets, frameNumbers } = batch;
  const [rows, columns] = scanShape;
  const { modules = [0, 1, 2, 3] } = batch;
  const before = `{"scan_number":${scanNumber},"nSTEM_positions_per_row_m1":${columns},"nSTEM_rows_m1":${rows},"STEM_x_position_in_row":`;
  const between = `,"modules":[${modules.join(",")}],"frame_shape":[${frameShape.join(",")}],"data_size_bytes":`;
  let json = `{"scan_number":${scanNumber},"headers":[`;
  for (const [frame, position] of positions.entries()) {
    const lengthBytes = (offsets[frame + 1]! - offsets[frame]!) * eventBytes[dtype];
    json +=
      `${frame === 0 ? "" : ","}${before}${position % columns},"STEM_row_in_scan":${Math.floor(position / columns)}` +
      `${between}${lengthBytes},"frame_number":${frameNumbers?.[frame] ?? null},"dtype":"${dtype}"}`;
  }
  const { totalBatches = null, totalFrames = null, currentBatchIndex = null } = batch;
  json +=
    `],"batch_size_bytes":${(offsets.at(-1) ?? 0) * eventBytes[dtype]},"total_batches":${totalBatches},` +
    `"total_frames":${totalFrames},"current_batch_index":${currentBatchIndex}}`;
  return Buffer.from(json);
}

function readJson(meta: MessageHeader["meta"]): unknown {
  if (!(meta instanceof Uint8Array)) return meta;
  try {
    return JSON.parse(text.decode(meta));
  } catch (cause) {
    throw new WireError("STEMLINE_COM_META", "Centre of mass message: expected meta as JSON text in UTF-8", {
      cause,
    });
  }
}

function readShape(value: unknown, path: string): [number, number] {
  if (!Array.isArray(value) || value.length !== 2) {
    throw new WireError(
      "STEMLINE_COM_META",
      `Centre of mass message, ${path}: expected [rows, columns], got ${describeValue(value)}`,
    );
  }
  return [readNumber(value[0], `${path}[0]`), readNumber(value[1], `${path}[1]`)];
}

function readCom(array: NpzArray | undefined, [rows, columns]: readonly [number, number]): Float32Array {
  const shape = `[2, ${rows}, ${columns}]`;
  if (array === undefined) throw wrongArray("com", `an array of shape ${shape}`, "none");
  const { data } = array;
  if (array.shape.join() !== `2,${rows},${columns}`) {
    throw wrongArray("com", `shape ${shape}`, `[${array.shape.join(", ")}]`);
  }
  if (data instanceof Float32Array) return data;
  if (data instanceof Float64Array) return Float32Array.from(data);
  throw wrongArray("com", "floats", array.dtype);
}

function readCount(array: NpzArray, [rows, columns]: readonly [number, number]): Uint32Array {
  if (array.shape.join() !== `${rows},${columns}` || !(array.data instanceof Uint32Array)) {
    throw wrongArray(
      "count",
      `<u4 of shape [${rows}, ${columns}]`,
      `${array.dtype} of shape [${array.shape.join(", ")}]`,
    );
  }
  return array.data;
}

function countsOf({ shape: [rows = 0, columns = 0], data }: NpzArray): Counts {
  if (!(data instanceof BigUint64Array)) {
    return { shape: [rows, columns], values: new Float64Array(data as Uint32Array) };
  }
  // In halves: a million bigints would take a tenth of a second.
  const halves = new Uint32Array(data.buffer, data.byteOffset, 2 * data.length);
  const values = new Float64Array(data.length);
  for (let i = 0; i < values.length; i++) values[i] = halves[2 * i]! + halves[2 * i + 1]! * 2 ** 32;
  return { shape: [rows, columns], values };
}

function countPositions([rows, columns]: readonly [number, number]): number {
  return rows * columns;
}

function checkLength(name: string, length: number, expected: number, what = "the scan"): void {
  if (length !== expected) throw wrongArray(name, `${expected} values for ${what}`, String(length));
}

function wrongArray(name: string, expected: string, got: string): WireError {
  return new WireError(
    "STEMLINE_COM_SHAPE",
    `Centre of mass message, array ${name}: expected ${expected}, got ${got}`,
  );
}
