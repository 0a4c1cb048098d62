import { describe, expect, it } from "vitest";
import { WireError } from "../../../src/errors.ts";
import { viewOf } from "../../../src/wire/bytes.ts";
import { decodeMessage, encodeMessage } from "../../../src/wire/header.ts";
import { bytesMessage, type MessageHeader, type Tracking } from "../../../src/wire/message.ts";
import { trackInputPort, trackOutputPort } from "../../../src/wire/tracking.ts";
import { fromHex, readGolden, toHex } from "./golden.ts";

interface EncodeCase {
  readonly name: string;
  readonly meta_kind: "bytes" | "dict";
  readonly n_parts: number;
  readonly part0: string;
  readonly part1_hex: string | null;
}

interface DecodeCase {
  readonly name: string;
  readonly parts_hex: readonly string[];
  readonly outcome: "message" | "dropped" | "error";
  readonly meta_kind?: "bytes" | "dict";
  readonly meta?: unknown;
  readonly tracking_types?: readonly string[] | null;
  readonly tracking_reencoded?: Tracking | null;
  readonly recv_appends_input_port_entry?: boolean;
  readonly data_hex?: string;
}

const text = new TextDecoder();
const bytes = (value: string) => new TextEncoder().encode(value);
const data = Uint8Array.of(1, 2, 3);
const portId = "5bd6ef2a-91c0-4d7e-8000-0000000000aa";

/** Metas whose JSON does not tell what they were made from. */
const metaBeforeEncoding: Readonly<Record<string, MessageHeader["meta"]>> = {
  "dict-meta-nan-inf": { nan: Number.NaN, inf: Number.POSITIVE_INFINITY, ninf: Number.NEGATIVE_INFINITY },
  "dict-meta-bytes-value": { b: bytes("abc") },
};

describe("encodeMessage", () => {
  const cases = readGolden<EncodeCase[]>("header/encode.json");

  it.each(cases)("writes $name byte for byte", ({ name, n_parts, part0, part1_hex }) => {
    const recorded = JSON.parse(part0);
    const meta = metaBeforeEncoding[name] ?? (part1_hex === null ? recorded.meta : fromHex(part1_hex));
    const parts = encodeMessage({ header: { ...recorded, meta }, data });

    expect(parts).toHaveLength(n_parts);
    expect(text.decode(parts[0])).toBe(asJavaScriptWrites(name, part0));
    if (part1_hex !== null) expect(toHex(viewOf(parts[1]!))).toBe(part1_hex);
    expect(parts.at(-1)).toBe(data);
  });

  it("writes bytes of a Buffer inside an object meta as text", () => {
    const [header] = encodeMessage(
      bytesMessage({ b: Buffer.from("abc"), list: [Buffer.from("d"), bytes("e")] }, data),
    );
    expect(text.decode(header)).toBe(
      '{"subject":"bytes","meta":{"b":"abc","list":["d","e"]},"tracking":null}',
    );
  });

  it.each([
    ["a bigint", { n: 1n }],
    ["bytes that are not UTF-8", { b: Uint8Array.of(0xff) }],
  ])("refuses an object meta that holds %s", (_, meta) => {
    expect(() => encodeMessage(bytesMessage(meta, data))).toThrow(
      expect.objectContaining({ constructor: WireError, code: "STEMLINE_WIRE_META" }),
    );
  });

  it("passes meta and data on without copying", () => {
    const meta = bytes("{}");
    const parts = encodeMessage(bytesMessage(meta, data));
    expect(parts[1]).toBe(meta);
    expect(parts[2]).toBe(data);
  });

  /** One number type: a float with an integral value has no ".0", and integers above 2^53 are rounded. */
  function asJavaScriptWrites(name: string, part0: string): string {
    if (name !== "dict-meta-nested") return part0;
    return part0.replace('"f":1.0,', '"f":1,').replace("12345678901234567890", "12345678901234567000");
  }
});

