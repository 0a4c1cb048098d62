import { WireError } from "../errors.ts";
import { type Bytes, isBytes, viewOf } from "./bytes.ts";
import { describeValue, isRecord } from "./json.ts";
import {
  type BytesMessage,
  type MessageHeader,
  messageOfParts,
  partsOf,
  type Tracking,
  type TrackingEntry,
} from "./message.ts";
import { readWireTime } from "./time.ts";
import { readUuid } from "./uuid.ts";

/** What became of received parts. A dropped message is no error: the receiver goes on with the next one. */
export type DecodedMessage =
  | { readonly outcome: "message"; readonly message: BytesMessage }
  | { readonly outcome: "dropped"; readonly reason: string };

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/**
 * Lays a message out as the parts of one multipart send: `[header JSON, meta, data]` when meta is bytes, else
 * `[header JSON, data]`. Meta and data are passed on, not copied: they must not change until they are sent. Inside an
 * object meta, non-finite numbers become null and bytes become text.
 *
 * @throws WireError if an object meta cannot be written as JSON.
 */
export function encodeMessage(message: BytesMessage): [header: Uint8Array, ...Bytes[]] {
  const { subject, tracking } = message.header;
  const { meta, data } = partsOf(message);
  if (isBytes(meta)) {
    return [encoder.encode(JSON.stringify({ subject, tracking })), meta, data];
  }
  try {
    const header = JSON.stringify({ subject, meta, tracking }, bytesAsText);
    return [encoder.encode(header), data];
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new WireError(
      "STEMLINE_WIRE_META",
      `Message meta: expected an object that JSON can hold: ${reason}`,
      {
        cause,
      },
    );
  }
}

/** `JSON.stringify` replacer; the holder `this` still has the value as it was before a Buffer's own `toJSON`. */
function bytesAsText(this: unknown, key: string, value: unknown): unknown {
  const raw: unknown = Reflect.get(Object(this), key);
  return raw instanceof Uint8Array ? decoder.decode(raw) : value;
}

/**
 * Reads the parts of one multipart receive. The message shares memory with the parts.
 *
 * @throws WireError if the header part is not a valid header.
 */
export function decodeMessage(parts: readonly Bytes[]): DecodedMessage {
  const [headerPart, second, third] = parts;
  if (headerPart === undefined || second === undefined || parts.length > 3) {
    return { outcome: "dropped", reason: `expected 2 or 3 message parts, got ${parts.length}` };
  }
  const header = parseHeader(viewOf(headerPart));
  if (header.subject === "shm") {
    return { outcome: "dropped", reason: 'expected message subject "bytes", got "shm"' };
  }
  const held = third === undefined ? { meta: header.meta, data: second } : { meta: second, data: third };
  return { outcome: "message", message: messageOfParts(header, held) };
}

function parseHeader(part: Uint8Array): MessageHeader {
  const value = parseJson(part);
  if (!isRecord(value)) throw invalid("", "a JSON object", value);
  return {
    subject: readSubject(value.subject),
    meta: readMeta(value),
    tracking: readTracking(value.tracking),
  };
}

function parseJson(part: Uint8Array): unknown {
  try {
    return JSON.parse(decoder.decode(part));
  } catch (cause) {
    throw new WireError("STEMLINE_WIRE_HEADER", "Message header: expected JSON text in UTF-8", { cause });
  }
}

function readSubject(value: unknown): MessageHeader["subject"] {
  if (value === "bytes" || value === "shm") return value;
  throw invalid("subject", '"bytes" or "shm"', value);
}

function readMeta(header: Readonly<Record<string, unknown>>): MessageHeader["meta"] {
  // The peer's default for a header without the key.
  if (!Object.hasOwn(header, "meta")) return encoder.encode("{}");
  if (typeof header.meta === "string") return encoder.encode(header.meta);
  if (isRecord(header.meta)) return header.meta;
  throw invalid("meta", "an object or a string", header.meta);
}

function readTracking(value: unknown): Tracking | null {
  if (value === undefined || value === null) return null;
  if (!isRecord(value)) throw invalid("tracking", "an object or null", value);
  if (!Object.hasOwn(value, "metadatas")) return { metadatas: [] };
  if (!Array.isArray(value.metadatas)) throw invalid("tracking.metadatas", "a list", value.metadatas);
  return { metadatas: value.metadatas.map(readTrackingEntry) };
}

function readTrackingEntry(value: unknown, index: number): TrackingEntry {
  const place = `tracking.metadatas[${index}]`;
  if (!isRecord(value)) throw invalid(place, "an object", value);
  const id = readUuid(value.id);
  if (id === undefined) throw invalid(`${place}.id`, "a UUID", value.id);
  // An entry with the keys of several stations is taken as the first that fits, in the peer's order.
  const before = readWireTime(value.time_before_operate);
  const after = readWireTime(value.time_after_operate);
  if (before !== undefined && after !== undefined) {
    return { id, time_before_operate: before, time_after_operate: after };
  }
  const sent = readWireTime(value.time_before_send);
  if (sent !== undefined) return { id, time_before_send: sent };
  const received = readWireTime(value.time_after_header_validate);
  if (received !== undefined) return { id, time_after_header_validate: received };
  throw new WireError(
    "STEMLINE_WIRE_HEADER",
    `Message header: ${place}: expected time_before_operate with time_after_operate, time_before_send or ` +
      `time_after_header_validate, got ${describeTimes(value)}`,
  );
}

function describeTimes(entry: Readonly<Record<string, unknown>>): string {
  const times = Object.entries(entry).filter(([key]) => key.startsWith("time_"));
  return times.map(([key, value]) => `${key} ${describeValue(value)}`).join(", ") || "none of them";
}

function invalid(place: string, expected: string, value: unknown): WireError {
  const where = place === "" ? "" : `${place}: `;
  return new WireError(
    "STEMLINE_WIRE_HEADER",
    `Message header: ${where}expected ${expected}, got ${describeValue(value)}`,
  );
}
