import { fstatSync, readSync } from "node:fs";
import { FileError } from "../errors.ts";

/**
 * Reads the event lists of an HDF5 dataset of variable-length uint32 straight from the file.
 *
 * The HDF5 library cannot tell an entry's length without reading the entry, allocates each one, and never returns from a
 * heap whose free space has size 0, as in a file cut off and padded with zeros. Here lengths cost 16 bytes an entry and
 * every length is checked before it is used.
 *
 * Source: HDF5 File Format Specification 3.0, sections II.A (superblock), III.E (global heap), IV.A (object headers).
 */

const signature = Buffer.from("\x89HDF\r\n\x1a\n", "latin1");
const referenceBytes = 16;
/** Enough for many small collections in a row, little enough to read again when a file is not read in its own order. */
const windowBytes = 1 << 17;
/** A library fills several collections at a time, and versions 1 and 2 keep frames of a position far apart. */
const cachedCollections = 32;
const longestHeaderChunk = 1 << 20;

/** A file with its size, opened for reading; knows its path for messages. */
export interface RawFile {
  readonly path: string;
  readonly descriptor: number;
  readonly size: number;
}

/**
 * Checks what every HDF5 file starts with, and that the file is as long as it says.
 *
 * @throws FileError `STEMLINE_COUNTED_FILE_NOT_HDF5`, `STEMLINE_COUNTED_FILE_TRUNCATED`, `STEMLINE_COUNTED_FILE_UNREADABLE`.
 */
export function checkSuperblock(path: string, descriptor: number): RawFile {
  const stats = fstatSync(descriptor);
  if (!stats.isFile()) throw unreadable(path, "a file", stats.isDirectory() ? "a directory" : "a device");
  const file = { path, descriptor, size: stats.size };
  const start = Buffer.alloc(64);
  const bytes = readSome(file, start, 0, 0);
  if (!start.subarray(0, 8).equals(signature)) {
    const got = bytes === 0 ? "an empty file" : start.subarray(0, Math.min(8, bytes)).toString("hex");
    throw new FileError(
      "STEMLINE_COUNTED_FILE_NOT_HDF5",
      `${path}: expected an HDF5 file, starting with ${signature.toString("hex")}, got ${got}`,
    );
  }
  const version = start[8]!;
  if (bytes < start.length || version > 3) {
    throw notReadable(path, `a whole superblock of version 0 to 3`, `${bytes} bytes, version ${version}`);
  }
  const old = version < 2;
  const [offsetBytes, lengthBytes] = old ? [start[13], start[14]] : [start[9], start[10]];
  if (offsetBytes !== 8 || lengthBytes !== 8) {
    throw notReadable(path, "addresses and lengths of 8 bytes", `${offsetBytes} and ${lengthBytes}`);
  }
  const base = old ? 24 + 4 * version : 12;
  if (start.readBigUInt64LE(base) !== 0n) throw notReadable(path, "no user block", "one before the data");
  const end = Number(start.readBigUInt64LE(base + 16));
  if (end > file.size) {
    throw new FileError(
      "STEMLINE_COUNTED_FILE_TRUNCATED",
      `${path}: expected ${end} bytes as its superblock says, got ${file.size}: the file is cut off or was never closed`,
    );
  }
  return file;
}

/** Entries of one variable-length dataset stored without chunks. Holds 16 bytes an entry in memory, not the events. */
export class FrameData {
  readonly length: number;
  readonly #file: RawFile;
  readonly #heap: GlobalHeap;
  /** u32 length, u64 collection address, u32 object index of each entry. */
  readonly #references: Uint32Array;

  /**
   * @param objectHeader address of the dataset's object header.
   * @throws FileError if the dataset is not contiguous or its size is not that of `length` entries.
   */
  constructor(file: RawFile, objectHeader: number, length: number) {
    this.#file = file;
    this.length = length;
    this.#heap = new GlobalHeap(file);
    const address = findContiguousData(file, objectHeader, length * referenceBytes);
    const bytes = Buffer.from(new ArrayBuffer(length * referenceBytes));
    readExactly(file, bytes, address);
    this.#references = new Uint32Array(bytes.buffer);
    this.#checkCounts();
  }

  /** What a wrong length may make a reader allocate is bounded by what is there. */
  #checkCounts(): void {
    let total = 0;
    for (let entry = 0; entry < this.length; entry++) {
      const bytes = this.eventCount(entry) * 4;
      total += bytes;
      if (total > this.#file.size) {
        const expected = `at most ${this.#file.size} bytes of events up to here, the size of the file`;
        throw damaged(this.#file, entry, expected, `${total}, ${bytes} of them in this entry`);
      }
    }
  }

  /** Number of events of an entry. */
  eventCount(entry: number): number {
    return this.#references[entry * 4]!;
  }

