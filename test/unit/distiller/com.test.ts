import { readdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { describe, expect, it } from "vitest";
import { Com, ComPartial } from "../../../src/distiller/com.ts";
import { readNpz, writeNpz } from "../../../src/distiller/npz.ts";
import { WireError } from "../../../src/errors.ts";
import { goldenBytes, goldenFolder, goldenJson, readNpyFile } from "./helpers.ts";

const folders = readdirSync(goldenFolder, { recursive: true, encoding: "utf8" })
  .filter((path) => path.endsWith("part2.npz"))
  .map(dirname);
const message = (folder: string) => ({
  meta: goldenBytes(join(folder, "part1.json")),
  data: goldenBytes(join(folder, "part2.npz")),
});
/** Partials whose frames disagree or lie outside the scan: refused, see frame-header.test.ts. */
const refused = /odd-(fractional|frame-shape|scan-shape)|dtype-mixed|position-/;
const partials = folders.filter((folder) => /batches.*partial/.test(folder));
const taken = partials.filter((folder) => !refused.test(folder));

describe("ComPartial", () => {
  it("has recorded messages of both kinds", () => {
    expect(taken.length).toBeGreaterThan(60);
    expect(partials.length).toBeGreaterThan(taken.length);
  });

  it("writes every recorded message again, byte for byte", () => {
    for (const folder of taken) {
      const recorded = message(folder);
      const partial = ComPartial.decode(recorded);
      const written = partial.encode();
      expect(partial.count).toBeNull();
      expect(recorded.data.equals(written.data), folder).toBe(true);
      // The batch's scan number is the only field that may differ from its frames'.
      if (!folder.includes("odd-batch-scan-number")) {
        expect(Buffer.from(written.meta).toString(), folder).toBe(recorded.meta.toString());
      }
    }
  });

  it.each(partials.filter((folder) => refused.test(folder)))("refuses %s", (folder) => {
    expect(() => ComPartial.decode(message(folder))).toThrow(WireError);
  });

  it("carries the counts", () => {
    const { batch, com } = ComPartial.decode(message(taken.find((folder) => folder.includes("tiny-2x3"))!));
    const count = Uint32Array.of(1, 2, 0, 3, 4, 0);
    const read = ComPartial.decode(new ComPartial(batch, com, count).encode());
    expect(read.count).toEqual(count);
    expect(read.com).toEqual(com);
    expect(read.batch.positions).toEqual(batch.positions);
  });

  it.each([
    ["no com", {}, /expected an array of shape \[2, 2, 3\], got none/],
    ["com of another scan", { com: { shape: [2, 3, 2], data: new Float32Array(12) } }, /got \[2, 3, 2\]/],
    ["com of integers", { com: { shape: [2, 2, 3], data: new Int32Array(12) } }, /expected floats, got <i4/],
    [
      "a count of another scan",
      {
        com: { shape: [2, 2, 3], data: new Float32Array(12) },
        count: { shape: [3, 2], data: new Uint32Array(6) },
      },
      /count: expected <u4 of shape \[2, 3\], got <u4 of shape \[3, 2\]/,
    ],
  ])("refuses %s", (_, arrays, expected) => {
    const { meta } = message(taken.find((folder) => folder.includes("tiny-2x3"))!);
    expect(() => ComPartial.decode({ meta, data: writeNpz(arrays) })).toThrow(expected);
  });

  it("takes float64 values", () => {
    const { meta } = message(taken.find((folder) => folder.includes("tiny-2x3"))!);
    const data = writeNpz({
      com: { shape: [2, 2, 3], data: Float64Array.from({ length: 12 }, (_, i) => i / 4) },
    });
    expect(ComPartial.decode({ meta, data }).com).toEqual(Float32Array.from({ length: 12 }, (_, i) => i / 4));
  });

  it("refuses meta that is not JSON", () => {
    expect(() => ComPartial.decode({ meta: Buffer.from([0x86, 0xff]), data: new Uint8Array(0) })).toThrow(
      /expected meta as JSON/,
    );
  });
});

describe("Com", () => {
  interface ReduceCase {
    readonly steps: { readonly out: string | null }[];
  }
  const outputs = goldenJson<{ name: string }[]>("reduce/index.json").flatMap(({ name }) =>
    goldenJson<ReduceCase>(`reduce/${name}/case.json`).steps.flatMap(({ out }) =>
      typeof out === "string" ? [`reduce/${name}/${out}`] : [],
    ),
  );

  it("has recorded messages", () => expect(outputs.length).toBeGreaterThan(20));

  it("writes every recorded message again, byte for byte", () => {
    for (const folder of outputs) {
      const recorded = message(folder);
      const com = Com.decode(recorded);
      expect([...com.com], folder).toEqual(readNpyFile(goldenBytes(join(folder, "com.npy"))).data);
      const written = com.encode();
      expect(recorded.data.equals(written.data), folder).toBe(true);
      expect(Buffer.from(written.meta).toString(), folder).toBe(recorded.meta.toString());
    }
  });

  it("is written with an empty map of headers unless given one", () => {
    const com = new Com({
      scanNumber: 5,
      scanShape: [1, 2],
      frameShape: [3, 4],
      com: Float32Array.of(1, 2, 3, 4),
    });
    const { meta, data } = com.encode();
    expect(Buffer.from(meta).toString()).toBe(
      '{"scan_number":5,"scan_shape":[1,2],"frame_shape":[3,4],"headers":{}}',
    );
    expect(readNpz(data).com?.shape).toEqual([2, 1, 2]);
  });

  it.each([
    ["no scan shape", { scan_number: 1, frame_shape: [4, 4] }, /scan_shape/],
    ["a scan shape of one axis", { scan_number: 1, scan_shape: [4], frame_shape: [4, 4] }, /scan_shape/],
    ["a scan number of text", { scan_number: "1", scan_shape: [1, 1], frame_shape: [4, 4] }, /scan_number/],
  ])("refuses %s", (_, meta, expected) => {
    const data = writeNpz({ com: { shape: [2, 1, 1], data: new Float32Array(2) } });
    expect(() => Com.decode({ meta, data })).toThrow(expected);
  });

  it("refuses an array that does not fit the scan", () => {
    expect(
      () => new Com({ scanNumber: 1, scanShape: [2, 2], frameShape: [3, 4], com: new Float32Array(4) }),
    ).toThrow(/expected 8 values for the scan, got 4/);
  });

  describe("with counts", () => {
    const scanShape = [2, 3] as const;
    const frameShape = [4, 2] as const;
    const meta = { scan_number: 1, scan_shape: scanShape, frame_shape: frameShape };
    const com = { shape: [2, 2, 3], data: new Float32Array(12) };
    const wide = (length: number, of: (i: number) => bigint) => {
      return BigUint64Array.from(Array.from({ length }, (_, i) => of(i)));
    };

    it("reads those of the scan's and of the frames' shape, exactly below 2^53", () => {
      const largest = 2n ** 53n - 1n;
      const data = writeNpz({
        com,
        pattern: { shape: [4, 2], data: wide(8, (i) => largest - BigInt(i)) },
        bright_field: { shape: [2, 3], data: wide(6, (i) => 2n ** BigInt(8 * i)) },
        narrow: { shape: [2, 3], data: Uint32Array.of(0, 1, 2, 3, 4, 0xffff_ffff) },
      });
      const { counts } = Com.decode({ meta, data });
      expect(Object.keys(counts)).toEqual(["pattern", "bright_field", "narrow"]);
      expect(counts.pattern).toEqual({
        shape: [4, 2],
        values: Float64Array.from({ length: 8 }, (_, i) => Number(largest) - i),
      });
      expect([...counts.bright_field!.values]).toEqual([1, 2 ** 8, 2 ** 16, 2 ** 24, 2 ** 32, 2 ** 40]);
      expect([...counts.narrow!.values]).toEqual([0, 1, 2, 3, 4, 0xffff_ffff]);
    });

    it("passes over arrays of other types and shapes, and over files that are no arrays", () => {
      const data = writeNpz({
        com,
        floats: { shape: [2, 3], data: new Float64Array(6) },
        signed: { shape: [2, 3], data: new BigInt64Array(6) },
        flat: { shape: [6], data: new Uint32Array(6) },
        turned: { shape: [3, 2], data: new Uint32Array(6) },
      });
      expect(Com.decode({ meta, data }).counts).toEqual({});
    });

    it("has none in the peer's messages", () => {
      for (const folder of outputs) expect(Com.decode(message(folder)).counts, folder).toEqual({});
    });

    it("writes them behind the map and reads them again", () => {
      const counts = {
        events: { shape: scanShape, values: Float64Array.of(0, 1, 2, 3, 4, 2 ** 53 - 1) },
        pattern: { shape: frameShape, values: Float64Array.from({ length: 8 }, (_, i) => i) },
      };
      const written = new Com({ scanNumber: 1, scanShape, frameShape, com: com.data, counts }).encode();
      expect(Object.entries(readNpz(written.data)).map(([name, { dtype }]) => [name, dtype])).toEqual([
        ["com", "<f4"],
        ["events", "<u8"],
        ["pattern", "<u8"],
      ]);
      expect(Com.decode(written).counts).toEqual(counts);
    });

    it("refuses values that do not fit their shape, by name", () => {
      const counts = { events: { shape: scanShape, values: new Float64Array(5) } };
      expect(() => new Com({ scanNumber: 1, scanShape, frameShape, com: com.data, counts })).toThrow(
        /array events: expected 6 values for its shape, got 5/,
      );
    });
  });
});
