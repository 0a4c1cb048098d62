import { readFileSync } from "node:fs";
import { decode, encode } from "@msgpack/msgpack";
import { describe, expect, it } from "vitest";
import { writeNpz } from "../../../src/distiller/npz.ts";
import type { BatchResult } from "../../../src/native/addon.ts";
import {
  type CenterOfMassPartialOptions,
  ComReducer,
  centerOfMassPartial,
  decodeBatch,
} from "../../../src/native/kernels.ts";
import { batchBackends } from "./batch-backends.ts";
import * as differences from "./deliberate-differences.ts";
import {
  type BatchCase,
  batchNames,
  fromHex,
  goldenBytes,
  goldenJson,
  npyData,
  optionsOf,
  optionsOfParameters,
  readBatchCase,
  readSyntheticCase,
} from "./golden-cases.ts";
import { batchMessage, randomFrames, shuffled, type TestFrame } from "./messages.ts";
import { msgpackToJson } from "./msgpack-to-json.ts";
import { centerOfMassOracle } from "./oracle.ts";
import { bytesOf, npzBytes, npzShape, outcomeOf } from "./results.ts";

const cases = [...batchNames.map(readBatchCase), readSyntheticCase()];
const ran = new Set<string>();

/** What the oracle says, once for all backends. */
const oracleResults = new Map<string, ReturnType<typeof centerOfMassOracle>>();
function oracle(batch: BatchCase, options: CenterOfMassPartialOptions) {
  const key = JSON.stringify([batch.folder, options]);
  const known = oracleResults.get(key) ?? centerOfMassOracle(batch.message, options);
  oracleResults.set(key, known);
  return known;
}

describe.each(batchBackends())("centerOfMassPartial on $name", ({ name: backend, supported }) => {
  describe.skipIf(!supported)("recorded batches", () => {
    it.each(cases.map((batch) => [batch.recorded.name, batch] as const))("%s", async (name, batch) => {
      const { recorded, message, folder } = batch;
      const row = differences.batchDifferences[name];
      const run = (options: CenterOfMassPartialOptions) =>
        outcomeOf(() => centerOfMassPartial(message, { ...options, backend }));
      let rowApplied = 0;

      const check = async (
        what: string,
        form: string,
        options: CenterOfMassPartialOptions,
        isPeers: (ours: BatchResult) => boolean,
        peerFailed: boolean,
      ) => {
        const ours = await run(options);
        if ("code" in ours) {
          if (peerFailed) return;
          expect(row?.ours, `${what}: refused with ${ours.message}, the peer accepts it`).toBe(ours.code);
          rowApplied++;
          return;
        }
        const expected = oracle(batch, options);
        expect(npzShape(ours.data, "com"), what).toEqual([2, expected.rows, expected.columns]);
        expect(npzShape(ours.data, "count"), what).toEqual([expected.rows, expected.columns]);
        expect(npzBytes(ours.data, "com").equals(bytesOf(expected.com)), `${what}: com as defined`).toBe(
          true,
        );
        expect(npzBytes(ours.data, "count").equals(bytesOf(expected.count)), `${what}: count`).toBe(true);
        expect(ours).toMatchObject({ backend, frames: recorded.n_frames ?? ours.frames, droppedFrames: 0 });
        if (!peerFailed && isPeers(ours)) return;
        if (form in differences.cropFormDifferences) return;
        expect(row?.ours, `${what}: ${peerFailed ? "the peer refuses it" : "not as the peer's"}`).toBe(
          "result",
        );
        rowApplied++;
      };

      for (const entry of recorded.com ?? []) {
        const crop = entry.crop_to === null ? "none" : typeof entry.crop_to === "number" ? "number" : "pair";
        await check(
          JSON.stringify({ ...entry, error: entry.error?.type }),
          `${entry.kernel} ${crop}`,
          optionsOf(entry),
          (ours) => npzBytes(ours.data, "com").equals(npyData(goldenBytes(`${folder}com/${entry.npy}`))),
          entry.error !== undefined,
        );
      }
      for (const entry of recorded.partial ?? []) {
        const options = optionsOfParameters(entry);
        await check(
          JSON.stringify({ ...entry, error: entry.error?.type }),
          `${entry.kernel} ${options.cropTo === undefined ? "none" : "pair"}`,
          options,
          (ours) => {
            const meta = goldenBytes(`${folder}${entry.message}/part1.json`);
            expect(meta.equals(ours.meta), "header as JSON").toBe(true);
            // The archives are the same up to the end of com; ours goes on with count.
            const archive = goldenBytes(`${folder}${entry.message}/part2.npz`);
            const com = npzBytes(archive, "com");
            const end = archive.indexOf(com) + com.length;
            return archive.subarray(0, end).equals(ours.data.subarray(0, end));
          },
          entry.error !== undefined,
        );
      }
      if (recorded.decode_error !== null) {
        expect(await run({})).toMatchObject({ code: expect.stringMatching(/^STEMLINE_BATCH_/) });
      } else {
        expect(recorded.com).not.toEqual([]);
      }
      if (row !== undefined) {
        expect(rowApplied, "a row of the table of differences is no difference").toBeGreaterThan(0);
        const ours = await run({});
        expect("code" in ours ? ours.code : "result").toBe(row.ours);
      }
      ran.add(backend);
    });

    const nonSquare = cases.filter(
      ({ recorded }) => recorded.definitional_row_major_no_crop_npy !== undefined,
    );
    it.each(nonSquare.map((batch) => [batch.recorded.name, batch] as const))(
      "%s: rows and columns are those of the row-major frame",
      async (_name, { message, folder, recorded }) => {
        const { data } = await centerOfMassPartial(message, { backend });
        const file = goldenBytes(`${folder}com/${recorded.definitional_row_major_no_crop_npy}`);
        expect(npzBytes(data, "com").equals(npyData(file))).toBe(true);
      },
    );
  });
});

