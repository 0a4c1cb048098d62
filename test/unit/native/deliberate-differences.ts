/**
 * Every recorded case in which we do something else than the Python peer, on purpose. A recorded case that differs and
 * is not listed fails its test, and so does a row that is no longer a difference. Each row is documented in
 * docs/protocol.md, by its key.
 */
export interface Difference {
  /** What we answer: `result` for one that the test checks against its own oracle, else the code of the error. */
  readonly ours: "result" | `STEMLINE_${string}`;
  readonly reason: string;
}

type Differences = Readonly<Record<string, Difference>>;

const rowsAreNotFrameRows =
  "the peer divides by the number of rows where it should divide by the number of columns";
const outsideDetector = "an event outside the detector is an error of its sender; the peer makes a row of it";
const mixed = "the peer reads all frames with the first one's field";
const floatShift = "the peer cannot shift floats; whole numbers are indices in any type";
const narrowType = "the peer cannot hold the frame side in the events' type; the indices themselves fit";

/** test/golden/batches, by folder. */
export const batchDifferences: Differences = {
  "nonsq-576x288": { ours: "result", reason: rowsAreNotFrameRows },
  "nonsq-288x576": { ours: "result", reason: rowsAreNotFrameRows },
  "nonsq-64x32": { ours: "result", reason: rowsAreNotFrameRows },
  "nonsq-32x64": { ours: "result", reason: rowsAreNotFrameRows },
  "nonsq-96x128": { ours: "result", reason: rowsAreNotFrameRows },
  "nonsq-128x96": { ours: "result", reason: rowsAreNotFrameRows },
  "events-beyond-frame": { ours: "STEMLINE_BATCH_EVENT_INDEX", reason: outsideDetector },
  "events-beyond-frame-nonpow2": { ours: "STEMLINE_BATCH_EVENT_INDEX", reason: outsideDetector },
  "dtype-int32-negative": { ours: "STEMLINE_BATCH_EVENT_INDEX", reason: outsideDetector },
  "dtype-int32-negative-pow2": { ours: "STEMLINE_BATCH_EVENT_INDEX", reason: outsideDetector },
  "dtype-mixed-first-uint32": { ours: "STEMLINE_BATCH_MIXED", reason: mixed },
  "dtype-mixed-first-uint8": { ours: "STEMLINE_BATCH_MIXED", reason: mixed },
  "odd-frame-shape-differs": { ours: "STEMLINE_BATCH_MIXED", reason: mixed },
  "position-col-wraps": {
    ours: "STEMLINE_BATCH_SCAN_POSITION",
    reason: "the peer takes a column past the row's end for one of the next row",
  },
  "dtype-float32-pow2": { ours: "result", reason: floatShift },
  "dtype-float64-pow2": { ours: "result", reason: floatShift },
  "dtype-uint8-frame300": { ours: "result", reason: narrowType },
  "dtype-uint8-frame512": { ours: "result", reason: narrowType },
};

/** Forms of the crop that one of the two kernels of the peer cannot take, in every recorded batch that has events. */
export const cropFormDifferences: Differences = {
  "stempy-3.4.1 number": {
    ours: "result",
    reason: "a number is a pair of twice that number here; the peer's box needs a pair",
  },
  "stempy-3.4.2 pair": {
    ours: "result",
    reason:
      "the disk's radius is the larger of the two; the peer compares the pair with the list of all distances",
  },
};

const noCounts = "the peer's decoder takes any integer and fails later, or not at all";

/** test/golden/msgpack: decode.json, in MessagePack and as JSON, and encode.json, by name. */
export const headerDifferences: Differences = {
  negative: { ours: "STEMLINE_BATCH_SCAN_POSITION", reason: noCounts },
  "negative-size": { ours: "STEMLINE_BATCH_SIZE", reason: noCounts },
  "frame_shape-zero": { ours: "STEMLINE_BATCH_SIZE", reason: noCounts },
  "frame-header-int-sizes": { ours: "STEMLINE_BATCH_TOO_LARGE", reason: noCounts },
};

const emptyFramesCount = "the peer counts frames without events, which makes the mean too small";

/** test/golden/reduce, by folder. */
export const reduceDifferences: Differences = {
  "same-position-twice-one-empty": { ours: "result", reason: emptyFramesCount },
  "larger-5-messages": { ours: "result", reason: emptyFramesCount },
  "seven-frames-per-position-mixed-empty": {
    ours: "result",
    reason: "the peer adds the same value seven times in float32, which rounds",
  },
};