describe("decodeMessage", () => {
  const cases = readGolden<DecodeCase[]>("header/decode.json");

  it.each(cases.filter(({ outcome }) => outcome === "message"))("takes $name", (golden) => {
    const decoded = decodeMessage(golden.parts_hex.map(fromHex));
    if (decoded.outcome !== "message") throw new Error(`dropped: ${decoded.reason}`);
    const { header } = decoded.message;

    expect(header.subject).toBe("bytes");
    expect(toHex(decoded.message.data)).toBe(golden.data_hex);
    const meta = header.meta instanceof Uint8Array ? toHex(header.meta) : header.meta;
    expect({ kind: header.meta instanceof Uint8Array ? "bytes" : "dict", meta }).toEqual({
      kind: golden.meta_kind,
      meta: golden.meta,
    });
    expect(JSON.stringify(header.tracking)).toBe(JSON.stringify(golden.tracking_reencoded));
    expect(header.tracking?.metadatas.map(modelName) ?? null).toEqual(golden.tracking_types);

    const received = trackInputPort(decoded.message, portId, "2025-03-04T05:06:07");
    const grownBy =
      (received.header.tracking?.metadatas.length ?? 0) - (header.tracking?.metadatas.length ?? 0);
    expect(grownBy).toBe(golden.recv_appends_input_port_entry ? 1 : 0);
  });

  it.each(cases.filter(({ outcome }) => outcome === "dropped"))("drops $name", ({ parts_hex }) => {
    expect(decodeMessage(parts_hex.map(fromHex))).toMatchObject({ outcome: "dropped" });
  });

  it.each(cases.filter(({ outcome }) => outcome === "error"))("refuses $name", ({ parts_hex }) => {
    expect(() => decodeMessage(parts_hex.map(fromHex))).toThrow(
      expect.objectContaining({ constructor: WireError, code: "STEMLINE_WIRE_HEADER" }),
    );
  });

  it("covers every recorded case", () => {
    expect(new Set(cases.map(({ outcome }) => outcome))).toEqual(new Set(["message", "dropped", "error"]));
  });

  it.each([
    [[], "expected 2 or 3 message parts, got 0"],
    [["7b7d"], "expected 2 or 3 message parts, got 1"],
    [["7b7d", "", "", ""], "expected 2 or 3 message parts, got 4"],
    [[toHex(bytes('{"subject":"shm"}')), ""], 'expected message subject "bytes", got "shm"'],
  ])("says why it drops %j", (parts, reason) => {
    expect(decodeMessage(parts.map(fromHex))).toEqual({ outcome: "dropped", reason });
  });

  it.each([
    ["no JSON", "Message header: expected JSON text in UTF-8"],
    ["[]", "Message header: expected a JSON object, got a list of 0"],
    ['{"subject":"foo"}', 'Message header: subject: expected "bytes" or "shm", got "foo"'],
    ['{"subject":"bytes","meta":5}', "Message header: meta: expected an object or a string, got 5"],
    [
      '{"subject":"bytes","tracking":{"metadatas":[{"id":"x"}]}}',
      'Message header: tracking.metadatas[0].id: expected a UUID, got "x"',
    ],
    [
      `{"subject":"bytes","tracking":{"metadatas":[{"id":"${portId}","time_before_send":"noon"}]}}`,
      "Message header: tracking.metadatas[0]: expected time_before_operate with time_after_operate, " +
        'time_before_send or time_after_header_validate, got time_before_send "noon"',
    ],
  ])("says what is wrong with %s", (header, message) => {
    expect(() => decodeMessage([bytes(header), data])).toThrow(
      new WireError("STEMLINE_WIRE_HEADER", message),
    );
  });

  it("shares memory with the parts", () => {
    const parts = [bytes('{"subject":"bytes"}'), bytes("m"), data];
    expect(decodeMessage(parts)).toMatchObject({
      message: {
        header: { meta: expect.toSatisfy((meta) => meta === parts[1]) },
        data: expect.toSatisfy((part) => part === data),
      },
    });
  });

  it("reads back what encodeMessage writes", () => {
    const message = bytesMessage({ shape: [2, 3], text: 'é✓"\n' }, data);
    expect(decodeMessage(encodeMessage(message))).toEqual({ outcome: "message", message });
  });
});

describe("fan-out", () => {
  const { part0 } = readGolden<{ part0: [string, string] }>("header/fanout-two-ports.json");
  const [first, second] = part0;
  const [firstEntries, secondEntries] = part0.map((header) => JSON.parse(header).tracking.metadatas);
  const processed = {
    ...bytesMessage({}, data),
    header: { ...JSON.parse(first), tracking: { metadatas: firstEntries.slice(0, 1) } },
  };
  const id = firstEntries[1].id;
  const sentTo = (entry: { time_before_send: string }) => entry.time_before_send;

  it("writes what the peer hands to its two ports", () => {
    const toFirst = trackOutputPort(processed, id, sentTo(firstEntries[1]));
    const toSecond = trackOutputPort(toFirst, id, sentTo(secondEntries[2]));
    expect(text.decode(encodeMessage(toFirst)[0])).toBe(first);
    expect(text.decode(encodeMessage(toSecond)[0])).toBe(second);
  });

  it("keeps the branches apart when each port starts from the processed message", () => {
    const toFirst = trackOutputPort(processed, id, sentTo(firstEntries[1]));
    const toSecond = trackOutputPort(processed, id, sentTo(secondEntries[2]));
    expect(toFirst.header.tracking?.metadatas).toEqual([firstEntries[0], firstEntries[1]]);
    expect(toSecond.header.tracking?.metadatas).toEqual([firstEntries[0], secondEntries[2]]);
  });
});

function modelName(entry: object): string {
  if ("time_before_operate" in entry) return "OperatorTrackingMetadata";
  return "time_before_send" in entry ? "OutputPortTrackingMetadata" : "InputPortTrackingMetadata";
}