const tinyScan = { scanNumber: 1, scanShape: [1, 2], frameShape: [4, 4] } as const;

const bad = {
  "an event just outside the detector": { position: 2, events: Uint32Array.of(5, 16 * 24, 7) },
  "the largest event index": { position: 2, events: Uint32Array.of(0xffff_ffff) },
  "a scan row just outside the scan": { position: 5 * 7, events: Uint32Array.of(1) },
  "an empty frame outside the scan": { position: 5 * 7 + 1, events: Uint32Array.of() },
} satisfies Record<string, TestFrame>;

const seed = 20260301;
const scan = { scanNumber: 9, scanShape: [5, 7], frameShape: [16, 24] } as const;
const good = shuffled(randomFrames({ ...scan, seed, framesPerPosition: 2, maxEvents: 40 }), seed);

describe.each(batchBackends())("invalid frames on $name", ({ name: backend, supported }) => {
  describe.skipIf(!supported)(`seed ${seed}`, () => {
    const at = 11;
    const expected = centerOfMassOracle(batchMessage(scan, good));

    it.each(Object.entries(bad))("%s: refused, with the frame's number, or dropped", async (_what, frame) => {
      const message = batchMessage(scan, good.toSpliced(at, 0, frame));
      const code = frame.position < 35 ? "STEMLINE_BATCH_EVENT_INDEX" : "STEMLINE_BATCH_SCAN_POSITION";
      const refused = await outcomeOf(() => centerOfMassPartial(message, { backend }));
      expect(refused).toMatchObject({ code, message: expect.stringContaining(`frame ${at}:`) });

      const dropped = await centerOfMassPartial(message, { backend, invalidFrames: "drop" });
      const events = good.reduce((sum, other) => sum + other.events.length, 0);
      expect(dropped).toMatchObject({ frames: good.length + 1, events, droppedFrames: 1 });
      expect(dropped.droppedReason).toContain(`frame ${at}:`);
      expect(npzBytes(dropped.data, "com").equals(bytesOf(expected.com))).toBe(true);
      expect(npzBytes(dropped.data, "count").equals(bytesOf(expected.count))).toBe(true);
      const { headers, batch_size_bytes } = JSON.parse(Buffer.from(dropped.meta).toString());
      expect(headers.length).toBe(good.length);
      expect(batch_size_bytes).toBe(4 * events);
      expect(headers.every(({ frame_number }: { frame_number: number }) => frame_number !== at)).toBe(true);
    });

    it("drops all frames of a message that has no good one", async () => {
      const message = batchMessage(scan, Object.values(bad));
      const dropped = await centerOfMassPartial(message, { backend, invalidFrames: "drop" });
      expect(dropped).toMatchObject({ frames: 4, events: 0, droppedFrames: 4 });
      const com = new Float32Array(70).fill(Number.NaN);
      expect(npzBytes(dropped.data, "com").equals(bytesOf(com))).toBe(true);
    });

    it.each([0.5, 3.25, -1, Number.NaN, Number.POSITIVE_INFINITY, 16, 2 ** 32])(
      "float event %s is no index of a 4 x 4 detector",
      async (event) => {
        const { headers, ...rest } = decode(
          batchMessage(tinyScan, [{ position: 0, events: Uint32Array.of(0, 0) }]).meta,
        ) as {
          headers: object[];
        };
        for (const [dtype, data] of [
          ["float32", Float32Array.of(15, event)],
          ["float64", Float64Array.of(15, event)],
        ] as const) {
          const size = data.byteLength;
          const frame = { ...headers[0], dtype, data_size_bytes: size };
          const meta = encode({ ...rest, headers: [frame], batch_size_bytes: size });
          const ours = await outcomeOf(() => centerOfMassPartial({ meta, data: bytesOf(data) }, { backend }));
          expect(ours).toMatchObject({
            code: "STEMLINE_BATCH_EVENT_INDEX",
            message: expect.stringContaining("event 1 is"),
          });
        }
      },
    );
  });
});

