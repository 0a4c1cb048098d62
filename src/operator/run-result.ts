import { SpecError } from "../errors.ts";
import { heldParts } from "../wire/bytes.ts";
import { describeValue, isRecord } from "../wire/json.ts";
import type { BytesMessage } from "../wire/message.ts";
import type { RunResult } from "./define-operator.ts";

/** Failures of `run` in a row after which an operator is ended, as in interactEM. */
export const maxFailuresInARow = 10;

/** The messages of a result, which the operator may still be making while they are read. */
export interface ResultMessages {
  /** True if reading is work of the operator, which takes time and may fail; false if all messages are at hand. */
  readonly lazy: boolean;
  /** The next message, or null after the last. Rejects with what the operator throws, or with SpecError. */
  next(): Promise<BytesMessage | null>;
  /** Tells the operator that no more will be read; nothing happens after the last message or an error. */
  end(): Promise<void>;
}

/**
 * Opens what `run` returned; null if that is nothing.
 *
 * @throws SpecError `STEMLINE_RUN_RESULT` if the value is no result.
 */
export function openResult(result: RunResult | undefined): ResultMessages | null {
  if (result === null || result === undefined) return null;
  // A run.ts that nobody checked may return anything.
  const value: unknown = result;
  if (looksLikeMessage(value)) return atHand([checkedMessage(value)]);
  if (Array.isArray(value)) return atHand(value.map(checkedMessage));
  const iterator = iteratorOf(value);
  if (iterator !== null) return madeByOperator(iterator);
  throw invalid(`run returned ${nameOf(value)}; expected a message, an iterable of messages, or null`);
}

function atHand(messages: readonly BytesMessage[]): ResultMessages {
  let index = 0;
  return {
    lazy: false,
    next: async () => messages[index++] ?? null,
    async end() {
      index = messages.length;
    },
  };
}

function madeByOperator(iterator: Iterator<unknown> | AsyncIterator<unknown>): ResultMessages {
  let over = false;
  return {
    lazy: true,
    async next() {
      if (over) return null;
      // An iterator that throws has ended.
      over = true;
      const step = await iterator.next();
      over = step.done ?? false;
      if (over) return null;
      return checkedMessage(step.value);
    },
    async end() {
      if (over) return;
      over = true;
      await iterator.return?.();
    },
  };
}

function looksLikeMessage(value: unknown): value is { header: unknown; data: unknown } {
  return isRecord(value) && "header" in value && "data" in value;
}

/** Whatever would go onto the wire in a form that no reader can use, or could not be sent at all. */
function checkedMessage(value: unknown): BytesMessage {
  if (!looksLikeMessage(value)) throw invalid(`run gave out ${nameOf(value)}; expected messages`);
  if (heldParts(value) !== undefined) return value as BytesMessage;
  const { header, data } = value;
  if (!(data instanceof Uint8Array)) {
    throw invalid(`message data: expected a Uint8Array, got ${describeValue(data)}`);
  }
  if (!isRecord(header)) throw invalid(`message header: expected an object, got ${describeValue(header)}`);
  if (header.subject !== "bytes") {
    throw invalid(`message header, subject: expected "bytes", got ${describeValue(header.subject)}`);
  }
  if (!isRecord(header.meta)) {
    throw invalid(
      `message header, meta: expected a Uint8Array or an object, got ${describeValue(header.meta)}`,
    );
  }
  return value as BytesMessage;
}

function iteratorOf(value: unknown): Iterator<unknown> | AsyncIterator<unknown> | null {
  // Text and bytes can be iterated as well, and are no messages.
  if (typeof value !== "object" || value === null || ArrayBuffer.isView(value)) return null;
  if (Symbol.asyncIterator in value) return (value as AsyncIterable<unknown>)[Symbol.asyncIterator]();
  if (Symbol.iterator in value) return (value as Iterable<unknown>)[Symbol.iterator]();
  return null;
}

function nameOf(value: unknown): string {
  return (value as object | null | undefined)?.constructor?.name ?? typeof value;
}

function invalid(message: string): SpecError {
  return new SpecError("STEMLINE_RUN_RESULT", message);
}
