/** Types of the addon's exports. Nothing here checks; `kernels.ts` does, and C++ checks once more. */

export type EventDtype = "uint8" | "uint16" | "uint32" | "int32" | "float32" | "float64";

/** A message's two byte parts. The callee keeps both alive until its promise settles; neither may be written meanwhile. */
export interface MessageParts {
  readonly meta: Uint8Array;
  readonly data: Uint8Array;
}

export interface DecodedBatch {
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
}
