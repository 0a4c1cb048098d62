import { describe, expect, it } from "vitest";
import { ComReducer } from "../../../src/distiller/com-reducer.ts";
import { centerOfMassPartial, decodeBatch } from "../../../src/native/kernels.ts";
import { loadAddon } from "../../../src/native/loader.ts";
import { messageFrom, partsOf, releaseMessage } from "../../../src/wire/message.ts";
import { randomMessage } from "./messages.ts";

const message = randomMessage({
  seed: 5,
  framesPerPosition: 1,
  maxEvents: 40,
  scanNumber: 3,
  scanShape: [9, 11],
  frameShape: [32, 40],
});
const addon = loadAddon();
const released = expect.objectContaining({ code: "STEMLINE_BYTES_RELEASED" });
const partial = () => addon.centerOfMassPartial(message.meta, message.data, {});

describe("the parts of a result", () => {
  it("are one array each, however often they are looked at", async () => {
    const { data, meta } = await partial();
    expect(data.view()).toBe(data.view());
    expect(data.view()).toBeInstanceOf(Uint8Array);
    expect([data.view().length, meta.view().length]).toEqual([data.byteLength, meta.byteLength]);
  });

  it("stay valid for who looked at them, through collections", async () => {
    const expected = (await partial()).data.view().slice();
    const views = [];
    for (let round = 0; round < 20; round += 1) {
      const { data } = await partial();
      views.push(data.view());
      data.release();
      globalThis.gc?.();
    }
    for (const view of views) expect(view).toEqual(expected);
  });

  it("cannot be used after they were given back", async () => {
    const { meta, data } = await partial();
    data.release();
    data.release();
    expect(() => data.view()).toThrow(released);
    expect(data.byteLength).toBeGreaterThan(0);
    await expect((async () => addon.centerOfMassPartial(meta, data, {}))()).rejects.toThrow(released);
    expect(() => addon.decodeBatch(data, 0)).toThrow(released);
  });

  it("may be given back while a job reads them", async () => {
    const reducer = new addon.ComReducer();
    const expected = await partial();
    const [plain] = await new ComReducer().add({ meta: expected.meta.view(), data: expected.data.view() });
    for (let round = 0; round < 20; round += 1) {
      const { meta, data } = await partial();
      const adding = reducer.add(meta, data, { emitEvery: 1 });
      meta.release();
      data.release();
      await adding;
      if (round > 0) continue;
      const [emission] = await adding;
      expect(emission!.data.view()).toEqual(plain!.data);
    }
  });

  it("go from kernel to kernel unseen", async () => {
    const result = await centerOfMassPartial(message);
    const sent = messageFrom(result);
    const { meta, data } = partsOf(sent);
    expect(data).not.toBeInstanceOf(Uint8Array);
    const [emission] = await new ComReducer().add(result, { emitEvery: 1 });
    expect(emission!.data.length).toBeGreaterThan(0);
    releaseMessage(sent);
    expect(() => result.data).toThrow(released);
    expect([meta, data].map((part) => (part as { byteLength: number }).byteLength > 0)).toEqual([true, true]);
  });

  it("are what the addon makes, and nothing else", async () => {
    const { data } = await partial();
    const NativeBytes = Object.getPrototypeOf(data).constructor;
    const invalid = expect.objectContaining({ code: "STEMLINE_INVALID_ARGUMENT" });
    for (const make of [() => new NativeBytes(), () => NativeBytes(), () => new NativeBytes({})]) {
      expect(make).toThrow(invalid);
    }
    for (const other of [{}, Object.create(data), null, 1, new Uint8Array(3)]) {
      expect(() => data.view.call(other as never)).toThrow(invalid);
      expect(() => data.release.call(other as never)).toThrow(invalid);
    }
    expect(() => decodeBatch(Object.create(data) as never, 0)).toThrow(invalid);
  });
});

describe("the raw data plane", () => {
  const invalid = expect.objectContaining({ code: "STEMLINE_INVALID_ARGUMENT" });
  const raw = addon as unknown as Record<string, (...values: unknown[]) => unknown>;

  it("refuses what is no argument, and takes the number of a socket that is not there", async () => {
    await import("zeromq");
    for (const value of [undefined, null, 1, {}]) expect(() => raw.zmqStart!(value)).toThrow(invalid);
    expect(() => raw.zmqReceive!(1)).toThrow(invalid);
    const events: unknown[][] = [];
    raw.zmqStart!((...event: unknown[]) => void events.push(event));
    expect(() => raw.zmqStart!(() => {})).toThrow(invalid);
    for (const endpoint of [undefined, 1, {}]) expect(() => raw.zmqOpen!(endpoint, {})).toThrow(invalid);
    for (const options of [undefined, 1, { highWaterMark: 0 }, { pulls: "yes" }, { maxMessageBytes: -2 }]) {
      expect(() => raw.zmqOpen!("tcp://127.0.0.1:*", options)).toThrow(invalid);
    }
    for (const endpoint of ["", "tcp://", "tcp://no such host:1", "nothing"]) {
      expect(() => raw.zmqOpen!(endpoint, {})).toThrow(/\S/);
    }
    for (const socket of [undefined, "1", null]) {
      expect(() => raw.zmqReceive!(socket)).toThrow(invalid);
      expect(() => raw.zmqSend!(socket, [new Uint8Array(1)])).toThrow(invalid);
      expect(() => raw.zmqClose!(socket, {})).toThrow(invalid);
    }
    for (const parts of [undefined, {}, [], [1], ["text"], [new Uint16Array(2)]]) {
      expect(() => raw.zmqSend!(77, parts)).toThrow(invalid);
    }
    raw.zmqReceive!(77);
    raw.zmqConnect!(77, "tcp://127.0.0.1:1");
    raw.zmqClose!(77, { lingerMs: 1 });
    raw.zmqSend!(77, [new Uint8Array(1)]);
    await expect.poll(() => events).toEqual([[77, "unsent", ""]]);
  });
});
