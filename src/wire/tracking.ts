import { type BytesMessage, messageOfParts, partsOf, type Tracking, type TrackingEntry } from "./message.ts";

/**
 * Stations of a tracked message. Every function returns a new message that shares meta and data with the given one,
 * which it leaves as it is: branches of a fan-out that go on from one message do not see each other's entries, those
 * that go on from each other's result do. Times are wire times.
 */

/** Notes that an input port received the message; a message without tracking is returned as it is. */
export function trackInputPort(message: BytesMessage, portId: string, received: string): BytesMessage {
  return message.header.tracking === null
    ? message
    : withEntry(message, { id: portId, time_after_header_validate: received });
}

/** Notes that an operator made the message, and starts tracking if the message has none. */
export function trackOperator(
  message: BytesMessage,
  operatorId: string,
  before: string,
  after: string,
): BytesMessage {
  return withEntry(message, { id: operatorId, time_before_operate: before, time_after_operate: after });
}

/** Notes that an output port is about to send the message; a message without tracking is returned as it is. */
export function trackOutputPort(message: BytesMessage, portId: string, beforeSend: string): BytesMessage {
  return message.header.tracking === null
    ? message
    : withEntry(message, { id: portId, time_before_send: beforeSend });
}

/** Replaces the tracking of a message: an operator's output continues the list of its input. */
export function withTracking(message: BytesMessage, tracking: Tracking | null): BytesMessage {
  return messageOfParts({ subject: message.header.subject, tracking }, partsOf(message));
}

function withEntry(message: BytesMessage, entry: TrackingEntry): BytesMessage {
  const passed = message.header.tracking?.metadatas ?? [];
  return withTracking(message, { metadatas: [...passed, entry] });
}
