import { openSync } from "node:fs";
import { devNull } from "node:os";
import type * as H5 from "h5wasm/node";
import { FileError } from "../errors.ts";
import { describeValue } from "../wire/json.ts";

/** What a stempy file says about its frames; everything but the events. */
export interface CountedLayout {
  readonly version: number;
  /** [rows, columns] of scan positions, flyback column included. */
  readonly scanShape: readonly [number, number];
  /** [rows, columns] of detector pixels. */
  readonly frameShape: readonly [number, number];
  /** Entries of `electron_events/frames`. */
  readonly entries: number;
  /** `electron_events/scan_positions` as it is in the file. */
  readonly scanPositions: Float64Array;
  /** Address of the object header of `electron_events/frames`. */
  readonly framesHeader: number;
}

type Library = Awaited<typeof H5.ready>;
type Hdf5 = typeof H5 & { readonly library: Library };

const framesPath = "electron_events/frames";
const positionsPath = "electron_events/scan_positions";
/** HDF5 keeps 16 bytes an entry in the dataset itself. */
const entryBytes = 16;

/**
 * Reads the layout of an electron-counted HDF5 file with the HDF5 library.
 *
 * @param path an HDF5 file of `size` bytes whose superblock is in order.
 * @throws FileError `STEMLINE_COUNTED_FILE_LAYOUT` or `STEMLINE_COUNTED_FILE_VERSION` with what is not as stempy writes it.
 * Source: OpenChemistry/stempy, python/stempy/io/sparse_array.py, `from_hdf5`.
 */
export async function readCountedLayout(path: string, size: number): Promise<CountedLayout> {
  const hdf5 = await loadHdf5();
  let file: H5.File | undefined;
  try {
    file = new hdf5.File(path, "r");
    return readLayout(hdf5, file, path, size);
  } catch (error) {
    if (error instanceof FileError) throw error;
    // The library's own messages are stack traces of its C code.
    throw layout(path, "metadata that the HDF5 library can read", "damaged metadata", error);
  } finally {
    file?.close();
  }
}

let loading: Promise<Hdf5> | undefined;

/** At the first file: most operators read none, and would pay for it with time at the start, memory and longer collections. */
function loadHdf5(): Promise<Hdf5> {
  loading ??= import("h5wasm/node").then(async (hdf5) => {
    const library = await hdf5.ready;
    // HDF5 prints its error stack to standard error on every failure; what failed is said by a FileError.
    const { getStream } = library.FS as unknown as { getStream(descriptor: number): { nfd: number } };
    getStream(2).nfd = openSync(devNull, "w");
    return { ...hdf5, library };
  });
  return loading;
}

function readLayout(hdf5: Hdf5, file: H5.File, path: string, size: number): CountedLayout {
  const { library } = hdf5;
  const frames = openDataset(hdf5, file, path, framesPath);
  const positions = openDataset(hdf5, file, path, positionsPath);
  const version = "version" in file.attrs ? readInteger(file, path, "/", "version", 0) : 1;
  if (version < 1 || version > 3) {
    throw new FileError(
      "STEMLINE_COUNTED_FILE_VERSION",
      `${path}: expected version 1, 2 or 3, got ${version}`,
    );
  }
  const { type, shape, vlen_type: element } = frames.metadata;
  const isUint32 = element?.type === 0 && element.size === 4 && !element.signed && element.littleEndian;
  if (type !== library.H5T_class_t.H5T_VLEN.value || !isUint32 || shape?.length !== 1) {
    throw layout(path, `${framesPath} to be a list of variable-length uint32`, describeType(frames));
  }
  const entries = shape[0]!;
  if (entries * entryBytes > size) {
    throw layout(path, `as many entries in ${framesPath} as fit into ${size} bytes`, entries);
  }
  const framesReference = library.create_object_reference(file.file_id, framesPath);
  return {
    version,
    // In the file Nx is the number of scan columns, but of frame rows.
    scanShape: [
      readInteger(positions, path, positionsPath, "Ny"),
      readInteger(positions, path, positionsPath, "Nx"),
    ],
    frameShape: [readInteger(frames, path, framesPath, "Nx"), readInteger(frames, path, framesPath, "Ny")],
    entries,
    scanPositions: readPositions(library, positions, path, size),
    framesHeader: Number(Buffer.from(framesReference).readBigUInt64LE(0)),
  };
}

function openDataset({ library, Dataset }: Hdf5, file: H5.File, path: string, name: string): H5.Dataset {
  if (library.get_type(file.file_id, "electron_events") !== library.H5G_GROUP) {
    const names = file.keys().join(", ") || "nothing";
    throw layout(path, "a group electron_events, as in stempy's electron-counted files", names);
  }
  const dataset = file.get(name);
  if (!(dataset instanceof Dataset))
    throw layout(path, `a dataset ${name}`, dataset === null ? "none" : "another kind of object");
  return dataset;
}

function readInteger(
  object: H5.File | H5.Dataset,
  path: string,
  objectPath: string,
  name: string,
  least = 1,
): number {
  const attribute = object.attrs[name];
  if (attribute === undefined) throw layout(path, `an attribute ${name} on ${objectPath}`, "none");
  const { value } = attribute;
  const single = ArrayBuffer.isView(value) && attribute.shape?.join() === "1" ? [...value][0] : value;
  const number = typeof single === "bigint" ? Number(single) : single;
  if (typeof number !== "number" || !Number.isSafeInteger(number) || number < least) {
    throw layout(
      path,
      `attribute ${name} of ${objectPath} to be an integer of at least ${least}`,
      describeValue(value),
    );
  }
  return number;
}

function readPositions(library: Library, positions: H5.Dataset, path: string, size: number): Float64Array {
  const { type, shape, total_size: count } = positions.metadata;
  if (type !== library.H5T_class_t.H5T_INTEGER.value || shape?.length !== 1) {
    throw layout(path, `${positionsPath} to be a list of integers`, describeType(positions));
  }
  // Compressed or never written, a few bytes can stand for any number of positions.
  if (count > size) throw layout(path, `at most ${size} entries in ${positionsPath}`, count);
  const { value } = positions;
  if (value instanceof BigInt64Array || value instanceof BigUint64Array)
    return Float64Array.from(value, Number);
  if (ArrayBuffer.isView(value)) return Float64Array.from(value as Int32Array);
  throw layout(path, `${positionsPath} to be readable`, "no data");
}

function describeType({ shape, metadata, dtype }: H5.Dataset): string {
  const element = metadata.vlen_type === undefined ? "" : ` of ${metadata.vlen_type.size} bytes each`;
  const name = typeof dtype === "string" && dtype !== "unknown" ? dtype : `HDF5 type class ${metadata.type}`;
  return `${name}${element}, shape [${shape?.join(", ") ?? ""}]`;
}

function layout(path: string, expected: string, got: string | number, cause?: unknown): FileError {
  return new FileError("STEMLINE_COUNTED_FILE_LAYOUT", `${path}: expected ${expected}, got ${got}`, {
    cause,
  });
}
