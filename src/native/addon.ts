/** Types of the addon's exports. Nothing here checks: `kernels.ts` does, and C++ checks once more. */

export type EventDtype = "uint8" | "uint16" | "uint32" | "int32" | "float32" | "float64";

/**
 * The two byte parts of a message. A call that takes them keeps both alive until its promise settles; until then they
 * may be neither written to, nor resized, nor transferred to another thread.
 */
export interface MessageParts {
  readonly meta: Uint8Array;
  readonly data: Uint8Array;
}

/** A BatchedFrames header as columns. */
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

export interface PartialOptions {
  readonly cropX?: number;
  readonly cropY?: number;
  readonly centerX?: number;
  readonly centerY?: number;
  readonly disk?: boolean;
  readonly positions?: boolean;
  readonly replaceNaNs?: boolean;
  readonly dropInvalidFrames?: boolean;
  readonly backend?: string;
  /** Number for `cancel`; 0 or absent for a call that is never cancelled. */
  readonly jobNumber?: number;
}

/** A COMPartial message and what went into it. */
export interface PartialResult extends MessageParts {
  /** Frames in the message, dropped ones included. */
  readonly frames: number;
  /** Events of the frames that were used. */
  readonly events: number;
  /** Frames left out under `invalidFrames: "drop"`. */
  readonly droppedFrames: number;
  /** Why the first of them was left out; "" if there is none. */
  readonly droppedReason: string;
  /** Backend that did the arithmetic. */
  readonly backend: string;
}

export interface ReduceOptions {
  readonly emitEvery?: number;
  readonly maxConcurrentScans?: number;
  readonly includeHeaders?: boolean;
  readonly replaceNaNs?: boolean;
  readonly backend?: string;
}

/** A COM message: what is known of a scan so far. */
export interface ComEmission extends MessageParts {
  readonly scanNumber: number | bigint;
  /** Messages and frames of this scan so far. */
  readonly messages: number;
  readonly frames: number;
  readonly positionsSeen: number;
  readonly positions: number;
  /** Every position was seen: the scan's state is gone. */
  readonly complete: boolean;
  /** A newer scan took its place before it was complete: the scan's state is gone. */
  readonly evicted: boolean;
}

/** Why no GPU can be used. */
export type CudaReason =
  | "library-missing"
  | "library-unusable"
  | "symbol-missing"
  | "wrong-version"
  | "driver-missing"
  | "driver-too-old"
  | "no-device"
  | "failed";

export interface CudaDevice {
  readonly name: string;
  /** domain:bus:device.function */
  readonly pciBusId: string;
  /** [major, minor] */
  readonly computeCapability: readonly [number, number];
  readonly memoryBytes: number;
}

/** What the CUDA library says. Versions of CUDA are 1000 * major + 10 * minor, 0 where unknown. */
export interface NativeCudaStatus {
  readonly library: string;
  /** null if there is a device. */
  readonly reason: CudaReason | null;
  /** Begins with the library's path; "" if there is a device. */
  readonly message: string;
  readonly driverVersion: number;
  readonly runtimeVersion: number;
  readonly devices: readonly CudaDevice[];
}

export interface Addon {
  backends(): { name: string; supported: boolean }[];
  defaultBackend(): string;
  cancel(jobNumber: number): void;
  cudaStatus(library: string): NativeCudaStatus;
  centerOfMassPartial(meta: Uint8Array, data: Uint8Array, options: PartialOptions): Promise<PartialResult>;
  decodeBatch(meta: Uint8Array, dataLength: number): DecodedBatch;
  ComReducer: new () => {
    add(meta: Uint8Array, data: Uint8Array, options: ReduceOptions): Promise<ComEmission[]>;
    flush(options: ReduceOptions): Promise<ComEmission[]>;
  };
}
