import { closeSync, openSync } from "node:fs";
import { FileError } from "../errors.ts";
import { type BatchFields, encodeBatchHeader } from "./batch-encoder.ts";
import { type CountedLayout, readCountedLayout } from "./counted-layout.ts";
import { checkSuperblock, FrameData, unreadable } from "./frame-data.ts";

export interface CountedFileOptions {
  /** False leaves out the last scan column, where the probe flies back; true, as the peer, keeps it. */
  readonly keepFlyback?: boolean;
}

export interface BatchOptions {
  /** Number that the messages carry; a file does not know its own. */
  readonly scanNumber: number;
  /** Bytes of events, in units of 2^20, that a message stays below; one position alone may have more. 1 if not given. */
  readonly batchSizeMb?: number;
}

/** Parts of one BatchedFrames message; the receiver owns both. */
export interface EncodedBatch {
  readonly meta: Uint8Array;
  readonly data: Uint8Array;
  /** Frames in it. */
  readonly frames: number;
}

/**
 * An electron-counted HDF5 file as stempy writes it, version 1, 2 or 3, cut into BatchedFrames messages as the peer's
 * emitter does.
 *
 * Every scan position has the same number of frames, filled up with empty ones where versions 1 and 2 have fewer; frames
 * of a position stay together. Version 1 sums the frames of a position up: events that are there k times go to k frames,
 * each sorted, if any event of the file is there twice. Events are passed on unchecked: the kernels check them.
 *
 * Memory: 24 bytes a frame and one message; the events stay in the file.
 *
 * Source: OpenChemistry/stempy, io/sparse_array.py and io/compatibility.py; NERSC/interactEM, distiller_streaming/emitter.py.
 */
export class CountedFile {
  readonly path: string;
  readonly version: number;
  /** [rows, columns] of scan positions, without the flyback column if it is left out. */
  readonly scanShape: readonly [number, number];
  /** [rows, columns] of detector pixels. */
  readonly frameShape: readonly [number, number];
  readonly framesPerPosition: number;
  /** Frames that `batches` yields in all. */
  readonly totalFrames: number;
  readonly #frames: FrameData;
  readonly #entries: EntryTable;
  /** True if events that are there several times belong to several frames: version 1. */
  readonly #split: boolean;
  readonly #columnsInFile: number;
  #descriptor: number | undefined;

  private constructor(
    path: string,
    layout: CountedLayout,
    frames: FrameData,
    descriptor: number,
    keepFlyback: boolean,
  ) {
    const [rows, columns] = layout.scanShape;
    this.path = path;
    this.version = layout.version;
    this.frameShape = layout.frameShape;
    this.scanShape = [rows, keepFlyback ? columns : columns - 1];
    this.#columnsInFile = columns;
    this.#frames = frames;
    if (this.scanShape[1] === 0) {
      throw inconsistent(path, "at least 2 scan columns to leave out the flyback", `${columns}`);
    }
    const multiplicity = layout.version === 1 ? this.#highestMultiplicity(layout) : 1;
    this.#split = multiplicity > 1;
    this.#entries = new EntryTable(path, layout, this.#split);
    this.framesPerPosition = this.#split ? multiplicity : this.#mostEntries();
    this.totalFrames = this.#positions * this.framesPerPosition;
    this.#descriptor = descriptor;
  }

  /**
   * Opens a file and checks its layout. Reads all events once if the file is of version 1, else none.
   *
   * @throws FileError with the path, what was expected and what was found.
   */
  static async open(path: string, { keepFlyback = true }: CountedFileOptions = {}): Promise<CountedFile> {
    const descriptor = openFile(path);
    try {
      const file = checkSuperblock(path, descriptor);
      const layout = await readCountedLayout(path, file.size);
      const frames = new FrameData(file, layout.framesHeader, layout.entries);
      return new CountedFile(path, layout, frames, descriptor, keepFlyback);
    } catch (error) {
      closeSync(descriptor);
      throw error;
    }
  }

  /**
   * Yields the frames as BatchedFrames messages in row-major scan order. A message closes before a position that would
   * make it reach the size limit, or after 2^20 frames. May be called again for another run through the file.
   *
   * @throws FileError if the file is closed or its events cannot be found.
   * @throws RangeError if the size limit is not positive.
   */
  *batches({ scanNumber, batchSizeMb = 1 }: BatchOptions): Generator<EncodedBatch, void, undefined> {
    if (!(batchSizeMb > 0))
      throw new RangeError(`batchSizeMb: expected a positive number, got ${batchSizeMb}`);
    const starts = this.#cut(Math.trunc(batchSizeMb * 2 ** 20));
    const totalBatches = starts.length - 1;
    const { scanShape, frameShape, totalFrames } = this;
    for (let index = 0; index < totalBatches; index++) {
      if (this.#descriptor === undefined) {
        throw new FileError(
          "STEMLINE_COUNTED_FILE_CLOSED",
          `${this.path}: expected an open file, got a closed one`,
        );
      }
      const { positions, offsets, events } = this.#read(starts[index]!, starts[index + 1]!);
      const fields: BatchFields = {
        scanNumber,
        scanShape,
        frameShape,
        dtype: "uint32",
        positions,
        offsets,
        totalBatches,
        totalFrames,
        currentBatchIndex: index,
      };
      const data = new Uint8Array(events.buffer, 0, offsets.at(-1)! * Uint32Array.BYTES_PER_ELEMENT);
      yield { meta: encodeBatchHeader(fields), data, frames: positions.length };
    }
  }

