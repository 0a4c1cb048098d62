import { defineLazily, type HeldParts, heldParts, holdParts, isForeign, releaseParts } from "./bytes.ts";

/**
 * A message as it travels between operators: header and data. Same model as interactEM's `BytesMessage`.
 * The receiver owns the buffers and must not write to them: a fan-out hands the same bytes to several readers.
 */
export interface BytesMessage {
  readonly header: MessageHeader;
  readonly data: Uint8Array;
}

export interface MessageHeader {
  readonly subject: "bytes" | "shm";
  /** Bytes travel as a message part of their own, an object inside the header JSON. */
  readonly meta: Uint8Array | Readonly<Record<string, unknown>>;
  /** Stations a tracked message has passed, oldest first; null when the message is not tracked. */
  readonly tracking: Tracking | null;
}

export interface Tracking {
  readonly metadatas: readonly TrackingEntry[];
}

/** Times are ISO 8601 text as on the wire: naive local time, microseconds only when not 0. */
export type TrackingEntry =
  | { readonly id: string; readonly time_before_operate: string; readonly time_after_operate: string }
  | { readonly id: string; readonly time_before_send: string }
  | { readonly id: string; readonly time_after_header_validate: string };

/** Makes an untracked message. */
export function bytesMessage(meta: MessageHeader["meta"], data: Uint8Array): BytesMessage {
  return { header: { subject: "bytes", meta, tracking: null }, data };
}

/**
 * Makes an untracked message of what a kernel returned, without a look at its bytes: faster than `bytesMessage`. When the
 * message has been sent, bytes that were never looked at are given back.
 */
export function messageFrom(parts: { readonly meta: Uint8Array; readonly data: Uint8Array }): BytesMessage {
  return messageOfParts({ subject: "bytes", tracking: null }, heldParts(parts) ?? parts);
}

/** Makes a message; parts that are foreign turn to arrays when they are read. */
export function messageOfParts(
  { subject, tracking }: Pick<MessageHeader, "subject" | "tracking">,
  parts: HeldParts,
): BytesMessage {
  const { meta, data } = parts;
  if (!isForeign(meta) && data instanceof Uint8Array) return { header: { subject, meta, tracking }, data };
  const header = { subject, tracking };
  const message = { header };
  if (isForeign(meta)) defineLazily(header, "meta", meta);
  else Object.assign(header, { meta });
  defineLazily(message, "data", data);
  return holdParts(message, parts) as typeof message & BytesMessage;
}

/** Meta and data of a message as they are held. */
export function partsOf(message: BytesMessage): HeldParts {
  return heldParts(message) ?? { meta: message.header.meta, data: message.data };
}

/** Whether one message was made of the other and stands for the same foreign parts. */
export function sharesParts(message: BytesMessage, other: BytesMessage): boolean {
  const parts = heldParts(message);
  return parts !== undefined && parts === heldParts(other);
}

/** Gives back the memory of a message's parts that nobody looked at. */
export function releaseMessage(message: BytesMessage): void {
  const parts = heldParts(message);
  if (parts !== undefined) releaseParts([parts.meta, parts.data]);
}
