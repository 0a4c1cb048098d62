import { describe, expect, test } from "vitest";
import type { RunResult } from "../../../src/operator/define-operator.ts";
import { isMessage, type MessageIterator, openResult } from "../../../src/operator/run-result.ts";
import { type BytesMessage, bytesMessage } from "../../../src/wire/message.ts";

const message = (n: number) => bytesMessage({ n }, Uint8Array.of(n));

async function readAll(iterator: MessageIterator): Promise<BytesMessage[]> {
  const messages: BytesMessage[] = [];
  for (let next = await iterator.next(); next !== null; next = await iterator.next()) messages.push(next);
  return messages;
}

test("one message is told from several and from what is none", () => {
  expect(isMessage(message(1))).toBe(true);
  for (const value of [[message(1)], new Set([message(1)]), null, undefined, "text", { data: 1 }]) {
    expect(isMessage(value)).toBe(false);
  }
});

describe("openResult", () => {
  const kinds: Record<string, () => Exclude<RunResult, BytesMessage | null>> = {
    array: () => [message(1), message(2)],
    set: () => new Set([message(1), message(2)]),
    *generator() {
      yield message(1);
      yield message(2);
    },
    async *"asynchronous generator"() {
      yield message(1);
      yield message(2);
    },
  };
  test.each(Object.entries(kinds))("reads the messages of an %s in order", async (_kind, make) => {
    expect(await readAll(openResult(make()))).toEqual([message(1), message(2)]);
  });

  test("reads nothing ahead, and tells the operator when no more is read", async () => {
    const steps: string[] = [];
    const generator = (async function* () {
      try {
        for (const n of [1, 2, 3]) {
          steps.push(`make ${n}`);
          yield message(n);
        }
      } finally {
        steps.push("end");
      }
    })();
    const iterator = openResult(generator);
    expect(steps).toEqual([]);
    await iterator.next();
    expect(steps).toEqual(["make 1"]);
    await iterator.end();
    expect(steps).toEqual(["make 1", "end"]);
    expect(await iterator.next()).toBeNull();
  });

  test("an iterator without return can be ended", async () => {
    const bare = { [Symbol.iterator]: () => ({ next: () => ({ done: true as const, value: undefined }) }) };
    await expect(openResult(bare).end()).resolves.toBeUndefined();
  });

  test("passes on what the operator throws between two messages", async () => {
    const iterator = openResult(
      (function* () {
        yield message(1);
        throw new RangeError("no second");
      })(),
    );
    await iterator.next();
    await expect(iterator.next()).rejects.toThrow(new RangeError("no second"));
  });

  test.each([
    [{ n: 1 }, "Object"],
    [7, "Number"],
    [Object.create(null), "object"],
  ])("refuses %o", (value, what) => {
    expect(() => openResult(value as never)).toThrow(
      expect.objectContaining({
        code: "STEMLINE_RUN_RESULT",
        message: `run returned ${what}; expected a message, an iterable of messages, or null`,
      }),
    );
  });

  test("refuses what is no message among messages", async () => {
    const iterator = openResult(new Set([message(1), "text"]) as never);
    await iterator.next();
    await expect(iterator.next()).rejects.toMatchObject({
      code: "STEMLINE_RUN_RESULT",
      message: "run gave out string; expected messages",
    });
  });
});