  /** Closes the file; no error if it is closed already. */
  close(): void {
    if (this.#descriptor !== undefined) closeSync(this.#descriptor);
    this.#descriptor = undefined;
  }

  get #positions(): number {
    return this.scanShape[0] * this.scanShape[1];
  }

  /** Position in the file of a position that is yielded. */
  #positionInFile(position: number): number {
    const row = Math.floor(position / this.scanShape[1]);
    return position + row * (this.#columnsInFile - this.scanShape[1]);
  }

  #eventCount(position: number): number {
    const { starts, order } = this.#entries;
    const inFile = this.#positionInFile(position);
    let events = 0;
    for (let i = starts[inFile]!; i < starts[inFile + 1]!; i++) events += this.#frames.eventCount(order[i]!);
    return events;
  }

  #mostEntries(): number {
    const { starts } = this.#entries;
    let most = 0;
    for (let position = 0; position < this.#positions; position++) {
      const inFile = this.#positionInFile(position);
      most = Math.max(most, starts[inFile + 1]! - starts[inFile]!);
    }
    if (most === 0) throw inconsistent(this.path, "at least one frame", "none");
    return most;
  }

  /** First position of each message, and the number of positions at the end. */
  #cut(limitBytes: number): number[] {
    const starts = [0];
    let bytes = 0;
    for (let position = 0; position < this.#positions; position++) {
      const positionBytes = this.#eventCount(position) * Uint32Array.BYTES_PER_ELEMENT;
      const frames = (position - starts.at(-1)!) * this.framesPerPosition;
      if ((bytes > 0 && bytes + positionBytes >= limitBytes) || frames >= mostFrames) {
        starts.push(position);
        bytes = 0;
      }
      bytes += positionBytes;
    }
    starts.push(this.#positions);
    return starts;
  }

  #read(from: number, to: number): { positions: Uint32Array; offsets: Uint32Array; events: Uint32Array } {
    const { framesPerPosition } = this;
    const { starts, order } = this.#entries;
    let eventCount = 0;
    for (let position = from; position < to; position++) eventCount += this.#eventCount(position);
    if (eventCount > 0xffffffff / Uint32Array.BYTES_PER_ELEMENT) {
      throw inconsistent(this.path, "less than 4 GiB of events in one message", `${eventCount} events`);
    }
    const events = new Uint32Array(eventCount);
    const positions = new Uint32Array((to - from) * framesPerPosition);
    const offsets = new Uint32Array(positions.length + 1);
    let at = 0;
    let frame = 0;
    for (let position = from; position < to; position++) {
      const inFile = this.#positionInFile(position);
      const first = starts[inFile]!;
      const entries = starts[inFile + 1]! - first;
      positions.fill(position, frame, frame + framesPerPosition);
      if (this.#split) {
        const end = entries === 0 ? at : this.#frames.copyEvents(order[first]!, events, at);
        splitByMultiplicity(events.subarray(at, end), framesPerPosition, offsets, frame, at);
        at = end;
        frame += framesPerPosition;
        continue;
      }
      for (let i = 0; i < framesPerPosition; i++) {
        if (i < entries) at = this.#frames.copyEvents(order[first + i]!, events, at);
        offsets[++frame] = at;
      }
    }
    return { positions, offsets, events };
  }

  /** Most often that any event is there in its frame; 1 where stempy would not take the file for version 1. */
  #highestMultiplicity({ entries, scanShape }: CountedLayout): number {
    if (entries > scanShape[0] * scanShape[1]) return 1;
    let scratch = new Uint32Array(0);
    let highest = 1;
    for (let position = 0; position < this.#positions; position++) {
      // A version 1 file lists its frames in scan order, whatever its scan positions say.
      const entry = this.#positionInFile(position);
      if (entry >= entries) break;
      const count = this.#frames.eventCount(entry);
      if (scratch.length < count) scratch = new Uint32Array(count * 2);
      this.#frames.copyEvents(entry, scratch, 0);
      highest = Math.max(highest, multiplicity(scratch.subarray(0, count).sort()));
    }
    return highest;
  }
}

