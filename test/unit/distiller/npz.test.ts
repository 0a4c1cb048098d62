import { readdirSync } from "node:fs";
import { crc32, deflateRawSync } from "node:zlib";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type NpzData, readNpz, writeNpz } from "../../../src/distiller/npz.ts";
import { WireError } from "../../../src/errors.ts";
import { goldenBytes, goldenFolder, goldenJson } from "./helpers.ts";

interface AcceptCase {
  readonly name: string;
  readonly file: string;
  readonly ok: boolean;
  readonly shape?: number[];
  readonly dtype?: string;
  readonly first?: number[];
}

interface Layout {
  readonly total_bytes: number;
  readonly hex_if_small: string | null;
}

/** What the peer's reader does: open the archive, take the member `com`. */
function readCom(bytes: Uint8Array) {
  const { com } = readNpz(bytes);
  if (com === undefined) throw new WireError("TEST_NO_COM", "no com");
  return com;
}

describe("readNpz", () => {
  const cases = goldenJson<AcceptCase[]>("npz/accept.json");

  it.each(cases.filter(({ ok }) => ok))("takes $name as the peer does", ({ file, shape, dtype, first }) => {
    const com = readCom(goldenBytes(`npz/${file}`));
    expect(com.shape).toEqual(shape);
    expect(com.dtype).toBe(dtype?.replace(">", "<"));
    expect(com.data).toHaveLength(12);
    expect([...com.data].map(Number)).toEqual(Array.from({ length: 12 }, (_, i) => i));
    expect([...com.data].slice(0, 3)).toEqual(first);
  });

  it.each(cases.filter(({ ok }) => !ok))("refuses $name as the peer does", ({ file }) => {
    expect(() => readCom(goldenBytes(`npz/${file}`))).toThrow(WireError);
  });

  it("gives arrays that do not share memory with the archive", () => {
    const bytes = goldenBytes("npz/accept/plain.npz");
    const com = readCom(bytes);
    bytes.fill(0xff);
    expect([...com.data]).toEqual(Array.from({ length: 12 }, (_, i) => i));
  });

  it("does not look at members that were not asked for", () => {
    const strange = npy("{'descr': '<U3', 'fortran_order': False, 'shape': (1,), }", Buffer.alloc(12));
    const archive = zip([
      ["names.npy", strange],
      ["com.npy", npy(header("<f4", "(1,)"), Buffer.from(Float32Array.of(2.5).buffer))],
    ]);
    expect(() => readNpz(archive)).toThrow(/names\.npy/);
    expect(Object.keys(readNpz(archive, ["com", "count"]))).toEqual(["com"]);
  });

  it.each(["plain", "zip64", "deflated"])("refuses %s cut off anywhere", (name) => {
    const bytes = goldenBytes(`npz/accept/${name}.npz`);
    for (let length = 0; length < bytes.length; length++) {
      expect(() => readCom(bytes.subarray(0, length)), `${length} bytes`).toThrow(WireError);
    }
  });

  it.each(["plain", "zip64", "deflated"])(
    "never fails otherwise than with a WireError on damaged %s",
    (name) => {
      const original = readCom(goldenBytes(`npz/accept/${name}.npz`));
      const bytes = goldenBytes(`npz/accept/${name}.npz`);
      let refused = 0;
      for (let bit = 0; bit < bytes.length * 8; bit++) {
        bytes[bit >> 3]! ^= 1 << (bit & 7);
        try {
          expect(readCom(bytes), `bit ${bit}`).toEqual(original);
        } catch (error) {
          if (!(error instanceof WireError)) throw error;
          refused++;
        }
        bytes[bit >> 3]! ^= 1 << (bit & 7);
      }
      // Dates, versions and the like may be anything; sizes, checksums and contents may not.
      expect(refused).toBeGreaterThan(original.data.length * 4 * 8);
    },
  );

  it.each([
    ["a shape larger than the data", header("<f4", "(4,)"), 12],
    ["a shape beyond any buffer", header("<f4", "(4294967296, 4294967296, 4294967296)"), 12],
    ["a shape that multiplies to not a number", header("<f4", `(0, ${"9".repeat(400)})`), 12],
    ["a negative axis", header("<f4", "(-1,)"), 12],
    ["a number for the shape", header("<f4", "(3)"), 12],
    ["a structured type", "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (3,), }", 12],
    ["float16", header("<f2", "(3,)"), 12],
    ["Python objects", header("|O", "(1,)"), 12],
    ["no order", "{'descr': '<f4', 'shape': (3,), }", 12],
    ["an extra key", "{'descr': '<f4', 'fortran_order': False, 'shape': (3,), 'x': True, }", 12],
    ["text that is not a dictionary", "descr <f4", 12],
  ])("refuses %s", (_, text, dataBytes) => {
    expect(() => readNpz(zip([["com.npy", npy(text, Buffer.alloc(dataBytes))]]))).toThrow(WireError);
  });

  it("refuses deflated data that says it is larger than it can be, without making room for it", () => {
    const content = deflateRawSync(Buffer.alloc(100));
    const archive = zip([["com.npy", content]], { method: 8, bytes: 0xfffffff0 });
    expect(() => readNpz(archive)).toThrow(/cannot hold 4294967280/);
  });

  it("reads what is chosen by name, type and shape, and nothing else of the archive", () => {
    const text = "{'descr': '<f2', 'fortran_order': False, 'shape': (3,), }";
    const archive = zip([
      [
        "com.npy",
        npy(
          "{'descr': '>u4', 'fortran_order': False, 'shape': (1, 2), }",
          Buffer.from([0, 0, 0, 1, 0, 0, 1, 0]),
        ),
      ],
      ["half.npy", npy(text, Buffer.alloc(6))],
      [
        "table.npy",
        npy("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (3,), }", Buffer.alloc(12)),
      ],
      ["notes.txt", Buffer.from("not an array")],
    ]);
    const seen: unknown[] = [];
    const arrays = readNpz(archive, (member) => {
      seen.push(member);
      return member.dtype === "<u4";
    });
    expect(seen).toEqual([
      { name: "com", dtype: "<u4", shape: [1, 2] },
      { name: "half", dtype: "<f2", shape: [3] },
      { name: "table", dtype: "", shape: [] },
      { name: "notes.txt", dtype: "", shape: [] },
    ]);
    expect(Object.keys(arrays)).toEqual(["com"]);
    expect([...arrays.com!.data]).toEqual([1, 256]);
    expect(() => readNpz(archive, ({ name }) => name === "table")).toThrow(WireError);
  });

  it("turns Fortran order around for three axes of different lengths", () => {
    // Element (i, j, k) of shape (2, 3, 4) is 100 i + 10 j + k, stored with i fastest.
    const values = new Int16Array(24);
    for (let k = 0; k < 4; k++)
      for (let j = 0; j < 3; j++)
        for (let i = 0; i < 2; i++) values[i + 2 * (j + 3 * k)] = 100 * i + 10 * j + k;
    const text = "{'descr': '<i2', 'fortran_order': True, 'shape': (2, 3, 4), }";
    const { com } = readNpz(zip([["com.npy", npy(text, Buffer.from(values.buffer))]]));
    const expected = [];
    for (let i = 0; i < 2; i++)
      for (let j = 0; j < 3; j++) for (let k = 0; k < 4; k++) expected.push(100 * i + 10 * j + k);
    expect([...(com?.data ?? [])]).toEqual(expected);
  });
});