  /**
   * Copies an entry's events.
   *
   * @returns where the next entry would go in `target`.
   * @throws FileError `STEMLINE_COUNTED_FILE_DAMAGED` if they cannot be found.
   */
  copyEvents(entry: number, target: Uint32Array, at: number): number {
    const references = this.#references;
    const count = references[entry * 4]!;
    if (count === 0) return at;
    const address = references[entry * 4 + 1]! + references[entry * 4 + 2]! * 2 ** 32;
    const index = references[entry * 4 + 3]!;
    const { bytes, words, starts, sizes } = this.#heap.find(address, entry);
    const start = starts[index] ?? 0;
    if (start === 0 || sizes[index]! < count * 4) {
      const got = start === 0 ? "no such object" : `${sizes[index]} bytes`;
      const expected = `${count} events in object ${index} of the collection at byte ${address}`;
      throw damaged(this.#file, entry, expected, got);
    }
    if (words === undefined) {
      bytes.copy(
        Buffer.from(target.buffer, target.byteOffset + at * 4, count * 4),
        0,
        start,
        start + count * 4,
      );
    } else if (count > 64) {
      target.set(words.subarray(start / 4, start / 4 + count), at);
    } else {
      // A counted frame is so short that making a view of it costs more than the copy.
      for (let i = 0, from = start / 4; i < count; i++) target[at + i] = words[from + i]!;
    }
    return at + count;
  }
}

interface Collection {
  readonly bytes: Buffer;
  /** The same bytes as uint32; undefined where the file does not align them. */
  readonly words: Uint32Array | undefined;
  /** First byte of each object in `bytes`; 0 for an index that is not used. */
  readonly starts: Uint32Array;
  readonly sizes: Float64Array;
}

class GlobalHeap {
  readonly #file: RawFile;
  readonly #collections = new Map<number, Collection>();
  #window = Buffer.alloc(0);
  #windowAddress = 0;
  #last: Collection | undefined;
  #lastAddress = -1;
  readonly #starts = new Uint32Array(0x10000);
  readonly #sizes = new Float64Array(0x10000);

  constructor(file: RawFile) {
    this.#file = file;
  }

