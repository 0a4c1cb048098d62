import { closeSync, openSync, unlinkSync, writeSync } from "node:fs";
import { FileError } from "../errors.ts";

export interface CountedFileWriterOptions {
  readonly path: string;
  /** [rows, columns] of scan positions. */
  readonly scanShape: readonly [number, number];
  /** [rows, columns] of detector pixels. */
  readonly frameShape: readonly [number, number];
  /** Version 3: frames of every scan position; 1 if not given. */
  readonly framesPerPosition?: number;
  /** Layout to write; 3 if not given. */
  readonly version?: 1 | 2 | 3;
  /** Versions 1 and 2: row-major scan position of each frame, in the order in which frames are appended. */
  readonly scanPositions?: Uint32Array;
}

/**
 * Writes an electron-counted HDF5 file of the layout that stempy writes, frame after frame.
 *
 * The HDF5 library that we have (h5wasm) cannot make datasets of variable-length integers, so the few structures that
 * such a file needs are written here: superblock version 0, groups, contiguous datasets, and global heap collections for
 * the events. The number of frames is known from the start, so all but the events has its place before they come. The
 * superblock is written last: a file that was never finished is not taken for a whole one.
 *
 * Memory: some 130 kB and the largest frame, however long the scan.
 *
 * Source: HDF5 File Format Specification 3.0; OpenChemistry/stempy, python/stempy/io/sparse_array.py, `write_to_hdf5`.
 */
export class CountedFileWriter {
  readonly #path: string;
  readonly #frames: number;
  readonly #places: Places;
  readonly #descriptor: number;
  #written = 0;
  /** Where the next collection goes. */
  #end: number;
  #collection = Buffer.alloc(collectionBytes);
  #collectionUsed = collectionHeaderBytes;
  #objects = 0;
  readonly #references = Buffer.alloc(4096 * referenceBytes);
  #referencesUsed = 0;

