import { readdirSync, readFileSync } from "node:fs";
import { gunzipSync } from "node:zlib";
import type { MessageParts } from "../../../src/native/addon.ts";
import type { CenterOfMassPartialOptions } from "../../../src/native/kernels.ts";

const golden = new URL("../../golden/", import.meta.url);

export function goldenBytes(path: string): Buffer {
  return readFileSync(new URL(path, golden));
}

export function goldenJson<T>(path: string): T {
  return JSON.parse(goldenBytes(path).toString("utf8"));
}

export interface PeerError {
  readonly type: string;
  readonly message: string;
}

/** One recorded call of the peer's kernel: the name of an array file, or the error it raised. */
export interface RecordedCom {
  readonly kernel: "stempy-3.4.1" | "stempy-3.4.2";
  readonly crop_to: null | number | readonly [number, number];
  readonly init_center: null | readonly [number, number];
  readonly replace_nans: boolean;
  readonly npy: string | null;
  readonly error?: PeerError;
}

/** One recorded call of the peer's operator: the folder of its output message, or the error it raised. */
export interface RecordedPartial {
  readonly kernel: "stempy-3.4.1" | "stempy-3.4.2";
  readonly params: string;
  readonly parameters: Readonly<Record<string, number>>;
  readonly message?: string;
  readonly error?: PeerError;
}

export interface RecordedBatch {
  readonly name: string;
  readonly note: string;
  readonly decode_error: PeerError | null;
  readonly n_frames?: number;
  readonly com?: readonly RecordedCom[];
  readonly partial?: readonly RecordedPartial[];
  readonly definitional_row_major_no_crop_npy?: string;
}

/** A recorded batch and where its files lie. */
export interface BatchCase {
  readonly folder: string;
  readonly recorded: RecordedBatch;
  readonly message: MessageParts;
}

export const batchNames: readonly string[] = readdirSync(new URL("batches/", golden), { withFileTypes: true })
  .filter((entry) => entry.isDirectory())
  .map((entry) => entry.name)
  .sort();

export function readBatchCase(name: string): BatchCase {
  const folder = `batches/${name}/`;
  return {
    folder,
    recorded: goldenJson<RecordedBatch>(`${folder}case.json`),
    message: { meta: goldenBytes(`${folder}part1.msgpack`), data: goldenBytes(`${folder}part2.bin`) },
  };
}

/** The peer's own synthetic batch at full size, whose parts are stored compressed. */
export function readSyntheticCase(): BatchCase {
  const folder = "synthetic-128/";
  const { note, com } = goldenJson<{ note: string; com: RecordedCom[] }>(`${folder}case.json`);
  return {
    folder,
    recorded: { name: "synthetic-128", note, decode_error: null, com },
    message: {
      meta: gunzipSync(goldenBytes(`${folder}part1.msgpack.gz`)),
      data: gunzipSync(goldenBytes(`${folder}part2.bin.gz`)),
    },
  };
}

export function fromHex(hex: string): Uint8Array {
  return new Uint8Array(Buffer.from(hex, "hex"));
}

/** Bytes of the array in a plain .npy file of format 1.0, C order, little-endian: as all recorded ones are. */
export function npyData(file: Buffer): Buffer {
  if (file.toString("latin1", 0, 8) !== "\x93NUMPY\x01\x00")
    throw new Error("expected a .npy file of format 1.0");
  const start = 10 + file.readUInt16LE(8);
  const header = file.toString("latin1", 10, start);
  if (!/'descr': '<[fiu]\d'/.test(header) || !header.includes("'fortran_order': False")) {
    throw new Error(`expected a little-endian array in C order, got ${header}`);
  }
  return file.subarray(start);
}

/** How a recorded call is made here. The number form of `crop_to` is a square box or a disk of that radius. */
export function optionsOf(entry: RecordedCom): CenterOfMassPartialOptions {
  const { crop_to: crop, init_center: initCenter } = entry;
  return {
    ...(crop !== null && { cropTo: typeof crop === "number" ? ([crop, crop] as const) : crop }),
    ...(initCenter !== null && { initCenter }),
    cropShape: entry.kernel === "stempy-3.4.1" ? "box" : "disk",
    replaceNaNs: entry.replace_nans,
  };
}

/** How a recorded call of the operator is made here: half a pair counts as none, and nothing is filled. */
export function optionsOfParameters(entry: RecordedPartial): CenterOfMassPartialOptions {
  const { crop_to_x, crop_to_y, init_center_x, init_center_y } = entry.parameters;
  return {
    ...(crop_to_x !== undefined && crop_to_y !== undefined && { cropTo: [crop_to_x, crop_to_y] as const }),
    ...(init_center_x !== undefined &&
      init_center_y !== undefined && { initCenter: [init_center_x, init_center_y] as const }),
    cropShape: entry.kernel === "stempy-3.4.1" ? "box" : "disk",
  };
}
