/** What the native core does, in plain JavaScript: @msgpack/msgpack, typed arrays, JSON.stringify. */
import { decode } from "@msgpack/msgpack";
import { readNpz, writeNpz } from "../../src/distiller/index.ts";

/** The two byte parts of a message. */
export interface Parts {
  readonly meta: Uint8Array;
  readonly data: Uint8Array;
}

interface PeerFrame {
  readonly STEM_x_position_in_row: number;
  readonly STEM_row_in_scan: number;
  readonly nSTEM_positions_per_row_m1: number;
  readonly nSTEM_rows_m1: number;
  readonly frame_shape: readonly [number, number];
  readonly data_size_bytes: number;
}

export interface PeerHeader {
  readonly headers: readonly PeerFrame[];
}

/** Sums of each frame: row, column. */
export function plainFrameSums(
  events: Uint32Array,
  counts: Uint32Array,
  width: number,
  sums: Float64Array,
): void {
  let at = 0;
  for (let frame = 0; frame < counts.length; frame++) {
    const end = at + counts[frame]!;
    let row = 0;
    let column = 0;
    for (; at < end; at++) {
      const event = events[at]!;
      const eventRow = Math.floor(event / width);
      row += eventRow;
      column += event - eventRow * width;
    }
    sums[2 * frame] = row;
    sums[2 * frame + 1] = column;
  }
}

export function plainPartial({ meta, data }: Parts): Parts {
  const header = decode(meta) as PeerHeader;
  const frames = header.headers;
  const {
    nSTEM_rows_m1: rows,
    nSTEM_positions_per_row_m1: columns,
    frame_shape: [, width],
  } = frames[0]!;
  const events = new Uint32Array(data.buffer, data.byteOffset, data.length / 4);
  const counts = Uint32Array.from(frames, (frame) => frame.data_size_bytes / 4);
  const sums = new Float64Array(2 * frames.length);
  plainFrameSums(events, counts, width, sums);
  const positions = rows * columns;
  const atPosition = new Float64Array(2 * positions);
  const count = new Uint32Array(positions);
  for (const [i, frame] of frames.entries()) {
    const position = frame.STEM_row_in_scan * columns + frame.STEM_x_position_in_row;
    atPosition[position]! += sums[2 * i + 1]!;
    atPosition[positions + position]! += sums[2 * i]!;
    count[position]! += counts[i]!;
  }
  const com = new Float32Array(2 * positions);
  for (let i = 0; i < 2 * positions; i++) com[i] = atPosition[i]! / count[i % positions]!;
  return { meta: Buffer.from(JSON.stringify(header)), data: partialArchive(com, count, [rows, columns]) };
}

export function partialArchive(
  com: Float32Array,
  count: Uint32Array,
  [rows, columns]: readonly [number, number],
): Uint8Array {
  return writeNpz({
    com: { shape: [2, rows, columns], data: com },
    count: { shape: [rows, columns], data: count },
  });
}

/** Sums of a scan that partial results are added to. */
export class PlainReducer {
  readonly #side: number;
  readonly #sums: Float64Array;
  readonly #counts: Uint32Array;

  constructor(side: number) {
    this.#side = side;
    this.#sums = new Float64Array(2 * side * side);
    this.#counts = new Uint32Array(side * side);
  }

  add({ meta, data }: Parts): void {
    const { headers } = parseHeader(meta);
    const arrays = readNpz(data, ["com", "count"]);
    const com = arrays.com!.data as Float32Array;
    const count = arrays.count!.data as Uint32Array;
    const positions = count.length;
    const seen = new Set<number>();
    for (const frame of headers) {
      const position = frame.STEM_row_in_scan * this.#side + frame.STEM_x_position_in_row;
      const weight = count[position]!;
      if (seen.has(position) || weight === 0) continue;
      seen.add(position);
      this.#sums[position]! += Math.round(com[position]! * weight);
      this.#sums[positions + position]! += Math.round(com[positions + position]! * weight);
      this.#counts[position]! += weight;
    }
  }

  emit(): Uint8Array {
    const positions = this.#counts.length;
    const com = Float32Array.from(this.#sums, (sum, i) => sum / this.#counts[i % positions]!);
    return writeNpz({ com: { shape: [2, this.#side, this.#side], data: com } });
  }
}

export function parseHeader(json: Uint8Array): PeerHeader {
  return JSON.parse(Buffer.from(json.buffer, json.byteOffset, json.length).toString()) as PeerHeader;
}
