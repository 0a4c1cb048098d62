import { inspect } from "node:util";
import { ParameterError } from "../errors.ts";
import { defineLazily, heldParts, holdParts } from "../wire/bytes.ts";
import type {
  BatchCallOptions,
  BatchResult,
  ComEmission,
  DecodedBatch,
  MessageBytes,
  MessageParts,
  NativeDetector,
  NativeParts,
  ReduceOptions,
} from "./addon.ts";
import { loadAddon } from "./loader.ts";
import { typedError } from "./typed-error.ts";

/** Name and version of the form of COMPartial messages that has the positions of the batch alone; see docs/protocol.md. */
export const comPartialPositions = "stemline-com-partial-1";

/** Which events of a batch count, and what happens to invalid frames. */
export interface EventSelection {
  /** Half size of the crop in pixels, [along rows, along columns]; of a disk, the larger is the radius. Default: no crop. */
  readonly cropTo?: readonly [number, number];
  /** Centre of the crop, [row, column] in pixels. Default: each position's own centre of mass. Without `cropTo`, no effect. */
  readonly initCenter?: readonly [number, number];
  /** `box` as stempy 3.4.1 (default), `disk` as stempy 3.4.2. */
  readonly cropShape?: "box" | "disk";
  /** What to do with a frame outside the scan or with events outside the detector. Default `reject`. */
  readonly invalidFrames?: "reject" | "drop";
  /** What computes this call: `cpu`, `cuda`, or a backend of the CPU by its name. Default: as STEMLINE_BACKEND says. */
  readonly backend?: string;
  readonly signal?: AbortSignal;
}

/** How `centerOfMassPartial` selects events and writes its result. */
export interface CenterOfMassPartialOptions extends EventSelection {
  /**
   * `scan` (default): the arrays of the whole scan, which every reader of COMPartial messages takes. `positions`: those of
   * the batch alone, in the form `comPartialPositions`, for readers that accept it.
   */
  readonly form?: "scan" | "positions";
  /** Fill positions without events with the mean of the others. Default false: they are NaN. Not with `positions`. */
  readonly replaceNaNs?: boolean;
}

/** How `ComReducer` emits. */
export interface ComReducerOptions {
  /** Messages of a scan between two emissions; 0 or less: only when complete. Default 50. */
  readonly emitEvery?: number;
  /** Scans under way at a time, at least 1; a further one pushes out the oldest. Default 4. */
  readonly maxConcurrentScans?: number;
  /** Put the headers of all frames into each emission, as the peer does. Default false. */
  readonly includeHeaders?: boolean;
  /** Fill positions without value with their plane's mean, as the peer does. Default true. */
  readonly replaceNaNs?: boolean;
  readonly backend?: string;
}

/**
 * Centre of mass of each scan position of one batch, message bytes to message bytes, off the event loop.
 *
 * In: a BatchedFrames message, `meta` MessagePack and `data` the concatenated events. Out: a COMPartial message, `meta`
 * the batch header as JSON and `data` an .npz with `com`, float32 (2, rows, columns): plane 0 the mean column, plane 1
 * the mean row, detector pixels, NaN where no event counts; and `count`, uint32 (rows, columns), the events that do. With
 * `form: "positions"`, columns of the positions and frames of the batch, see docs/protocol.md.
 * The inputs are read in place: they may be neither written to nor transferred until the promise settles. The outputs
 * belong to the caller.
 *
 * Rejects with WireError (`STEMLINE_BATCH_...`, names the frame and the numbers), ParameterError, NativeError, or the
 * signal's reason. Source: the rules of stempy's sparse centre of mass, recorded in test/golden.
 */
export async function centerOfMassPartial(
  message: MessageBytes,
  options: CenterOfMassPartialOptions = {},
): Promise<BatchResult> {
  const native = {
    ...nativeSelection(options),
    positions: readChoice("form", options.form ?? "scan", ["scan", "positions"]) === "positions",
    replaceNaNs: options.replaceNaNs ?? false,
  };
  const { meta, data } = bytesOf(message);
  const addon = loadAddon();
  return lazyParts(
    await cancellable(options.signal, (number) =>
      addon.centerOfMassPartial(meta, data, { ...native, ...number }),
    ),
  );
}

/** Detector pixels from `innerRadius` on, below `outerRadius`, in pixels from the centre. */
export interface AnnulusDetector {
  /** Of its array in results: a letter, then letters, digits and underscores; at most 64. */
  readonly name: string;
  /** [row, column] in pixels. Default: the middle of the frame. */
  readonly center?: readonly [number, number];
  /** 0 or more. */
  readonly innerRadius: number;
  /** Above `innerRadius`. */
  readonly outerRadius: number;
}