describe("writeNpz", () => {
  const partials = readdirSync(goldenFolder, { recursive: true, encoding: "utf8" }).filter(
    (path) => path.endsWith(".npz") && !path.startsWith("npz"),
  );

  it("has recorded archives to compare with", () => {
    expect(partials.length).toBe(200);
  });

  it("writes every recorded archive again, byte for byte", () => {
    for (const path of partials) {
      const recorded = goldenBytes(path);
      expect(writeNpz(readNpz(recorded)).equals(recorded), path).toBe(true);
    }
  });

  it.each(Object.entries(goldenJson<Record<string, Layout>>("npz/layout.json")))(
    "writes %s as recorded",
    (name, { total_bytes, hex_if_small }) => {
      const shape = name.replace("com-", "").split("x").map(Number);
      const count = shape.reduce((a, b) => a * b);
      // The recorded values: 0, 1, 2, ... in 2x2x3, NaN in 2x1x1.
      const data = Float32Array.from({ length: count }, (_, i) => (count === 2 ? Number.NaN : i));
      const bytes = writeNpz({ com: { shape, data } });
      expect(bytes).toHaveLength(total_bytes);
      if (hex_if_small !== null) expect(bytes.toString("hex")).toBe(hex_if_small);
    },
  );

  it("is read back whatever the types and shapes", () => {
    const types: ((length: number) => NpzData)[] = [
      (n) => Int8Array.from({ length: n }, (_, i) => -i),
      (n) => Uint8Array.from({ length: n }, (_, i) => i),
      (n) => Int16Array.from({ length: n }, (_, i) => -300 * i),
      (n) => Uint16Array.from({ length: n }, (_, i) => 300 * i),
      (n) => Int32Array.from({ length: n }, (_, i) => -70000 * i),
      (n) => Uint32Array.from({ length: n }, (_, i) => 70000 * i),
      (n) => BigInt64Array.from({ length: n }, (_, i) => -(2n ** 40n) * BigInt(i)),
      (n) => BigUint64Array.from({ length: n }, (_, i) => 2n ** 63n + BigInt(i)),
      (n) => Float32Array.from({ length: n }, (_, i) => i / 3),
      (n) => Float64Array.from({ length: n }, (_, i) => i / 3),
    ];
    const shape = fc.array(fc.integer({ min: 0, max: 4 }), { maxLength: 4 });
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.constantFrom(...types), shape), { maxLength: 5 }), (members) => {
        const arrays: Record<string, { shape: number[]; data: NpzData }> = {};
        for (const [i, [make, axes]] of members.entries()) {
          arrays[`array${i}`] = { shape: axes, data: make(axes.reduce((a, b) => a * b, 1)) };
        }
        const read = readNpz(writeNpz(arrays));
        expect(Object.keys(read)).toEqual(Object.keys(arrays));
        for (const [name, { shape, data }] of Object.entries(arrays)) {
          expect(read[name]?.shape).toEqual(shape);
          expect(read[name]?.data).toEqual(data);
        }
      }),
    );
  });

  it("refuses an array that does not fill its shape", () => {
    expect(() => writeNpz({ com: { shape: [2, 3], data: new Float32Array(5) } })).toThrow(
      /com: expected 6 elements for shape \[2, 3\], got 5/,
    );
  });
});

