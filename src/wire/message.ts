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
