import { BatchedFrames } from "../../../src/distiller/batched-frames.ts";

/** [rows, columns] of scan positions. The result of one message spans the whole scan, whatever the message holds of it. */
export const scanShape = [256, 256] as const;
const frameShape = [576, 576] as const;

export interface BatchMessage {
  /** As interactEM's Python operators send it: header, meta, data. */
  readonly parts: readonly Uint8Array[];
  readonly meta: Uint8Array;
  readonly data: Uint8Array;
  readonly frames: number;
  readonly bytes: number;
}

/** A BatchedFrames message with about so many events in a frame, and so many bytes of events in all. */
export function makeBatch(eventsPerFrame: number, eventBytes: number): BatchMessage {
  const random = lcg(41);
  const frames = Math.round(eventBytes / 4 / eventsPerFrame);
  const offsets = new Uint32Array(frames + 1);
  // Frames differ in length, as they do in reality.
  for (let i = 0; i < frames; i++) offsets[i + 1] = offsets[i]! + Math.floor(2 * eventsPerFrame * random());
  const events = Uint32Array.from({ length: offsets[frames]! }, () =>
    Math.floor(random() * frameShape[0] * frameShape[1]),
  );
  const positions = scanShape[0] * scanShape[1];
  const { meta, data } = BatchedFrames.encode(
    {
      scanNumber: 7,
      scanShape,
      frameShape,
      dtype: "uint32",
      // From the second row on, around the end of the scan if need be.
      positions: Uint32Array.from({ length: frames }, (_, i) => (scanShape[1] + i) % positions),
      offsets,
      // Written with four bytes, so that a sender can put in another number.
      currentBatchIndex: 0xffff_ffff,
    },
    new Uint8Array(events.buffer),
  );
  const header = new TextEncoder().encode('{"subject":"bytes","tracking":null}');
  return {
    parts: [header, meta, data],
    meta,
    data,
    frames,
    bytes: header.length + meta.length + data.length,
  };
}

/** Numbers from 0 up to 1, the same at each run. */
function lcg(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}
