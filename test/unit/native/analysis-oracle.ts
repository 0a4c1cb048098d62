/** Events of virtual detectors, positions and pixels, counted one by one; shares nothing with the native code. */
import { decode, encode } from "@msgpack/msgpack";
import type { MessageParts } from "../../../src/native/addon.ts";
import type { EventSelection, VirtualDetector } from "../../../src/native/kernels.ts";
import { batchMessage, type TestFrame, type TestScan } from "./messages.ts";
import { centerOfMassOracle } from "./oracle.ts";

const arrays = {
  uint8: Uint8Array,
  uint16: Uint16Array,
  uint32: Uint32Array,
  int32: Int32Array,
  float32: Float32Array,
  float64: Float64Array,
};

export type Dtype = keyof typeof arrays;
export const dtypes = Object.keys(arrays) as Dtype[];

/** A BatchedFrames message whose events have this type. */
export function typedMessage(scan: TestScan, frames: readonly TestFrame[], dtype: Dtype): MessageParts {
  const { meta, data } = batchMessage(scan, frames);
  const header = decode(meta) as { headers: object[]; batch_size_bytes: number };
  const events = arrays[dtype].from(
    new Uint32Array(data.buffer, data.byteOffset, data.byteLength / 4) as Iterable<number>,
  );
  header.headers = header.headers.map((frame, i) => ({
    ...frame,
    dtype,
    data_size_bytes: frames[i]!.events.length * events.BYTES_PER_ELEMENT,
  }));
  header.batch_size_bytes = events.byteLength;
  return { meta: encode(header), data: new Uint8Array(events.buffer) };
}

/** Every array of an analysis by name, with its shape. */
export function analysisOracle(
  scan: TestScan,
  frames: readonly TestFrame[],
  detectors: readonly VirtualDetector[],
  options: EventSelection = {},
): Record<string, { readonly shape: readonly number[]; readonly data: Float32Array | Uint32Array }> {
  const [rows, columns] = scan.frameShape;
  const { com, count } = centerOfMassOracle(batchMessage(scan, frames), options);
  const counts = () => new Uint32Array(scan.scanShape[0] * scan.scanShape[1]);
  const events = counts();
  const pattern = new Uint32Array(rows * columns);
  const detected = detectors.map(counts);
  for (const { position, events: indices } of frames) {
    for (const index of indices) {
      events[position]! += 1;
      pattern[index]! += 1;
      for (const [d, detector] of detectors.entries()) {
        if (holds(detector, Math.floor(index / columns), index % columns, [rows, columns]))
          detected[d]![position]! += 1;
      }
    }
  }
  return {
    com: { shape: [2, ...scan.scanShape], data: com },
    count: { shape: scan.scanShape, data: count },
    events: { shape: scan.scanShape, data: events },
    pattern: { shape: scan.frameShape, data: pattern },
    ...Object.fromEntries(
      detectors.map(({ name }, d) => [name, { shape: scan.scanShape, data: detected[d]! }]),
    ),
  };
}

function holds(
  detector: VirtualDetector,
  row: number,
  column: number,
  [rows, columns]: readonly [number, number],
) {
  if ("mask" in detector) return detector.mask[row * columns + column] !== 0;
  const [centerRow, centerColumn] = detector.center ?? [(rows - 1) / 2, (columns - 1) / 2];
  const squared = (row - centerRow) ** 2 + (column - centerColumn) ** 2;
  return detector.innerRadius ** 2 <= squared && squared < detector.outerRadius ** 2;
}
