import { describe, expect, it } from "vitest";
import { openResult } from "../../../src/operator/run-result.ts";
import { decodeMessage, encodeMessage } from "../../../src/wire/header.ts";
import {
  bytesMessage,
  messageFrom,
  messageOfParts,
  partsOf,
  releaseMessage,
} from "../../../src/wire/message.ts";
import { readWireTime } from "../../../src/wire/time.ts";
import { trackOperator, withTracking } from "../../../src/wire/tracking.ts";
import { Foreign } from "./foreign-bytes.ts";

const header = new TextEncoder().encode('{"subject":"bytes","tracking":null}');

function received() {
  const meta = new Foreign(1, 2);
  const data = new Foreign(3, 4, 5);
  const decoded = decodeMessage([header, meta, data]);
  if (decoded.outcome !== "message") throw new Error(decoded.reason);
  return { message: decoded.message, meta, data };
}

describe("a message of foreign parts", () => {
  it("is handed on without a look at them", async () => {
    const { message, meta, data } = received();
    const time = readWireTime("2026-01-01T00:00:00")!;
    const tracked = trackOperator(message, "5bd6ef2a-91c0-4d7e-8000-000000000001", time, time);
    const result = await openResult([withTracking(tracked, null)])!.next();
    expect(encodeMessage(result!).slice(1)).toEqual([meta, data]);
    expect(encodeMessage(tracked).slice(1)).toEqual([meta, data]);
    expect([meta.looks, data.looks]).toEqual([0, 0]);
  });

  it("has arrays for those who read it", () => {
    const { message } = received();
    expect(message).toEqual(bytesMessage(Uint8Array.of(1, 2), Uint8Array.of(3, 4, 5)));
    expect(Object.keys(message)).toEqual(["header", "data"]);
    expect(structuredClone(message)).toEqual(bytesMessage(Uint8Array.of(1, 2), Uint8Array.of(3, 4, 5)));
  });

  it("gives its new data to a message that is spread from it", () => {
    const { message, meta } = received();
    const other = { ...message, data: Uint8Array.of(9) };
    expect(partsOf(other)).toEqual({ meta: Uint8Array.of(1, 2), data: Uint8Array.of(9) });
    const under = { header: { ...message.header, meta: { a: 1 } }, data: message.data };
    expect(partsOf(under)).toEqual({ meta: { a: 1 }, data: Uint8Array.of(3, 4, 5) });
    expect(meta.looks).toBeGreaterThan(0);
  });

  it("gives them back, and says so to those who look too late", () => {
    const { message, meta, data } = received();
    releaseMessage(message);
    expect([meta.released, data.released]).toEqual([true, true]);
    expect(() => message.data).toThrow(
      expect.objectContaining({ name: "NativeError", code: "STEMLINE_BYTES_RELEASED" }),
    );
    expect(() => message.header.meta).toThrow(expect.objectContaining({ code: "STEMLINE_BYTES_RELEASED" }));
  });

  it("keeps for its reader what was read before", () => {
    const { message } = received();
    const { data } = message;
    releaseMessage(message);
    expect(data).toEqual(Uint8Array.of(3, 4, 5));
    expect(message.data).toBe(data);
  });

  it("may have an object as meta, which may have members of any name", () => {
    const data = new Foreign(7);
    const meta = { release: "1.0", view: 2, byteLength: 3 };
    const message = messageOfParts({ subject: "bytes", tracking: null }, { meta, data });
    expect(message.header.meta).toBe(meta);
    releaseMessage(message);
    expect(data.released).toBe(true);
  });

  it("is an ordinary one where both parts are arrays", () => {
    const parts = { meta: Uint8Array.of(1), data: Uint8Array.of(2) };
    const message = messageFrom(parts);
    expect(message).toEqual(bytesMessage(parts.meta, parts.data));
    releaseMessage(message);
    expect(message.data).toBe(parts.data);
  });
});
