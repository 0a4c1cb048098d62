/** BatchedFrames messages made for tests, encoded with a library that shares nothing with the native code. */
import { encode } from "@msgpack/msgpack";
import type { MessageParts } from "../../../src/native/addon.ts";

/** Mulberry32: the same numbers from the same seed everywhere. */
export function random(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t ^= t + Math.imul(t ^ (t >>> 7), 61 | t);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

export interface TestFrame {
  readonly position: number;
  readonly events: Uint32Array;
}

export interface TestScan {
  readonly scanNumber: number;
  /** Rows and columns. */
  readonly scanShape: readonly [number, number];
  readonly frameShape: readonly [number, number];
}

export interface FrameChoice extends TestScan {
  readonly seed: number;
  readonly framesPerPosition: number;
  readonly maxEvents: number;
  /** Share of frames without any event. Default 0.2. */
  readonly emptyShare?: number;
}

/** Frames in scan order; events cluster off the frame's centre, so that swapped axes show. */
export function randomFrames(choice: FrameChoice): TestFrame[] {
  const next = random(choice.seed);
  const [rows, columns] = choice.frameShape;
  const frames: TestFrame[] = [];
  for (let position = 0; position < choice.scanShape[0] * choice.scanShape[1]; position++) {
    for (let i = 0; i < choice.framesPerPosition; i++) {
      const empty = next() < (choice.emptyShare ?? 0.2);
      const events = new Uint32Array(empty ? 0 : 1 + Math.floor(next() * choice.maxEvents));
      for (let e = 0; e < events.length; e++) {
        const row = Math.floor(rows * next() ** 2);
        const column = Math.floor(columns * next() ** 0.5);
        events[e] = row * columns + Math.min(column, columns - 1);
      }
      frames.push({ position, events });
    }
  }
  return frames;
}

export function batchMessage(scan: TestScan, frames: readonly TestFrame[]): MessageParts {
  const [scanRows, scanColumns] = scan.scanShape;
  const headers = frames.map(({ position, events }, i) => ({
    scan_number: scan.scanNumber,
    nSTEM_positions_per_row_m1: scanColumns,
    nSTEM_rows_m1: scanRows,
    STEM_x_position_in_row: position % scanColumns,
    STEM_row_in_scan: Math.floor(position / scanColumns),
    modules: [0, 1, 2, 3],
    frame_shape: scan.frameShape,
    data_size_bytes: events.byteLength,
    frame_number: i,
    dtype: "uint32",
  }));
  const size = frames.reduce((sum, { events }) => sum + events.byteLength, 0);
  const data = new Uint8Array(size);
  let at = 0;
  for (const { events } of frames) {
    data.set(new Uint8Array(events.buffer, events.byteOffset, events.byteLength), at);
    at += events.byteLength;
  }
  return {
    meta: encode({
      scan_number: scan.scanNumber,
      headers,
      batch_size_bytes: size,
      total_batches: null,
      total_frames: null,
      current_batch_index: null,
    }),
    data,
  };
}

/** A whole scan as one message. */
export function randomMessage(choice: FrameChoice): MessageParts {
  return batchMessage(choice, randomFrames(choice));
}

/** The same items in another order, decided by the seed. */
export function shuffled<T>(items: readonly T[], seed: number): T[] {
  const next = random(seed);
  const out = [...items];
  for (let i = out.length - 1; i > 0; i--) {
    const j = Math.floor(next() * (i + 1));
    [out[i], out[j]] = [out[j]!, out[i]!];
  }
  return out;
}

/** A message whose arithmetic takes a backend a while: it is large, and its content is of no interest. */
export function largeMessage(frames: number, eventsPerFrame: number): MessageParts {
  const events = new Uint32Array(eventsPerFrame).map((_, i) => (i * 7919) % (576 * 576));
  const scan: TestScan = { scanNumber: 1, scanShape: [256, 256], frameShape: [576, 576] };
  return batchMessage(
    scan,
    Array.from({ length: frames }, (_, i) => ({ position: i % 65536, events })),
  );
}