  find(address: number, entry: number): Collection {
    if (this.#last !== undefined && this.#lastAddress === address) return this.#last;
    let collection = this.#collections.get(address);
    if (collection === undefined) {
      collection = this.#read(address, entry);
      if (this.#collections.size >= cachedCollections) {
        this.#collections.delete(this.#collections.keys().next().value!);
      }
      this.#collections.set(address, collection);
    }
    this.#last = collection;
    this.#lastAddress = address;
    return collection;
  }

  #read(address: number, entry: number): Collection {
    const header = 16;
    const found = this.#bytes(address, header);
    if (found === undefined || found.toString("latin1", 0, 4) !== "GCOL" || found[4] !== 1) {
      const got = found === undefined ? "the end of the file" : found.toString("hex", 0, 5);
      throw damaged(this.#file, entry, `a global heap collection at byte ${address}`, got);
    }
    const size = Number(found.readBigUInt64LE(8));
    const bytes = size < header ? undefined : this.#bytes(address, size);
    if (bytes === undefined) {
      throw damaged(
        this.#file,
        entry,
        `a global heap collection of ${size} bytes at byte ${address}`,
        "fewer",
      );
    }
    let highest = 0;
    for (let at = header; at + 16 <= size; ) {
      const index = bytes.readUInt16LE(at);
      if (index === 0) break;
      const length = bytes.readUInt32LE(at + 8) + bytes.readUInt32LE(at + 12) * 2 ** 32;
      if (at + 16 + length > size) {
        throw damaged(
          this.#file,
          entry,
          `object ${index} inside the collection at byte ${address}`,
          `${length} bytes`,
        );
      }
      this.#starts.fill(0, highest + 1, index);
      highest = Math.max(highest, index);
      this.#starts[index] = at + 16;
      this.#sizes[index] = length;
      at += 16 + Math.ceil(length / 8) * 8;
    }
    return {
      bytes,
      words:
        bytes.byteOffset % 4 === 0 ? new Uint32Array(bytes.buffer, bytes.byteOffset, size >> 2) : undefined,
      starts: this.#starts.slice(0, highest + 1),
      sizes: this.#sizes.slice(0, highest + 1),
    };
  }

  /** Bytes of the file, through a window: collections follow each other and are often smaller than a read is worth. */
  #bytes(address: number, length: number): Buffer | undefined {
    if (address + length > this.#file.size) return undefined;
    const offset = address - this.#windowAddress;
    if (offset >= 0 && offset + length <= this.#window.length)
      return this.#window.subarray(offset, offset + length);
    const window = Buffer.allocUnsafeSlow(Math.max(length, Math.min(windowBytes, this.#file.size - address)));
    readExactly(this.#file, window, address);
    this.#window = window;
    this.#windowAddress = address;
    return window.subarray(0, length);
  }
}

const continuationMessage = 0x10;
const layoutMessage = 0x08;
const contiguousLayout = 1;

/** Finds a dataset's bytes by the layout message of its object header. */
function findContiguousData(file: RawFile, objectHeader: number, expectedBytes: number): number {
  const wanted = "events stored without chunks, as stempy writes them";
  for (const { type, body } of headerMessages(file, objectHeader)) {
    if (type !== layoutMessage) continue;
    const version = body[0];
    if ((version !== 3 && version !== 4) || body[1] !== contiguousLayout || body.length < 18) {
      throw notReadable(file.path, wanted, `layout version ${version}, class ${body[1]}`);
    }
    const address = body.readBigUInt64LE(2);
    const bytes = Number(body.readBigUInt64LE(10));
    // All ones: the dataset was made and nothing was ever written to it.
    if (address === 0xffffffffffffffffn) throw notReadable(file.path, wanted, "a dataset without data");
    if (bytes !== expectedBytes || Number(address) + bytes > file.size) {
      throw damaged(
        file,
        0,
        `${expectedBytes} bytes of references inside the file`,
        `${bytes} at byte ${address}`,
      );
    }
    return Number(address);
  }
  throw notReadable(file.path, wanted, "no layout message");
}

interface HeaderMessage {
  readonly type: number;
  readonly body: Buffer;
}

/** Messages of an object header of version 1 or 2, following continuations. */
function* headerMessages(file: RawFile, address: number): Generator<HeaderMessage> {
  const prefix = readChunk(file, address, Math.min(64, file.size - address));
  const modern = prefix.toString("latin1", 0, 4) === "OHDR";
  if (!modern && prefix[0] !== 1) {
    throw damaged(file, 0, `an object header at byte ${address}`, prefix.toString("hex", 0, 4));
  }
  let start = 16;
  let length = prefix.readUInt32LE(8);
  let withCreationOrder = false;
  if (modern) {
    const flags = prefix[5]!;
    const sizeBytes = 1 << (flags & 3);
    start = 6 + ((flags & 0x20) === 0 ? 0 : 16) + ((flags & 0x10) === 0 ? 0 : 4) + sizeBytes;
    length = sizeBytes === 8 ? longestHeaderChunk + 1 : prefix.readUIntLE(start - sizeBytes, sizeBytes);
    withCreationOrder = (flags & 4) !== 0;
  }
  const headBytes = modern ? (withCreationOrder ? 6 : 4) : 8;
  const chunks = [{ address: address + start, length }];
  // Each continuation must be a place of its own, or a damaged file could send us in circles.
  const visited = new Set<number>();
  for (let chunk = chunks.shift(); chunk !== undefined; chunk = chunks.shift()) {
    if (visited.has(chunk.address)) throw damaged(file, 0, "an object header without loops", "one");
    visited.add(chunk.address);
    const bytes = readChunk(file, chunk.address, chunk.length);
    for (let at = 0; at + headBytes <= bytes.length; ) {
      const type = modern ? bytes[at]! : bytes.readUInt16LE(at);
      const size = bytes.readUInt16LE(at + (modern ? 1 : 2));
      const body = bytes.subarray(at + headBytes, at + headBytes + size);
      at += headBytes + size;
      if (type === continuationMessage && body.length >= 16) {
        const next = Number(body.readBigUInt64LE(0));
        const nextLength = Number(body.readBigUInt64LE(8));
        // Version 2 wraps a continuation in a signature and a checksum, 4 bytes each.
        chunks.push(
          modern ? { address: next + 4, length: nextLength - 8 } : { address: next, length: nextLength },
        );
      }
      yield { type, body };
    }
  }
}

function readChunk(file: RawFile, address: number, length: number): Buffer {
  if (!(length >= 0 && length <= longestHeaderChunk && address + length <= file.size)) {
    throw damaged(file, 0, "an object header inside the file", `${length} bytes at byte ${address}`);
  }
  const bytes = Buffer.alloc(length);
  readExactly(file, bytes, address);
  return bytes;
}

function readExactly(file: RawFile, target: Uint8Array, address: number): void {
  let done = 0;
  while (done < target.length) {
    const bytes = readSome(file, target, done, address + done);
    if (bytes === 0) {
      throw new FileError(
        "STEMLINE_COUNTED_FILE_TRUNCATED",
        `${file.path}: expected ${target.length} bytes at byte ${address}, got ${done}: the file became shorter`,
      );
    }
    done += bytes;
  }
}

function readSome(file: RawFile, target: Uint8Array, at: number, address: number): number {
  try {
    return readSync(file.descriptor, target, at, target.length - at, address);
  } catch (cause) {
    throw unreadable(file.path, `bytes from byte ${address} on`, String(cause), cause);
  }
}

/** The system does not let us read. */
export function unreadable(path: string, expected: string, got: string, cause?: unknown): FileError {
  return new FileError("STEMLINE_COUNTED_FILE_UNREADABLE", `${path}: expected ${expected}, got ${got}`, {
    cause,
  });
}

function damaged(file: RawFile, entry: number, expected: string, got: string): FileError {
  return new FileError(
    "STEMLINE_COUNTED_FILE_DAMAGED",
    `${file.path}, electron_events/frames entry ${entry}: expected ${expected}, got ${got}`,
  );
}

function notReadable(path: string, expected: string, got: string): FileError {
  return new FileError("STEMLINE_COUNTED_FILE_LAYOUT", `${path}: expected ${expected}, got ${got}`);
}
