import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { gunzipSync } from "node:zlib";
import { decode } from "@msgpack/msgpack";
import { afterAll } from "vitest";

const golden = new URL("../../golden/", import.meta.url);

/** Bytes of a recorded file, named relative to test/golden. */
export function goldenBytes(path: string): Buffer {
  return readFileSync(new URL(path, golden));
}

/** A recorded JSON file; the caller states what is in it. */
export function goldenJson<T>(path: string): T {
  return JSON.parse(goldenBytes(path).toString());
}

export const goldenFolder = fileURLToPath(golden);

/** Folder that is removed after the tests of this file. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), "stemline-distiller-"));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** Unpacks a fixture into a folder and says where it is. */
export function unpackFixture(name: string, folder: string): string {
  const packed = readFileSync(new URL(`./fixtures/${name}.h5.gz`, import.meta.url));
  const path = join(folder, `${name}.h5`);
  writeFileSync(path, gunzipSync(packed));
  return path;
}

/** Detector data that stay outside the repository; undefined where they are not there. */
export function sharedData(name: string): string | undefined {
  const folder =
    process.env.STEMLINE_SHARED_DATA ?? fileURLToPath(new URL("../../../../shared/data", import.meta.url));
  const path = join(folder, name);
  return existsSync(path) ? path : undefined;
}

export interface WireFrame {
  readonly scan_number: number;
  readonly nSTEM_positions_per_row_m1: number;
  readonly nSTEM_rows_m1: number;
  readonly STEM_x_position_in_row: number;
  readonly STEM_row_in_scan: number;
  readonly modules: number[];
  readonly frame_shape: [number, number];
  readonly data_size_bytes: number;
  readonly frame_number: number | null;
  readonly dtype: string;
}

export interface WireBatch {
  readonly scan_number: number;
  readonly headers: WireFrame[];
  readonly batch_size_bytes: number;
  readonly total_batches: number | null;
  readonly total_frames: number | null;
  readonly current_batch_index: number | null;
}

/** A batch header by a MessagePack library that knows nothing of batches. */
export function decodeHeader(meta: Uint8Array): WireBatch {
  return decode(meta) as WireBatch;
}

/** The events of a uint32 message, frame by frame, as plain numbers. */
export function framesOf({ meta, data }: { meta: Uint8Array; data: Uint8Array }): number[][] {
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  let at = 0;
  const frames = decodeHeader(meta).headers.map(({ data_size_bytes }) => {
    const events: number[] = [];
    for (const end = at + data_size_bytes; at < end; at += 4) events.push(view.getUint32(at, true));
    return events;
  });
  if (at !== data.byteLength) throw new Error(`headers say ${at} bytes, data has ${data.byteLength}`);
  return frames;
}

/** A `.npy` file of float32, float64 or 32-bit integers, C order, version 1.0, little-endian: what the golden files are. */
export function readNpyFile(bytes: Uint8Array): { shape: number[]; data: number[] } {
  const buffer = Buffer.from(bytes);
  const start = 10 + buffer.readUInt16LE(8);
  const header = buffer.toString("latin1", 10, start);
  const descr = /'descr': '<(\w+)'/.exec(header)?.[1];
  if (!header.includes("'fortran_order': False")) throw new Error(`expected C order: ${header}`);
  const shape = (/'shape': \(([^)]*)\)/.exec(header)?.[1] ?? "")
    .split(",")
    .filter((text) => text.trim() !== "")
    .map(Number);
  const readers: Record<string, [number, (at: number) => number]> = {
    f4: [4, (at) => buffer.readFloatLE(at)],
    f8: [8, (at) => buffer.readDoubleLE(at)],
    u4: [4, (at) => buffer.readUInt32LE(at)],
    i4: [4, (at) => buffer.readInt32LE(at)],
  };
  const [bytesEach, read] = readers[descr ?? ""] ?? [];
  if (bytesEach === undefined || read === undefined) throw new Error(`no reader for ${header}`);
  const count = shape.reduce((product, length) => product * length, 1);
  return { shape, data: Array.from({ length: count }, (_, i) => read(start + i * bytesEach)) };
}
