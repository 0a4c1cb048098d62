import { existsSync, statSync } from "node:fs";
import { join } from "node:path";
import { Dataset, File as Hdf5File, ready } from "h5wasm/node";
import { describe, expect, it } from "vitest";
import { CountedFile } from "../../../src/distiller/counted-file.ts";
import { CountedFileWriter } from "../../../src/distiller/counted-file-writer.ts";
import { framesOf, temporaryFolder } from "./helpers.ts";

const folder = temporaryFolder();
const path = join(folder, "written.h5");

/** Frames with lengths that fill, cross and exceed a heap collection of 64 KiB. */
const lengths = [0, 1, 2, 3, 16374, 1, 0, 16376, 5, 70000, 7, 4000, 4000, 4000, 4000, 4000, 0, 9];
const frames = lengths.map((length, i) =>
  Uint32Array.from({ length }, (_, k) => (k * 7919 + i * 31) % (576 * 576)),
);

async function readByLibrary(): Promise<{
  frames: unknown;
  positions: unknown;
  dataset: Dataset;
  file: Hdf5File;
}> {
  await ready;
  const file = new Hdf5File(path, "r");
  const dataset = file.get("electron_events/frames");
  const scan = file.get("electron_events/scan_positions");
  if (!(dataset instanceof Dataset && scan instanceof Dataset)) throw new Error("datasets are missing");
  return { frames: dataset.value, positions: scan.value, dataset, file };
}

function writeFrames(chunk: number): void {
  const writer = new CountedFileWriter({
    path,
    scanShape: [3, 3],
    frameShape: [576, 577],
    framesPerPosition: 2,
  });
  for (let first = 0; first < frames.length; first += chunk) {
    const part = frames.slice(first, first + chunk);
    writer.append(
      Uint32Array.from(part.flatMap((events) => [...events])),
      Uint32Array.from(part, ({ length }) => length),
    );
  }
  writer.close();
}

describe("CountedFileWriter", () => {
  it.each([1, 5, 18])("is read by the HDF5 library, written %i frames at a time", async (chunk) => {
    writeFrames(chunk);
    const { frames: read, positions, dataset, file } = await readByLibrary();
    expect(read).toEqual(frames);
    expect(positions).toEqual(BigInt64Array.from({ length: 9 }, (_, i) => BigInt(i)));
    expect(file.attrs.version?.value).toBe(3n);
    expect(file.keys()).toEqual(["electron_events", "metadata"]);
    expect(dataset.attrs.Nx?.value).toBe(576n);
    expect(dataset.attrs.Ny?.value).toBe(577n);
    const scan = file.get("electron_events/scan_positions") as Dataset;
    expect([scan.attrs.Nx?.value, scan.attrs.Ny?.value]).toEqual([3n, 3n]);
    file.close();
  });

  it("is read by our reader", async () => {
    writeFrames(4);
    const file = await CountedFile.open(path);
    const read = [...file.batches({ scanNumber: 1 })].flatMap(framesOf);
    expect(read).toEqual(frames.map((events) => [...events]));
    file.close();
  });

  it("holds many short frames, more than one collection can number", async () => {
    const count = 70000;
    const writer = new CountedFileWriter({ path, scanShape: [700, 100], frameShape: [64, 64] });
    writer.append(
      Uint32Array.from({ length: count }, (_, i) => i % 4096),
      new Uint32Array(count).fill(1),
    );
    writer.close();
    const file = await CountedFile.open(path);
    const read = [...file.batches({ scanNumber: 1 })].flatMap(framesOf);
    expect(read).toHaveLength(count);
    expect(read.every((events, i) => events.length === 1 && events[0] === i % 4096)).toBe(true);
    file.close();
  });

  it.each([1, 2] as const)("writes version %i", async (version) => {
    const scanPositions = Uint32Array.of(3, 0, 2, 1);
    const writer = new CountedFileWriter({
      path,
      scanShape: [2, 2],
      frameShape: [4, 4],
      version,
      scanPositions,
    });
    writer.append(Uint32Array.of(1, 2, 3), Uint32Array.of(1, 0, 1, 1));
    writer.close();
    const { frames: read, positions, file } = await readByLibrary();
    expect(read).toEqual([[1], [], [2], [3]].map((events) => Uint32Array.from(events)));
    expect(positions).toEqual(BigInt64Array.from([3n, 0n, 2n, 1n]));
    expect(file.attrs.version?.value).toBe(BigInt(version));
    file.close();
  });

  it("refuses to close before all frames are there, and leaves nothing behind", () => {
    const writer = new CountedFileWriter({ path, scanShape: [2, 2], frameShape: [4, 4] });
    writer.append(Uint32Array.of(1), Uint32Array.of(1));
    expect(() => writer.close()).toThrow(/expected 4 frames before closing, got 1/);
    expect(existsSync(path)).toBe(false);
  });

  it("is no HDF5 file before it is closed", async () => {
    const writer = new CountedFileWriter({ path, scanShape: [1, 1], frameShape: [4, 4] });
    writer.append(Uint32Array.of(1), Uint32Array.of(1));
    expect(statSync(path).size).toBeGreaterThan(96);
    await expect(CountedFile.open(path)).rejects.toMatchObject({ code: "STEMLINE_COUNTED_FILE_NOT_HDF5" });
    writer.close();
    (await CountedFile.open(path)).close();
  });

  it("refuses frames beyond the scan, and counts that do not add up", () => {
    const writer = new CountedFileWriter({ path, scanShape: [1, 1], frameShape: [4, 4] });
    expect(() => writer.append(Uint32Array.of(1, 2), Uint32Array.of(1, 1))).toThrow(/at most 1, got 2/);
    expect(() => writer.append(Uint32Array.of(1, 2), Uint32Array.of(1))).toThrow(/expected 1 .* got 2/);
    writer.discard();
  });

  it("refuses shapes and options that make no file", () => {
    const options = { path, scanShape: [2, 2], frameShape: [4, 4] } as const;
    expect(() => new CountedFileWriter({ ...options, scanShape: [0, 2] })).toThrow(RangeError);
    expect(() => new CountedFileWriter({ ...options, version: 2 })).toThrow(RangeError);
    expect(() => new CountedFileWriter({ ...options, scanPositions: Uint32Array.of(0) })).toThrow(RangeError);
    expect(
      () => new CountedFileWriter({ ...options, path: join(folder, "no", "such", "folder.h5") }),
    ).toThrow(expect.objectContaining({ code: "STEMLINE_COUNTED_FILE_WRITE" }));
  });
});