/** Detector pixels of any shape. */
export interface MaskDetector {
  /** As that of an annulus. */
  readonly name: string;
  /** Not 0 for each pixel that belongs to it, row-major. Is copied. */
  readonly mask: Uint8Array;
  /** [rows, columns] of the mask, which are those of the frames. */
  readonly maskShape: readonly [number, number];
}

/** A set of detector pixels whose events are counted for each scan position. */
export type VirtualDetector = AnnulusDetector | MaskDetector;

/**
 * Analyses batches, each in one pass over its events, off the event loop; calls may overlap. What is worked out from the
 * detectors is kept from message to message.
 */
export class ScanAnalyzer {
  readonly #native;

  /** At most 32 detectors with different names. Throws ParameterError `STEMLINE_INVALID_ARGUMENT` for those that cannot be. */
  constructor(detectors: readonly VirtualDetector[]) {
    const { ScanAnalyzer: Native } = loadAddon();
    if (!Array.isArray(detectors)) refuse("detectors", "an array", detectors);
    const native = detectors.map(nativeDetector);
    try {
      this.#native = new Native(native);
    } catch (error) {
      throw typedError(error);
    }
  }

  /**
   * In: a BatchedFrames message, as `centerOfMassPartial` takes it; its frames have at most 16,777,216 pixels. Out: a
   * COMPartial message in the form of the whole scan, as `centerOfMassPartial` makes it, with further arrays: `events`,
   * uint32 (rows, columns), all events of each position; `pattern`, uint32 (frame rows, frame columns), all events of each
   * detector pixel; and one for each detector, by its name, uint32 (rows, columns). A crop is for the centre of mass alone.
   *
   * Rejects as `centerOfMassPartial`, and with WireError `STEMLINE_BATCH_DETECTOR_SHAPE` for frames that a mask does not fit.
   */
  async analyze(message: MessageBytes, options: EventSelection = {}): Promise<BatchResult> {
    const native = nativeSelection(options);
    const { meta, data } = bytesOf(message);
    return lazyParts(
      await cancellable(options.signal, (number) =>
        this.#native.analyze(meta, data, { ...native, ...number }),
      ),
    );
  }
}

/**
 * Reads a BatchedFrames header into columns. `dataLength` is the size of the message's data in bytes. Throws WireError for
 * a header that is not valid or does not fit that size, with the same rules as `centerOfMassPartial`.
 */
export function decodeBatch(meta: Uint8Array, dataLength: number): DecodedBatch {
  try {
    return loadAddon().decodeBatch(meta, dataLength);
  } catch (error) {
    throw typedError(error);
  }
}

/**
 * Joins the COMPartial messages of a scan, in either form, exactly: means are weighted by their counts. Bounded: at most
 * `maxConcurrentScans` scans are under way. Calls are worked off one after another, in the order they were made.
 */
export class ComReducer {
  readonly #native = new (loadAddon().ComReducer)();
  #last: Promise<unknown> = Promise.resolve();

  /**
   * Adds one partial result. Resolves to the COM messages that are due: scans pushed out by a newer one first, then the
   * message's own scan. Rejects with WireError for a message that is refused, which leaves the state as it was.
   */
  add(message: MessageBytes, options: ComReducerOptions = {}): Promise<ComEmission[]> {
    const { meta, data } = bytesOf(message);
    return this.#enqueue(() => this.#native.add(meta, data, nativeReduceOptions(options)));
  }

  /** Emits and forgets every scan under way, oldest first. */
  flush(options: ComReducerOptions = {}): Promise<ComEmission[]> {
    return this.#enqueue(() => this.#native.flush(nativeReduceOptions(options)));
  }

  async #enqueue(call: () => Promise<ComEmission<NativeParts>[]>): Promise<ComEmission[]> {
    const result = this.#last.then(() => settle(call));
    this.#last = result.catch(() => undefined);
    return (await result).map(lazyParts);
  }
}

/** What a kernel returned, with parts that turn to arrays when they are read. */
function lazyParts<T extends NativeParts>(result: T): Omit<T, keyof MessageParts> & MessageParts {
  const { meta, data } = result;
  defineLazily(result, "meta", meta);
  defineLazily(result, "data", data);
  return holdParts(result as unknown as Omit<T, keyof MessageParts> & MessageParts, { meta, data });
}

/** Parts as the addon takes them, without a look at those of an earlier result. */
function bytesOf(message: MessageBytes): MessageBytes {
  return (heldParts(message) as MessageBytes | undefined) ?? message;
}