describe("the recorded batches", () => {
  it("ran on at least one backend", () => {
    const skipped = batchBackends().filter(({ supported }) => !supported);
    if (skipped.length > 0) console.log(`skipped backends: ${skipped.map(({ name }) => name).join(", ")}`);
    expect([...ran].sort()).toEqual(
      batchBackends()
        .filter(({ supported }) => supported)
        .map(({ name }) => name)
        .sort(),
    );
    expect(ran.size).toBeGreaterThan(0);
  });

  it("are all there, non-square ones with their definition", () => {
    expect(cases.length).toBe(59);
    expect(
      cases.filter(({ recorded }) => recorded.definitional_row_major_no_crop_npy !== undefined).length,
    ).toBe(6);
  });

  it.each(Object.keys(differences.cropFormDifferences))("%s: the peer cannot take it", (form) => {
    const entries = cases
      .filter(({ recorded, message }) => recorded.name !== "synthetic-128" && message.data.length > 8)
      .flatMap(({ recorded }) => recorded.com ?? [])
      .filter((entry) => `${entry.kernel} ${typeof entry.crop_to === "number" ? "number" : "pair"}` === form)
      .filter((entry) => entry.crop_to !== null);
    expect(entries).not.toEqual([]);
    expect(entries.filter((entry) => entry.error === undefined)).toEqual([]);
  });
});

interface HeaderCase {
  readonly name: string;
  readonly msgpack_hex: string;
  readonly json: HeaderDecision;
  readonly msgpack: HeaderDecision;
}

interface HeaderDecision {
  readonly ok: boolean;
  readonly value?: RecordedHeader;
}

interface RecordedHeader {
  readonly scan_number: number;
  readonly headers: readonly {
    readonly nSTEM_positions_per_row_m1: number;
    readonly nSTEM_rows_m1: number;
    readonly STEM_x_position_in_row: number;
    readonly STEM_row_in_scan: number;
    readonly frame_shape: readonly [number, number];
    readonly data_size_bytes: number;
    readonly dtype: string;
  }[];
  readonly total_batches: number | null;
  readonly total_frames: number | null;
  readonly current_batch_index: number | null;
}

