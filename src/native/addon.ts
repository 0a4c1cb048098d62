import type { Bytes, ForeignBytes } from "../wire/bytes.ts";

/** Types of the addon's exports. Nothing here checks: its users do, and C++ checks once more. */

export type EventDtype = "uint8" | "uint16" | "uint32" | "int32" | "float32" | "float64";

/** The two byte parts of a message. */
export interface MessageParts {
  readonly meta: Uint8Array;
  readonly data: Uint8Array;
}

/**
 * The same as a call takes them, which keeps both alive until its promise settles; until then arrays may be neither
 * written to, nor resized, nor transferred to another thread.
 */
export interface MessageBytes {
  readonly meta: Bytes;
  readonly data: Bytes;
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

/** What calls that take a batch have in common. */
export interface BatchCallOptions {
  readonly cropX?: number;
  readonly cropY?: number;
  readonly centerX?: number;
  readonly centerY?: number;
  readonly disk?: boolean;
  readonly dropInvalidFrames?: boolean;
  readonly backend?: string;
  /** Number for `cancel`; 0 or absent for a call that is never cancelled. */
  readonly jobNumber?: number;
}

export interface PartialOptions extends BatchCallOptions {
  readonly positions?: boolean;
  readonly replaceNaNs?: boolean;
}

/** A virtual detector; one with `rows` and `columns` is a mask, any other an annulus. */
export interface NativeDetector {
  readonly name: string;
  readonly innerRadius?: number;
  readonly outerRadius?: number;
  readonly centerRow?: number;
  readonly centerColumn?: number;
  readonly rows?: number;
  readonly columns?: number;
  readonly mask?: Bytes;
}

/** What was made of a batch: a COMPartial message, perhaps with further arrays, and what went into it. `P` are its parts: `ForeignBytes` as the addon returns them. */
export interface BatchResult<P extends MessageBytes = MessageParts> {
  readonly meta: P["meta"];
  readonly data: P["data"];
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

/** A COM message: what is known of a scan so far. `P` as in `BatchResult`. */
export interface ComEmission<P extends MessageBytes = MessageParts> {
  readonly meta: P["meta"];
  readonly data: P["data"];
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
  | "no-such-device"
  | "slower"
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

/** Milliseconds for a batch of so many events, the shorter of two runs, and what such batches are computed by. */
export interface CalibrationPoint {
  readonly operation: "no-crop" | "fixed-crop" | "own-center-crop" | "analysis";
  readonly events: number;
  readonly cpuMs: number;
  /** Infinity if the device did not do it. */
  readonly cudaMs: number;
  readonly chosen: "cpu" | "cuda";
}

/** Batches that an accelerator was asked to compute; all but the first number were computed by the CPU instead. */
export interface AcceleratorFigures {
  readonly batches: number;
  /** All of the device's slots were in use. */
  readonly busy: number;
  /** They need more memory than may be used. */
  readonly tooLarge: number;
  readonly failures: number;
  /** Why the last of those failed; "" if none did. */
  readonly failure: string;
  /** It is not used any more, after that failure. */
  readonly off: boolean;
  /** Memory in use, of the device and pinned of the host, and the most of each. */
  readonly deviceBytes: number;
  readonly pinnedBytes: number;
  readonly maxBytes: number;
}

export interface NativeAccelerationReport {
  readonly mode: AccelerationSettings["mode"];
  readonly cuda: NativeCudaStatus;
  /** Index of the chosen device. */
  readonly device: number | null;
  readonly startMs: number;
  readonly calibration: readonly CalibrationPoint[];
  readonly calibrationMs: number;
  readonly figures: AcceleratorFigures | null;
}

/** What may compute batches, where the CUDA library lies, and which device it should use: by index, or by the replica's. */
export interface AccelerationSettings {
  readonly mode: "cpu" | "auto" | "cuda";
  readonly library: string;
  readonly device?: string;
  readonly replica?: number;
}

/** Parts of what the addon returns. */
export interface NativeParts {
  readonly meta: ForeignBytes;
  readonly data: ForeignBytes;
}

export interface ZmqSocketOptions {
  /** True for a pull socket, which connects; false for a push socket, which binds. */
  readonly pulls: boolean;
  /** Messages that may wait on this side of each connection. */
  readonly highWaterMark: number;
  /** Largest part that a pull socket receives; a connection that brings a larger one is closed. */
  readonly maxMessageBytes?: number;
  readonly ipv6: boolean;
}

/** What happens to sockets, in order for each; see native/zmq/pump.h. */
export type ZmqEvent =
  | readonly [socket: number, event: "received", parts: readonly Bytes[]]
  | readonly [socket: number, event: "accepted" | "disconnected", address: string]
  | readonly [
      socket: number,
      event: "sent" | "unsent" | "connected" | "retried" | "closed" | "ended",
      nothing: "",
    ];

export type ZmqListener = (...event: ZmqEvent) => void;

export interface Addon {
  accelerationReport(): NativeAccelerationReport | null;
  backends(): { name: string; supported: boolean }[];
  defaultBackend(): string;
  cancel(jobNumber: number): void;
  configureAcceleration(settings: AccelerationSettings): void;
  cudaStatus(library: string): NativeCudaStatus;
  centerOfMassPartial(meta: Bytes, data: Bytes, options: PartialOptions): Promise<BatchResult<NativeParts>>;
  decodeBatch(meta: Bytes, dataLength: number): DecodedBatch;
  ComReducer: new () => {
    add(meta: Bytes, data: Bytes, options: ReduceOptions): Promise<ComEmission<NativeParts>[]>;
    flush(options: ReduceOptions): Promise<ComEmission<NativeParts>[]>;
  };
  ScanAnalyzer: new (
    detectors: readonly NativeDetector[],
  ) => {
    analyze(meta: Bytes, data: Bytes, options: BatchCallOptions): Promise<BatchResult<NativeParts>>;
  };
  startAcceleration(): Promise<void>;
  zmqStart(listener: ZmqListener): void;
  zmqOpen(
    endpoint: string,
    options: ZmqSocketOptions,
  ): { readonly socket: number; readonly endpoint: string };
  zmqReceive(socket: number): void;
  zmqSend(socket: number, parts: readonly Bytes[]): void;
  zmqConnect(socket: number, endpoint: string): void;
  zmqClose(socket: number, options: { readonly lingerMs: number }): void;
}