function nativeSelection(options: EventSelection): BatchCallOptions {
  const [cropX, cropY] = options.cropTo === undefined ? [] : readPair("cropTo", options.cropTo);
  const [centerX, centerY] =
    options.initCenter === undefined ? [] : readPair("initCenter", options.initCenter);
  return {
    ...(cropX !== undefined && cropY !== undefined && { cropX, cropY }),
    ...(centerX !== undefined && centerY !== undefined && { centerX, centerY }),
    disk: readChoice("cropShape", options.cropShape ?? "box", ["box", "disk"]) === "disk",
    dropInvalidFrames:
      readChoice("invalidFrames", options.invalidFrames ?? "reject", ["reject", "drop"]) === "drop",
    ...(options.backend !== undefined && { backend: options.backend }),
  };
}

function nativeDetector(detector: VirtualDetector): NativeDetector {
  const { name } = detector;
  const place = `detector ${JSON.stringify(name)}`;
  if ("mask" in detector) {
    const { mask, maskShape } = detector;
    const [rows, columns] = readPair(`${place}, maskShape`, maskShape);
    if (!(mask instanceof Uint8Array)) refuse(`${place}, mask`, "a Uint8Array", mask);
    return { name, mask, rows, columns };
  }
  const { center, innerRadius, outerRadius } = detector;
  for (const [radius, value] of Object.entries({ innerRadius, outerRadius })) {
    if (!Number.isFinite(value)) refuse(`${place}, ${radius}`, "a finite number", value);
  }
  const [centerRow, centerColumn] = center === undefined ? [] : readPair(`${place}, center`, center);
  return {
    name,
    innerRadius,
    outerRadius,
    ...(centerRow !== undefined && centerColumn !== undefined && { centerRow, centerColumn }),
  };
}

/** Makes a call that ends early when `signal` is aborted, and then rejects with the signal's reason. */
async function cancellable<T>(
  signal: AbortSignal | undefined,
  call: (number: { readonly jobNumber?: number }) => Promise<T>,
): Promise<T> {
  if (signal === undefined) return settle(() => call({}));
  signal.throwIfAborted();
  const jobNumber = nextJobNumber();
  const cancel = () => loadAddon().cancel(jobNumber);
  signal.addEventListener("abort", cancel, { once: true });
  try {
    return await settle(() => call({ jobNumber }));
  } catch (error) {
    throw signal.aborted && error instanceof Error && "code" in error && error.code === "ABORT_ERR"
      ? signal.reason
      : error;
  } finally {
    signal.removeEventListener("abort", cancel);
  }
}

let lastJobNumber = 0;

function nextJobNumber(): number {
  // 0 means no number; numbers come round long after the call that had them.
  lastJobNumber = (lastJobNumber % 0xffff_ffff) + 1;
  return lastJobNumber;
}

async function settle<T>(call: () => Promise<T>): Promise<T> {
  try {
    return await call();
  } catch (error) {
    throw typedError(error);
  }
}

function nativeReduceOptions(options: ComReducerOptions): ReduceOptions {
  const { emitEvery, maxConcurrentScans, includeHeaders, replaceNaNs, backend } = options;
  return {
    ...(emitEvery !== undefined && { emitEvery: readInteger("emitEvery", emitEvery, -0x7fff_ffff) }),
    ...(maxConcurrentScans !== undefined && {
      maxConcurrentScans: readInteger("maxConcurrentScans", maxConcurrentScans, 1),
    }),
    ...(includeHeaders !== undefined && { includeHeaders }),
    ...(replaceNaNs !== undefined && { replaceNaNs }),
    ...(backend !== undefined && { backend }),
  };
}

function refuse(name: string, expected: string, got: unknown): never {
  throw new ParameterError(
    "STEMLINE_INVALID_ARGUMENT",
    `${name}: expected ${expected}, got ${typeof got === "string" ? JSON.stringify(got) : inspect(got)}`,
  );
}

function readPair(name: string, value: readonly [number, number]): readonly [number, number] {
  if (!Array.isArray(value) || value.length !== 2 || !value.every(Number.isFinite)) {
    refuse(name, "two finite numbers", value);
  }
  return value;
}

function readChoice<T extends string>(name: string, value: T, choices: readonly T[]): T {
  if (!choices.includes(value)) refuse(name, choices.map((choice) => `"${choice}"`).join(" or "), value);
  return value;
}

function readInteger(name: string, value: number, lowest: number): number {
  if (!Number.isInteger(value) || value < lowest || value > 0x7fff_ffff) {
    refuse(name, `a whole number from ${lowest} to ${0x7fff_ffff}`, value);
  }
  return value;
}
