import { SpecError } from "../errors.ts";
import type { BytesMessage } from "../wire/message.ts";
import type { RunResult } from "./define-operator.ts";

/** True for one message, as opposed to several. */
export function isMessage(value: unknown): value is BytesMessage {
  return typeof value === "object" && value !== null && "header" in value && "data" in value;
}

/**
 * Reads the messages of a result that is not a single one. Whatever an operator does not hand out at once may still be
 * work of the operator: reading it takes time and may fail.
 *
 * @throws SpecError if the value is no result.
 */
export function openResult(result: Exclude<RunResult, BytesMessage | null>): MessageIterator {
  // A run.ts that nobody checked may return anything, and `in` takes objects only.
  const iterator = iteratorOf(Object(result));
  if (iterator === null) {
    const what = Array.isArray(result) ? "array" : (result as object).constructor?.name;
    throw new SpecError(
      "STEMLINE_RUN_RESULT",
      `run returned ${what ?? typeof result}; expected a message, an iterable of messages, or null`,
    );
  }
  return {
    async next() {
      const step = await iterator.next();
      if (step.done) return null;
      if (isMessage(step.value)) return step.value;
      throw new SpecError("STEMLINE_RUN_RESULT", `run gave out ${typeof step.value}; expected messages`);
    },
    async end() {
      await iterator.return?.();
    },
  };
}

export interface MessageIterator {
  /** The next message, or null after the last. */
  next(): Promise<BytesMessage | null>;
  /** Tells the operator that no more will be read. */
  end(): Promise<void>;
}

function iteratorOf(value: object): Iterator<unknown> | AsyncIterator<unknown> | null {
  if (Symbol.asyncIterator in value) return (value as AsyncIterable<unknown>)[Symbol.asyncIterator]();
  if (Symbol.iterator in value) return (value as Iterable<unknown>)[Symbol.iterator]();
  return null;
}