  /**
   * Creates the file, over one that is there.
   *
   * @throws FileError `STEMLINE_COUNTED_FILE_WRITE` if it cannot be created.
   * @throws RangeError if a shape is not two positive integers or scan positions do not go with the version.
   */
  constructor(options: CountedFileWriterOptions) {
    const { path, scanShape, frameShape, framesPerPosition = 1, version = 3, scanPositions } = options;
    for (const length of [...scanShape, ...frameShape, framesPerPosition]) {
      if (!Number.isSafeInteger(length) || length < 1) {
        throw new RangeError(`shapes and framesPerPosition: expected positive integers, got ${length}`);
      }
    }
    if ((version === 3) === (scanPositions !== undefined)) {
      throw new RangeError(`scanPositions: expected for version 1 and 2 only, got version ${version}`);
    }
    const positions = scanPositions?.length ?? scanShape[0] * scanShape[1];
    this.#path = path;
    this.#frames = scanPositions?.length ?? positions * framesPerPosition;
    this.#places = placeObjects(this.#frames, positions);
    this.#end = this.#places.events;
    this.#descriptor = attempt(path, () => openSync(path, "w"));
    const contents = { version, scanShape, frameShape, frames: this.#frames, positions };
    this.#writeAt(objectHeaders(contents, this.#places), superblockBytes);
    this.#writePositions(positions, scanPositions);
  }

  /**
   * Appends frames.
   *
   * @param events flat indices `row * columns + column` of all these frames, one after another; not kept.
   * @param counts number of events of each frame.
   * @throws FileError `STEMLINE_COUNTED_FILE_WRITE` if the disk takes no more.
   * @throws RangeError if the counts do not add up to the events or there are more frames than the file has.
   */
  append(events: Uint32Array, counts: Uint32Array): void {
    const total = counts.reduce((sum, count) => sum + count, 0);
    if (total !== events.length)
      throw new RangeError(`events: expected ${total} as the counts say, got ${events.length}`);
    if (this.#written + counts.length > this.#frames) {
      throw new RangeError(`frames: expected at most ${this.#frames}, got ${this.#written + counts.length}`);
    }
    const bytes = Buffer.from(events.buffer, events.byteOffset, events.byteLength);
    let at = 0;
    for (const count of counts) {
      this.#appendFrame(bytes, at, count);
      at += count * 4;
    }
  }

  /**
   * Finishes the file.
   *
   * @throws FileError `STEMLINE_COUNTED_FILE_WRITE` if frames are missing; the file is removed then.
   */
  close(): void {
    if (this.#written !== this.#frames) {
      this.discard();
      throw new FileError(
        "STEMLINE_COUNTED_FILE_WRITE",
        `${this.#path}: expected ${this.#frames} frames before closing, got ${this.#written}`,
      );
    }
    this.#flushCollection();
    this.#flushReferences();
    this.#writeAt(superblock(this.#places, this.#end), 0);
    closeSync(this.#descriptor);
  }

  /** Gives up: closes and removes the file. */
  discard(): void {
    closeSync(this.#descriptor);
    unlinkSync(this.#path);
  }

  #appendFrame(events: Buffer, from: number, count: number): void {
    const lengthBytes = count * 4;
    const needed = objectHeaderBytes + align(lengthBytes);
    if (this.#collectionUsed + needed > this.#collection.length || this.#objects === mostObjects) {
      this.#flushCollection();
    }
    if (collectionHeaderBytes + needed > this.#collection.length) {
      this.#collection = Buffer.alloc(collectionHeaderBytes + needed);
    }
    const reference = this.#references;
    let at = this.#referencesUsed;
    reference.fill(0, at, at + referenceBytes);
    if (count > 0) {
      this.#objects++;
      reference.writeUInt32LE(count, at);
      reference.writeBigUInt64LE(BigInt(this.#end), at + 4);
      reference.writeUInt32LE(this.#objects, at + 12);
      at = this.#collectionUsed;
      this.#collection.fill(0, at, at + needed);
      this.#collection.writeUInt16LE(this.#objects, at);
      this.#collection.writeBigUInt64LE(BigInt(lengthBytes), at + 8);
      events.copy(this.#collection, at + objectHeaderBytes, from, from + lengthBytes);
      this.#collectionUsed += needed;
    }
    this.#written++;
    this.#referencesUsed += referenceBytes;
    if (this.#referencesUsed === reference.length) this.#flushReferences();
  }

  #flushCollection(): void {
    if (this.#objects === 0) return;
    const collection = this.#collection;
    const free = collection.length - this.#collectionUsed;
    collection.write("GCOL", 0, "latin1");
    collection.writeUInt32LE(1, 4);
    collection.writeBigUInt64LE(BigInt(collection.length), 8);
    collection.fill(0, this.#collectionUsed);
    // Object 0 is the free space, its own header included; less than a header is told by the collection's size.
    if (free >= objectHeaderBytes) collection.writeBigUInt64LE(BigInt(free), this.#collectionUsed + 8);
    this.#writeAt(collection, this.#end);
    this.#end += collection.length;
    this.#collectionUsed = collectionHeaderBytes;
    this.#objects = 0;
  }

  #flushReferences(): void {
    const first = this.#written - this.#referencesUsed / referenceBytes;
    this.#writeAt(
      this.#references.subarray(0, this.#referencesUsed),
      this.#places.references + first * referenceBytes,
    );
    this.#referencesUsed = 0;
  }

  #writePositions(count: number, scanPositions: Uint32Array | undefined): void {
    const slab = new BigInt64Array(Math.min(count, 8192));
    for (let first = 0; first < count; first += slab.length) {
      const length = Math.min(slab.length, count - first);
      for (let i = 0; i < length; i++) slab[i] = BigInt(scanPositions?.[first + i] ?? first + i);
      this.#writeAt(Buffer.from(slab.buffer, 0, length * 8), this.#places.positions + first * 8);
    }
  }

  #writeAt(bytes: Buffer, address: number): void {
    attempt(this.#path, () => {
      for (let done = 0; done < bytes.length; ) {
        done += writeSync(this.#descriptor, bytes, done, bytes.length - done, address + done);
      }
    });
  }
}

function attempt<T>(path: string, write: () => T): T {
  try {
    return write();
  } catch (cause) {
    throw new FileError(
      "STEMLINE_COUNTED_FILE_WRITE",
      `${path}: expected to write here, got ${String(cause)}`,
      {
        cause,
      },
    );
  }
}

const collectionBytes = 1 << 16;
const collectionHeaderBytes = 16;
const objectHeaderBytes = 16;
const referenceBytes = 16;
/** Object numbers are 16 bits wide and 0 means free space. */
const mostObjects = 0xffff;
const undefinedAddress = 0xffffffffffffffffn;

const superblockBytes = 96;
/** Symbol tables hold up to 8 names in one node here; ours have at most 2. */
const leafK = 4;
const internalK = 16;
const treeBytes = 24 + (2 * internalK + 1) * 8 + 2 * internalK * 8;
const nodeBytes = 8 + 2 * leafK * 40;
const nameHeapBytes = 64;
const groupBytes = 16 + 24 + treeBytes + 32 + nameHeapBytes + nodeBytes;
const headerRoom = 1024;

/** Addresses of what the file holds. */
interface Places {
  readonly root: number;
  readonly electronEvents: number;
  readonly metadata: number;
  readonly framesHeader: number;
  readonly positionsHeader: number;
  readonly references: number;
  readonly positions: number;
  readonly events: number;
}

function placeObjects(frames: number, positions: number): Places {
  let next = superblockBytes;
  const take = (bytes: number): number => {
    const at = next;
    next += align(bytes);
    return at;
  };
  // The root group has an attribute besides what every group has.
  const root = take(groupBytes + headerRoom);
  const electronEvents = take(groupBytes);
  const metadata = take(groupBytes);
  const framesHeader = take(headerRoom);
  const positionsHeader = take(headerRoom);
  const references = take(frames * referenceBytes);
  const positionsAt = take(positions * 8);
  return {
    root,
    electronEvents,
    metadata,
    framesHeader,
    positionsHeader,
    references,
    positions: positionsAt,
    events: next,
  };
}

interface Contents {
  readonly version: number;
  readonly scanShape: readonly [number, number];
  readonly frameShape: readonly [number, number];
  readonly frames: number;
  readonly positions: number;
}

/** Everything between the superblock and the references. */
function objectHeaders(contents: Contents, places: Places): Buffer {
  const { version, scanShape, frameShape, frames, positions } = contents;
  const out = Buffer.alloc(places.references - superblockBytes);
  const put = (bytes: Buffer, address: number) => bytes.copy(out, address - superblockBytes);
  const links = { electron_events: places.electronEvents, metadata: places.metadata };
  put(group(places.root, links, [attribute("version", version)]), places.root);
  const datasets = { frames: places.framesHeader, scan_positions: places.positionsHeader };
  put(group(places.electronEvents, datasets), places.electronEvents);
  put(group(places.metadata, {}), places.metadata);
  put(
    objectHeader([
      ...dataset(listOf(uint32), frames, places.references, frames * referenceBytes),
      attribute("Nx", frameShape[0]),
      attribute("Ny", frameShape[1]),
    ]),
    places.framesHeader,
  );
  put(
    objectHeader([
      ...dataset(int64, positions, places.positions, positions * 8),
      attribute("Nx", scanShape[1]),
      attribute("Ny", scanShape[0]),
    ]),
    places.positionsHeader,
  );
  return out;
}

function superblock({ root }: Places, end: number): Buffer {
  const out = Buffer.alloc(superblockBytes);
  out.write("\x89HDF\r\n\x1a\n", 0, "latin1");
  out[13] = 8;
  out[14] = 8;
  out.writeUInt16LE(leafK, 16);
  out.writeUInt16LE(internalK, 18);
  out.writeBigUInt64LE(undefinedAddress, 32);
  out.writeBigUInt64LE(BigInt(end), 40);
  out.writeBigUInt64LE(undefinedAddress, 48);
  out.writeBigUInt64LE(BigInt(root), 64);
  return out;
}

/** A group of the old style with its name index: object header, B-tree, name heap and one symbol table node. */
function group(
  address: number,
  links: Readonly<Record<string, number>>,
  attributes: readonly Message[] = [],
): Buffer {
  const header = objectHeader([{ type: 0x11, body: Buffer.alloc(16) }, ...attributes]);
  const tree = address + header.length;
  const heap = tree + treeBytes;
  const node = heap + 32 + nameHeapBytes;
  const out = Buffer.alloc(node - address + nodeBytes);
  header.copy(out);
  out.writeBigUInt64LE(BigInt(tree), 24);
  out.writeBigUInt64LE(BigInt(heap), 32);
  // Names are sorted; offset 0 of the heap is the empty name, lower than all.
  const names = Object.keys(links).sort();
  let nameAt = 8;
  names.forEach((name, i) => {
    const entry = node - address + 8 + i * 40;
    out.write(name, heap - address + 32 + nameAt, "latin1");
    out.writeBigUInt64LE(BigInt(nameAt), entry);
    out.writeBigUInt64LE(BigInt(links[name]!), entry + 8);
    if (i === names.length - 1) out.writeBigUInt64LE(BigInt(nameAt), tree - address + 24 + 16);
    nameAt += align(name.length + 1);
  });

  out.write("TREE", tree - address, "latin1");
  out.writeUInt16LE(names.length === 0 ? 0 : 1, tree - address + 6);
  out.writeBigUInt64LE(undefinedAddress, tree - address + 8);
  out.writeBigUInt64LE(undefinedAddress, tree - address + 16);
  if (names.length > 0) out.writeBigUInt64LE(BigInt(node), tree - address + 24 + 8);

  out.write("HEAP", heap - address, "latin1");
  out.writeBigUInt64LE(BigInt(nameHeapBytes), heap - address + 8);
  // 1 for no free block.
  out.writeBigUInt64LE(1n, heap - address + 16);
  out.writeBigUInt64LE(BigInt(heap + 32), heap - address + 24);

  out.write("SNOD", node - address, "latin1");
  out[node - address + 4] = 1;
  out.writeUInt16LE(names.length, node - address + 6);
  return out;
}

interface Message {
  readonly type: number;
  readonly body: Buffer;
}

function objectHeader(messages: readonly Message[]): Buffer {
  const bodies = messages.map(({ type, body }) => {
    const out = Buffer.alloc(8 + align(body.length));
    out.writeUInt16LE(type, 0);
    out.writeUInt16LE(out.length - 8, 2);
    body.copy(out, 8);
    return out;
  });
  const start = Buffer.alloc(16);
  const rest = Buffer.concat(bodies);
  start[0] = 1;
  start.writeUInt16LE(messages.length, 2);
  start.writeUInt32LE(1, 4);
  start.writeUInt32LE(rest.length, 8);
  return Buffer.concat([start, rest]);
}

/** Messages of a one-dimensional dataset that lies in one piece at `address`. */
function dataset(type: Buffer, length: number, address: number, bytes: number): Message[] {
  const layout = Buffer.alloc(18);
  layout[0] = 3;
  layout[1] = 1;
  layout.writeBigUInt64LE(BigInt(address), 2);
  layout.writeBigUInt64LE(BigInt(bytes), 10);
  return [
    { type: 0x01, body: dataspace([length]) },
    { type: 0x03, body: type },
    // Fill value, version 2: allocated late, written if set, defined and empty.
    { type: 0x05, body: Buffer.from([2, 2, 2, 1, 0, 0, 0, 0]) },
    { type: 0x08, body: layout },
  ];
}

/** An int64 scalar, as h5py stores a Python integer. */
function attribute(name: string, value: number): Message {
  const nameBytes = name.length + 1;
  const space = dataspace([]);
  const head = Buffer.alloc(8);
  head[0] = 1;
  head.writeUInt16LE(nameBytes, 2);
  head.writeUInt16LE(int64.length, 4);
  head.writeUInt16LE(space.length, 6);
  const padded = (bytes: Buffer) => Buffer.concat([bytes], align(bytes.length));
  const data = Buffer.alloc(8);
  data.writeBigInt64LE(BigInt(value));
  return {
    type: 0x0c,
    body: Buffer.concat([head, padded(Buffer.from(`${name}\0`)), padded(int64), padded(space), data]),
  };
}

function dataspace(shape: readonly number[]): Buffer {
  const out = Buffer.alloc(8 + 8 * shape.length);
  out[0] = 1;
  out[1] = shape.length;
  shape.forEach((length, axis) => {
    out.writeBigUInt64LE(BigInt(length), 8 + 8 * axis);
  });
  return out;
}

function integerType(bytes: number, signed: boolean): Buffer {
  const out = Buffer.alloc(12);
  out[0] = 0x10;
  out[1] = signed ? 0x08 : 0;
  out.writeUInt32LE(bytes, 4);
  out.writeUInt16LE(bytes * 8, 10);
  return out;
}

const int64 = integerType(8, true);
const uint32 = integerType(4, false);

function listOf(element: Buffer): Buffer {
  const out = Buffer.alloc(8);
  out[0] = 0x19;
  out.writeUInt32LE(referenceBytes, 4);
  return Buffer.concat([out, element]);
}

function align(bytes: number): number {
  return Math.ceil(bytes / 8) * 8;
}