function header(descr: string, shape: string): string {
  return `{'descr': '${descr}', 'fortran_order': False, 'shape': ${shape}, }`;
}

function npy(text: string, data: Buffer): Buffer {
  const head = Buffer.from(`\x93NUMPY\x01\x00..${text}\n`, "latin1");
  head.writeUInt16LE(text.length + 1, 8);
  return Buffer.concat([head, data]);
}

/** A plain zip archive, not as numpy writes it: no zip64, one member after the other. */
function zip(members: readonly (readonly [string, Buffer])[], { method = 0, bytes = -1 } = {}): Buffer {
  const out: Buffer[] = [];
  const directory: Buffer[] = [];
  let at = 0;
  for (const [name, content] of members) {
    const common = Buffer.alloc(26);
    common.writeUInt16LE(20, 0);
    common.writeUInt16LE(method, 4);
    common.writeUInt32LE(crc32(content), 10);
    common.writeUInt32LE(content.length, 14);
    common.writeUInt32LE(bytes === -1 ? content.length : bytes, 18);
    common.writeUInt16LE(name.length, 22);
    const offset = Buffer.alloc(14);
    offset.writeUInt32LE(at, 10);
    directory.push(Buffer.from("PK\x01\x02\x14\x00"), common, offset, Buffer.from(name));
    const local = Buffer.concat([Buffer.from("PK\x03\x04"), common, Buffer.from(name), content]);
    out.push(local);
    at += local.length;
  }
  const size = directory.reduce((sum, { length }) => sum + length, 0);
  const end = Buffer.alloc(22);
  end.write("PK\x05\x06", "latin1");
  end.writeUInt16LE(members.length, 8);
  end.writeUInt16LE(members.length, 10);
  end.writeUInt32LE(size, 12);
  end.writeUInt32LE(at, 16);
  return Buffer.concat([...out, ...directory, end]);
}
