import { StemlineError, WireError } from "../errors.ts";
import type { ComEmission, MessageBytes } from "../native/addon.ts";
import { type ComReducerOptions, ComReducer as NativeComReducer } from "../native/kernels.ts";
import { viewOf } from "../wire/bytes.ts";
import { type NpzArray, type NpzData, type NpzMember, readNpz, writeNpz } from "./npz.ts";

/**
 * Joins the COMPartial messages of a scan, exactly: means are weighted by their counts of events, or without those by
 * frames that held events. Bounded: at most `maxConcurrentScans` scans are under way. Calls are worked off one after
 * another, in the order they were made.
 *
 * In: COMPartial messages, of either form as they come, with the same result. Those of the whole scan: `meta` the batch
 * header as JSON and `data` an .npz with `com`, float (2, rows, columns), plane 0 the mean column and plane 1 the mean row
 * in detector pixels; and perhaps `count`, whole numbers (rows, columns). Any .npz that numpy reads will do; the layout
 * that numpy and we write ourselves is read in place by native code, another one is brought into it first. Those of the
 * form `comPartialPositions`: docs/protocol.md. Inputs may be neither written to nor transferred until the promise settles.
 * Counts that messages have besides, as those of `ScanAnalyzer`, are added up: every uint32 array of the scan's or the
 * frames' shape, of which all messages of a scan have the same. Out: COM messages, `meta` JSON and `data` an .npz with `com`,
 * float32, and those sums, uint64; both belong to the caller.
 */
export class ComReducer {
  readonly #native = new NativeComReducer();
  #last: Promise<unknown> = Promise.resolve();

  /**
   * Adds one partial result. Resolves to the COM messages that are due: scans pushed out by a newer one first, then the
   * message's own scan. Rejects with WireError (`STEMLINE_BATCH_...`, `STEMLINE_NPZ_INVALID`, `STEMLINE_SCAN_CHANGED`) for
   * a message that is refused, which leaves the state as it was, and with ParameterError for an option out of range.
   */
  add(message: MessageBytes, options: ComReducerOptions = {}): Promise<ComEmission[]> {
    return this.#enqueue(() => this.#add(message, options));
  }

  /** Emits and forgets every scan under way, oldest first. */
  flush(options: ComReducerOptions = {}): Promise<ComEmission[]> {
    return this.#enqueue(() => this.#native.flush(options));
  }

  async #add(message: MessageBytes, options: ComReducerOptions): Promise<ComEmission[]> {
    try {
      return await this.#native.add(message, options);
    } catch (error) {
      if (!(error instanceof StemlineError) || error.code !== "STEMLINE_NPZ_LAYOUT") throw error;
      return await this.#native.add(
        { meta: message.meta, data: toNativeLayout(viewOf(message.data)) },
        options,
      );
    }
  }

  // The second attempt at a message must come before the first one at the next.
  #enqueue(call: () => Promise<ComEmission[]>): Promise<ComEmission[]> {
    const result = this.#last.then(call);
    this.#last = result.catch(() => undefined);
    return result;
  }
}

/** The arrays of a partial result as native code reads them: stored in C order, `com` float32 and `count` uint32. */
function toNativeLayout(archive: Uint8Array): Uint8Array {
  const isCount = ({ name, dtype }: NpzMember) => name === "com" || name === "count" || dtype === "<u4";
  const { com, count, ...others } = readNpz(archive, isCount);
  return writeNpz({
    ...(com !== undefined && { com: { shape: com.shape, data: Float32Array.from(numbersOf(com)) } }),
    ...(count !== undefined && { count: { shape: count.shape, data: countsOf(count) } }),
    ...others,
  });
}

function countsOf(array: NpzArray): Uint32Array {
  const counts = Uint32Array.from(numbersOf(array));
  const index = numbersOf(array).findIndex((value, i) => counts[i] !== value);
  if (index >= 0) {
    throw new WireError(
      "STEMLINE_NPZ_INVALID",
      `array "count": expected whole numbers from 0 to ${0xffff_ffff}, got ${array.data[index]} at index ${index}`,
    );
  }
  return counts;
}

type NumberData = Exclude<NpzData, BigInt64Array | BigUint64Array>;

function numbersOf({ data }: NpzArray): NumberData {
  return data instanceof BigInt64Array || data instanceof BigUint64Array
    ? Float64Array.from(data, Number)
    : data;
}