describe("recorded headers", () => {
  /** The code that the table has for a header that the peer accepts. */
  const expectedCode = (name: string) => differences.headerDifferences[name]?.ours;

  const decoded = goldenJson<HeaderCase[]>("msgpack/decode.json");

  it.each(decoded.map((entry) => [entry.name, entry] as const))("MessagePack: %s", async (name, entry) => {
    const { ok, value } = entry.msgpack;
    const size = value?.headers.reduce((sum, { data_size_bytes }) => sum + data_size_bytes, 0) ?? 8;
    const ours = await outcomeOf(() => decodeBatch(fromHex(entry.msgpack_hex), Math.max(size, 0)));
    if (!ok) {
      expect(ours).toMatchObject({ code: expect.stringMatching(/^STEMLINE_BATCH_/) });
      expect(expectedCode(name)).toBe(undefined);
      return;
    }
    expect("code" in ours ? ours.code : undefined).toBe(expectedCode(name));
    if (value === undefined || "code" in ours) return;
    const [first] = value.headers;
    expect(ours).toMatchObject({
      scanNumber: value.scan_number,
      scanShape: [first?.nSTEM_rows_m1, first?.nSTEM_positions_per_row_m1],
      frameShape: first?.frame_shape,
      dtype: first?.dtype,
      totalBatches: value.total_batches,
      totalFrames: value.total_frames,
      currentBatchIndex: value.current_batch_index,
    });
    const columns = ours.scanShape[1];
    expect([...ours.positions]).toEqual(
      value.headers.map((header) => header.STEM_row_in_scan * columns + header.STEM_x_position_in_row),
    );
    expect([...ours.offsets]).toEqual([0, size / 4]);
  });

  it.each(decoded.map((entry) => [entry.name, entry] as const))(
    "JSON: %s",
    async (name, { json, msgpack_hex }) => {
      const message = {
        meta: Buffer.from(msgpackToJson(fromHex(msgpack_hex))),
        data: writeNpz({ com: { shape: [2, 2, 3], data: new Float32Array(12) } }),
      };
      const ours = await outcomeOf(() => new ComReducer().add(message));
      if (json.ok) expect("code" in ours ? ours.code : undefined).toBe(expectedCode(name));
      else expect(ours).toMatchObject({ code: expect.stringMatching(/^STEMLINE_BATCH_/) });
    },
  );

  const raw = goldenJson<{ name: string; hex: string; ok: boolean }[]>("msgpack/raw.json");
  it.each(raw.map((entry) => [entry.name, entry] as const))(
    "raw MessagePack: %s",
    async (name, { hex, ok }) => {
      const ours = await outcomeOf(() => decodeBatch(fromHex(hex), 8));
      if (ok) expect("code" in ours ? ours.code : undefined).toBe(expectedCode(name));
      else expect(ours).toMatchObject({ code: expect.stringMatching(/^STEMLINE_BATCH_/) });
    },
  );

  const encoded = goldenJson<{ name: string; hex: string; json: string }[]>("msgpack/encode.json");
  // The meta of a COM message, which no call reads.
  const unread = ["com-meta"];
  it.each(encoded.map((entry) => [entry.name, entry] as const).filter(([name]) => !unread.includes(name)))(
    "to JSON: %s",
    async (name, { hex, json }) => {
      // A frame's header goes into a batch of its own.
      const [meta, expected] = name.startsWith("frame-")
        ? batchAround(fromHex(hex), json)
        : [fromHex(hex), json];
      const [, size] = /"batch_size_bytes":(\d+)/.exec(expected)!;
      const data = Buffer.alloc(Math.min(Number(size), 1024));
      const ours = await outcomeOf(() => centerOfMassPartial({ meta, data }));
      expect("code" in ours ? ours.code : undefined).toBe(expectedCode(name));
      if (!("code" in ours)) expect(Buffer.from(ours.meta).toString()).toBe(expected);
    },
  );
  it.skip.each(unread)("to JSON: %s, the meta of a COM message, is read by no call", () => undefined);

  function batchAround(frame: Uint8Array, frameJson: string): [Uint8Array, string] {
    const { scan_number, size } = /"scan_number":(?<scan_number>\d+).*"data_size_bytes":(?<size>\d+)/.exec(
      frameJson,
    )!.groups!;
    const number = (text: string) => encode(BigInt(text), { useBigInt64: true });
    const meta = Buffer.concat([
      Buffer.from([0x83]),
      encode("scan_number"),
      number(scan_number!),
      encode("headers"),
      Buffer.from([0x91]),
      frame,
      encode("batch_size_bytes"),
      number(size!),
    ]);
    const rest = '"total_batches":null,"total_frames":null,"current_batch_index":null}';
    return [
      meta,
      `{"scan_number":${scan_number},"headers":[${frameJson}],"batch_size_bytes":${size},${rest}`,
    ];
  }

  it.each(Object.keys(differences.headerDifferences))(
    "%s is a recorded header that the peer accepts",
    (name) => {
      const accepted = [
        ...decoded.filter(({ msgpack }) => msgpack.ok),
        ...raw.filter(({ ok }) => ok),
        ...encoded,
      ];
      expect(accepted.map((entry) => entry.name)).toContain(name);
    },
  );
});

describe("deliberate differences", () => {
  const documented = readFileSync(new URL("../../../docs/protocol.md", import.meta.url), "utf8");

  it.each(Object.values(differences).flatMap((table) => Object.keys(table)))(
    "docs/protocol.md names `%s`",
    (name) => {
      expect(documented).toContain(`\`${name}\``);
    },
  );

  it.each(Object.keys(differences.batchDifferences))("%s is a recorded batch", (name) => {
    expect(batchNames).toContain(name);
  });
});
