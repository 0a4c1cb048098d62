import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { BoundedQueue } from "../../../src/local/bounded-queue.ts";

const settled = async (promise: Promise<unknown>) => {
  const pending = Symbol("pending");
  const turn = new Promise((resolve) => setImmediate(resolve, pending));
  return (await Promise.race([promise, turn])) !== pending;
};

describe("BoundedQueue", () => {
  test("makes a writer wait while it is full", async () => {
    const queue = new BoundedQueue<number>(2, 1);
    expect(await queue.push(1)).toBe(true);
    expect(await queue.push(2)).toBe(true);
    const third = queue.push(3);
    expect(await settled(third)).toBe(false);
    expect(queue.size).toBe(2);
    expect(await queue.pull()).toBe(1);
    expect(await third).toBe(true);
    expect(queue.size).toBe(2);
  });

  test("serves readers in the order they asked", async () => {
    const queue = new BoundedQueue<number>(1, 1);
    const readers = [queue.pull(), queue.pull()];
    await queue.push(1);
    await queue.push(2);
    expect(await Promise.all(readers)).toEqual([1, 2]);
    expect(queue.size).toBe(0);
  });

  test("ends when all writers are done and it is empty", async () => {
    const queue = new BoundedQueue<number>(4, 2);
    const reader = queue.pull();
    queue.writerDone();
    expect(await settled(reader)).toBe(false);
    await queue.push(1);
    await queue.push(2);
    queue.writerDone();
    expect(await reader).toBe(1);
    expect(await queue.pull()).toBe(2);
    expect(await queue.pull()).toBe(null);
    expect(await queue.pull()).toBe(null);
  });

  test("lets every reader know of the end", async () => {
    const queue = new BoundedQueue<number>(4, 1);
    const readers = [queue.pull(), queue.pull()];
    queue.writerDone();
    expect(await Promise.all(readers)).toEqual([null, null]);
  });

  test("cancel throws away what waits and frees both sides", async () => {
    const queue = new BoundedQueue<number>(1, 1);
    await queue.push(1);
    const blocked = queue.push(2);
    expect(queue.cancel()).toBe(1);
    expect(await blocked).toBe(false);
    expect(await queue.push(3)).toBe(false);
    expect(await queue.pull()).toBe(null);
    expect(queue.cancel()).toBe(0);
  });

  test("keeps order and bound whatever the interleaving", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 5 }),
        fc.array(fc.boolean(), { maxLength: 60 }),
        async (capacity, steps) => {
          const queue = new BoundedQueue<number>(capacity, 1);
          const pushes: Promise<boolean>[] = [];
          const pulls: Promise<number | null>[] = [];
          for (const write of steps) {
            if (write) pushes.push(queue.push(pushes.length));
            else pulls.push(queue.pull());
            expect(queue.size).toBeLessThanOrEqual(capacity);
          }
          queue.writerDone();
          while (pulls.length < pushes.length) pulls.push(queue.pull());
          expect(await Promise.all(pushes)).toEqual(pushes.map(() => true));
          const expected = pulls.map((_, index) => (index < pushes.length ? index : null));
          expect(await Promise.all(pulls)).toEqual(expected);
        },
      ),
    );
  });
});
