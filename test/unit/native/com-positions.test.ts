import { describe, expect, it } from "vitest";
import { ComReducer } from "../../../src/distiller/com-reducer.ts";
import { comPartialParts } from "../../../src/distiller/message-parts.ts";
import type { ComEmission, MessageBytes, MessageParts } from "../../../src/native/addon.ts";
import {
  type ComReducerOptions,
  centerOfMassPartial,
  comPartialPositions,
} from "../../../src/native/kernels.ts";
import { bytesMessage } from "../../../src/wire/message.ts";
import { batchBackends } from "./batch-backends.ts";
import { batchMessage, random, randomFrames, shuffled } from "./messages.ts";
import { bytesOf, outcomeOf } from "./results.ts";

const scan = { scanNumber: 7, scanShape: [9, 11], frameShape: [40, 30] } as const;
const seed = Number(process.env.STEMLINE_TEST_SEED ?? Math.floor(Math.random() * 2 ** 31));

describe(`COMPartial messages that have the positions of their batch alone, STEMLINE_TEST_SEED=${seed}`, () => {
  for (const { name: backend } of batchBackends().filter(({ supported }) => supported)) {
    it(`give the same maps and headers as those of the whole scan, alone and among them, on ${backend}`, async () => {
      const next = random(seed);
      const frames = randomFrames({ ...scan, seed, framesPerPosition: 3, maxEvents: 20 });
      const messages = Array.from({ length: 8 }, (_, part) =>
        batchMessage(
          scan,
          shuffled(frames, seed).filter((_, i) => i % 8 === part),
        ),
      );
      const cropTo = [12, 9] as const;
      const classic = await Promise.all(messages.map((m) => centerOfMassPartial(m, { cropTo, backend })));
      const lane = await Promise.all(
        messages.map((m) => centerOfMassPartial(m, { cropTo, backend, form: "positions" })),
      );
      const mixed = messages.map((_, i) => (next() < 0.5 ? classic : lane)[i]!);
      const expected = await reduce(classic, { backend, includeHeaders: true, emitEvery: 3 });
      expect(expected.length).toBeGreaterThan(2);
      expect(await reduce(lane, { backend, includeHeaders: true, emitEvery: 3 })).toEqual(expected);
      expect(await reduce(mixed, { backend, includeHeaders: true, emitEvery: 3 })).toEqual(expected);
      for (const [i, { frames, events }] of lane.entries()) {
        expect({ frames, events }).toEqual({ frames: classic[i]!.frames, events: classic[i]!.events });
      }
    });
  }

  it("say so in the first member of their meta, and are small however large the scan is", async () => {
    const large = { ...scan, scanShape: [1024, 1024] as const };
    const message = batchMessage(large, [{ position: 1023 * 1024, events: Uint32Array.of(31, 34) }]);
    const { meta, data } = await centerOfMassPartial(message, { form: "positions" });
    const text = Buffer.from(meta).toString();
    expect(text.startsWith(`{"format":"${comPartialPositions}","scan_number":7,`)).toBe(true);
    expect(data.byteLength).toBe(7 * 8);
    const view = new DataView(data.buffer, data.byteOffset);
    expect([0, 8].map((at) => view.getUint32(at, true))).toEqual([1023 * 1024, 2]);
    expect([16, 24].map((at) => view.getFloat32(at, true))).toEqual([2.5, 1]);
  });

  it("are read at any alignment, and when the meta came as an object", async () => {
    const message = batchMessage(scan, randomFrames({ ...scan, seed, framesPerPosition: 1, maxEvents: 9 }));
    const classic = await centerOfMassPartial(message);
    const { meta, data } = await centerOfMassPartial(message, { form: "positions" });
    const shifted = new Uint8Array(data.byteLength + 3).subarray(3);
    shifted.set(data);
    const object = JSON.parse(Buffer.from(meta).toString());
    expect(await reduce([comPartialParts(bytesMessage(object, shifted))])).toEqual(await reduce([classic]));
  });

  it("are refused with a typed error that names place and numbers", async () => {
    const message = batchMessage(scan, [{ position: 5, events: Uint32Array.of(31, 34) }]);
    const { meta, data } = await centerOfMassPartial(message, { form: "positions" });
    const text = Buffer.from(meta).toString();
    const refusal = (changed: Partial<MessageParts>) =>
      outcomeOf(() => new ComReducer().add({ meta, data, ...changed }));
    const later = Buffer.from(text.replace(comPartialPositions, "stemline-com-partial-2"));
    expect(await refusal({ meta: later })).toEqual({
      code: "STEMLINE_BATCH_FORMAT",
      message: 'format: expected "stemline-com-partial-1", got "stemline-com-partial-2"',
    });
    const outside = data.slice();
    new DataView(outside.buffer).setFloat32(16, 30, true);
    expect(await refusal({ data: outside })).toEqual({
      code: "STEMLINE_BATCH_VALUE",
      message:
        "entry 0, scan position 5: the mean of 2 events is column 30.000000, row 1.000000, outside of 40 x 30 pixels",
    });
    expect(await refusal({ data: data.subarray(8) })).toEqual({
      code: "STEMLINE_BATCH_SIZE",
      message: "the data has 48 bytes, but its columns for 1 positions and 1 frames take 56",
    });
  });

  it("cannot have missing values filled, and are asked for by name", async () => {
    const message = batchMessage(scan, [{ position: 5, events: Uint32Array.of(31) }]);
    const filled = () => centerOfMassPartial(message, { form: "positions", replaceNaNs: true });
    expect(await outcomeOf(filled)).toMatchObject({ code: "STEMLINE_INVALID_ARGUMENT" });
    const unknown = () => centerOfMassPartial(message, { form: "frames" as "scan" });
    expect(await outcomeOf(unknown)).toEqual({
      code: "STEMLINE_INVALID_ARGUMENT",
      message: 'form: expected "scan" or "positions", got "frames"',
    });
  });
});

/** All that a reducer says of these messages, with bytes as text. */
async function reduce(
  messages: readonly MessageBytes[],
  options: ComReducerOptions = {},
): Promise<unknown[]> {
  const reducer = new ComReducer();
  const emissions: ComEmission[] = [];
  for (const message of messages) emissions.push(...(await reducer.add(message, options)));
  emissions.push(...(await reducer.flush(options)));
  return emissions.map(({ meta, data, ...rest }) => ({
    ...rest,
    meta: Buffer.from(meta).toString(),
    data: bytesOf(data).toString("hex"),
  }));
}