/** Frames after which a message closes however few events they have: 200 MB of header. The peer has no such limit. */
const mostFrames = 2 ** 20;

/** What a damaged attribute may make us allocate for, at most: 512 MB. */
const mostPositions = 2 ** 27;

/** Which entries of the file belong to which scan position, in the order of the file. */
class EntryTable {
  /** First place in `order` of each position; one more than positions. */
  readonly starts: Uint32Array;
  readonly order: Uint32Array;

  constructor(path: string, layout: CountedLayout, inScanOrder: boolean) {
    const { version, entries, scanShape } = layout;
    const positionCount = scanShape[0] * scanShape[1];
    if (positionCount > mostPositions) {
      throw inconsistent(path, `at most ${mostPositions} scan positions`, scanShape.join(" x "));
    }
    if (version === 3) checkVersion3(path, layout);
    const framesPerPosition = version === 3 ? entries / positionCount : 1;
    const fromFile = version < 3 && !inScanOrder;
    if (fromFile) checkPositions(path, layout);
    const positionOf = (entry: number): number =>
      fromFile ? layout.scanPositions[entry]! : Math.floor(entry / framesPerPosition);

    this.starts = new Uint32Array(positionCount + 1);
    this.order = new Uint32Array(entries);
    for (let entry = 0; entry < entries; entry++) this.starts[positionOf(entry) + 1]!++;
    for (let position = 0; position < positionCount; position++) {
      this.starts[position + 1]! += this.starts[position]!;
    }
    const next = this.starts.slice();
    for (let entry = 0; entry < entries; entry++) this.order[next[positionOf(entry)]!++] = entry;
  }
}

/** Version 3 lists all frames of all positions in order; its scan positions are once 0, 1, 2, ... or once per frame. */
function checkVersion3(path: string, { entries, scanShape, scanPositions }: CountedLayout): void {
  const positionCount = scanShape[0] * scanShape[1];
  const framesPerPosition = entries / positionCount;
  if (entries === 0 || !Number.isInteger(framesPerPosition)) {
    const scan = `${scanShape.join(" x ")} scan positions`;
    throw inconsistent(path, `a multiple of ${positionCount} frames for ${scan}`, `${entries}`);
  }
  const repeats = scanPositions.length === entries ? framesPerPosition : 1;
  if (scanPositions.length !== positionCount * repeats) {
    throw inconsistent(
      path,
      `${positionCount} or ${entries} entries in scan_positions`,
      `${scanPositions.length}`,
    );
  }
  for (const [i, position] of scanPositions.entries()) {
    if (position !== Math.floor(i / repeats)) {
      const expected = `scan_positions[${i}] to be ${Math.floor(i / repeats)} in a file of version 3`;
      throw inconsistent(path, expected, `${position}`);
    }
  }
}

function checkPositions(path: string, { entries, scanShape, scanPositions }: CountedLayout): void {
  if (scanPositions.length !== entries) {
    throw inconsistent(path, `${entries} entries in scan_positions, one a frame`, `${scanPositions.length}`);
  }
  const positionCount = scanShape[0] * scanShape[1];
  for (const [i, position] of scanPositions.entries()) {
    if (!(position >= 0 && position < positionCount)) {
      const expected = `scan_positions[${i}] inside the scan of ${scanShape.join(" x ")} positions`;
      throw inconsistent(path, expected, `${position}`);
    }
  }
}

function multiplicity(sorted: Uint32Array): number {
  let highest = 0;
  for (let i = 0, run = 0; i < sorted.length; i++) {
    run = i > 0 && sorted[i] === sorted[i - 1] ? run + 1 : 1;
    if (run > highest) highest = run;
  }
  return highest;
}

/** Reorders events so that frame k holds, sorted, those that are there more than k times; writes where frames end. */
function splitByMultiplicity(
  events: Uint32Array,
  frames: number,
  offsets: Uint32Array,
  firstFrame: number,
  firstEvent: number,
): void {
  const sorted = events.slice().sort();
  let at = 0;
  for (let frame = 0; frame < frames; frame++) {
    for (let i = 0, run = 0; i < sorted.length; i++) {
      run = i > 0 && sorted[i] === sorted[i - 1] ? run + 1 : 0;
      if (run === frame) events[at++] = sorted[i]!;
    }
    offsets[firstFrame + frame + 1] = firstEvent + at;
  }
}

function openFile(path: string): number {
  try {
    return openSync(path, "r");
  } catch (cause) {
    const reason = cause instanceof Error && "code" in cause ? String(cause.code) : String(cause);
    throw unreadable(path, "a file that can be opened", reason, cause);
  }
}

function inconsistent(path: string, expected: string, got: string): FileError {
  return new FileError("STEMLINE_COUNTED_FILE_SCAN", `${path}: expected ${expected}, got ${got}`);
}
