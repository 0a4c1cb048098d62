import { decode as decodeMsgpack } from "@msgpack/msgpack";
import { WireError } from "../errors.ts";
import type { DecodedBatch, EventDtype } from "../native/addon.ts";
import { decodeBatch } from "../native/kernels.ts";
import type { MessageHeader } from "../wire/message.ts";
import { type BatchFields, encodeBatchHeader, eventBytes } from "./batch-encoder.ts";
import { batchFields, type FrameHeader, parseBatchHeader } from "./frame-header.ts";

export type Events = Uint8Array | Uint16Array | Uint32Array | Int32Array | Float32Array | Float64Array;

const eventViews: Readonly<
  Record<EventDtype, (buffer: ArrayBufferLike, at: number, length: number) => Events>
> = {
  uint8: (buffer, at, length) => new Uint8Array(buffer, at, length),
  uint16: (buffer, at, length) => new Uint16Array(buffer, at, length),
  uint32: (buffer, at, length) => new Uint32Array(buffer, at, length),
  int32: (buffer, at, length) => new Int32Array(buffer, at, length),
  float32: (buffer, at, length) => new Float32Array(buffer, at, length),
  float64: (buffer, at, length) => new Float64Array(buffer, at, length),
};

/**
 * A BatchedFrames message: many frames of one scan, each a list of flat event indices `row * columns + column`.
 *
 * It shares memory with the message it was decoded from: the message must stay as it is while this is in use.
 * Source: NERSC/interactEM, distiller_streaming/models.py, `BatchedFrames`.
 */
export class BatchedFrames {
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
  readonly totalBatches: number | bigint | null;
  readonly totalFrames: number | bigint | null;
  readonly currentBatchIndex: number | bigint | null;
  readonly #meta: MessageHeader["meta"];
  readonly #data: Uint8Array;
  #headers: readonly FrameHeader[] | undefined;
  #events: Events | undefined;

  private constructor(
    batch: Omit<DecodedBatch, "offsets">,
    offsets: Uint32Array,
    meta: MessageHeader["meta"],
    data: Uint8Array,
  ) {
    this.scanNumber = batch.scanNumber;
    this.scanShape = batch.scanShape;
    this.frameShape = batch.frameShape;
    this.dtype = batch.dtype;
    this.positions = batch.positions;
    this.offsets = offsets;
    this.totalBatches = batch.totalBatches;
    this.totalFrames = batch.totalFrames;
    this.currentBatchIndex = batch.currentBatchIndex;
    this.#meta = meta;
    this.#data = data;
  }

  /**
   * Reads a message's meta (MessagePack bytes, or the object of a message whose meta travels as JSON) and its data.
   *
   * @throws WireError if the meta is no valid batch header or the data is longer or shorter than it says.
   */
  static decode({ meta, data }: { meta: MessageHeader["meta"]; data: Uint8Array }): BatchedFrames {
    if (meta instanceof Uint8Array) {
      const batch = decodeBatch(meta, data.length);
      return new BatchedFrames(batch, batch.offsets, meta, data);
    }
    const fields = batchFields(parseBatchHeader(meta));
    checkDataLength(fields, data);
    const { totalBatches = null, totalFrames = null, currentBatchIndex = null } = fields;
    const totals = { totalBatches, totalFrames, currentBatchIndex };
    return new BatchedFrames({ ...fields, ...totals }, fields.offsets, meta, data);
  }

  /**
   * Makes a message's two byte parts.
   *
   * @param fields what the header says; not kept.
   * @param data the events of all frames, little-endian; becomes part of the message without a copy.
   * @throws WireError `STEMLINE_BATCH_FIELDS` if the fields disagree with each other or with the length of the data.
   */
  static encode(fields: BatchFields, data: Uint8Array): { meta: Uint8Array; data: Uint8Array } {
    checkDataLength(fields, data);
    return { meta: encodeBatchHeader(fields), data };
  }

  /** All events; frame `i` has those from `offsets[i]` to `offsets[i + 1]`. A view where alignment allows, else a copy. */
  get events(): Events {
    if (this.#events === undefined) {
      const bytes = eventBytes[this.dtype];
      const data = this.#data.byteOffset % bytes === 0 ? this.#data : this.#data.slice();
      this.#events = eventViews[this.dtype](data.buffer, data.byteOffset, data.byteLength / bytes);
    }
    return this.#events;
  }

  /** Header of every frame as an object, made on first use: microseconds a frame, so not for the hot path. */
  get headers(): readonly FrameHeader[] {
    if (this.#headers === undefined) {
      const meta = this.#meta;
      const value = meta instanceof Uint8Array ? decodeMsgpack(meta, { useBigInt64: true }) : meta;
      this.#headers = parseBatchHeader(value).frames;
    }
    return this.#headers;
  }
}

function checkDataLength({ offsets, dtype }: BatchFields, data: Uint8Array): void {
  const expected = (offsets.at(-1) ?? 0) * eventBytes[dtype];
  if (data.length !== expected) {
    throw new WireError(
      "STEMLINE_BATCH_FIELDS",
      `Batch of frames: expected ${expected} bytes of events, got ${data.length}`,
    );
  }
}
