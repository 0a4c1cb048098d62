import { describe, expect, test } from "vitest";
import type { RunResult } from "../../../src/operator/define-operator.ts";
import { openResult, type ResultMessages } from "../../../src/operator/run-result.ts";
import { type BytesMessage, bytesMessage } from "../../../src/wire/message.ts";

const message = (n: number) => bytesMessage({ n }, Uint8Array.of(n));

const open = (result: unknown) => openResult(result as RunResult)!;

async function readAll(iterator: ResultMessages): Promise<BytesMessage[]> {
  const messages: BytesMessage[] = [];
  for (let next = await iterator.next(); next !== null; next = await iterator.next()) messages.push(next);
  return messages;
}

test("nothing is nothing, and an empty list is not", () => {
  expect(openResult(null)).toBeNull();
  expect(openResult(undefined)).toBeNull();
  expect(openResult([])).not.toBeNull();
});

test("one message is at hand, like those of a list, and others are made while they are read", async () => {
  expect(await readAll(open(message(1)))).toEqual([message(1)]);
  expect(open(message(1)).lazy).toBe(false);
  expect(open([message(1)]).lazy).toBe(false);
  expect(open(new Set([message(1)])).lazy).toBe(true);
});

describe("what is like a message and could not be sent, or not be read, is refused: ", () => {
  const { header, data } = message(1);
  test.each([
    [{ header, data: "text" }, 'message data: expected a Uint8Array, got "text"'],
    [{ header, data: undefined }, "message data: expected a Uint8Array, got nothing"],
    [{ header, data: new ArrayBuffer(3) }, "message data: expected a Uint8Array, got an object"],
    [{ header: null, data }, "message header: expected an object, got null"],
    [{ header: {}, data }, 'message header, subject: expected "bytes", got nothing'],
    [{ header: { ...header, subject: "shm" }, data }, 'message header, subject: expected "bytes", got "shm"'],
    [
      { header: { ...header, meta: "text" }, data },
      'message header, meta: expected a Uint8Array or an object, got "text"',
    ],
  ])("%o", async (value, text) => {
    const expected = { code: "STEMLINE_RUN_RESULT", message: text };
    expect(() => open(value)).toThrow(expect.objectContaining(expected));
    expect(() => open([message(1), value])).toThrow(expect.objectContaining(expected));
    await expect(readAll(open(new Set([value])))).rejects.toMatchObject(expected);
  });
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
    expect(await readAll(open(make()))).toEqual([message(1), message(2)]);
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
    const iterator = open(generator);
    expect(steps).toEqual([]);
    await iterator.next();
    expect(steps).toEqual(["make 1"]);
    await iterator.end();
    expect(steps).toEqual(["make 1", "end"]);
    expect(await iterator.next()).toBeNull();
  });

  test("an iterator without return can be ended", async () => {
    const bare = { [Symbol.iterator]: () => ({ next: () => ({ done: true as const, value: undefined }) }) };
    await expect(open(bare).end()).resolves.toBeUndefined();
  });

  test("passes on what the operator throws between two messages", async () => {
    const iterator = open(
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
    ["", "String"],
    ["text", "String"],
    [new Uint8Array(), "Uint8Array"],
    [7, "Number"],
    [Object.create(null), "object"],
  ])("refuses %o", (value, what) => {
    expect(() => open(value)).toThrow(
      expect.objectContaining({
        code: "STEMLINE_RUN_RESULT",
        message: `run returned ${what}; expected a message, an iterable of messages, or null`,
      }),
    );
  });

  test("refuses what is no message among messages", async () => {
    const iterator = open(new Set([message(1), "text"]));
    await iterator.next();
    await expect(iterator.next()).rejects.toMatchObject({
      code: "STEMLINE_RUN_RESULT",
      message: "run gave out String; expected messages",
    });
  });

  test("does not end what has ended or failed by itself, as for...of does not", async () => {
    let ends = 0;
    const counting = (next: () => IteratorResult<unknown>) => ({
      [Symbol.iterator]: () => ({
        next,
        return: () => {
          ends += 1;
          return { done: true as const, value: undefined };
        },
      }),
    });
    const over = open(counting(() => ({ done: true, value: undefined })));
    expect(await over.next()).toBeNull();
    await over.end();
    const failing = open(
      counting(() => {
        throw new Error("no more");
      }),
    );
    await expect(failing.next()).rejects.toThrow("no more");
    await failing.end();
    expect(ends).toBe(0);
    const left = open(counting(() => ({ done: false, value: message(1) })));
    await left.next();
    await left.end();
    await left.end();
    expect(ends).toBe(1);
    expect(await left.next()).toBeNull();
  });
});
