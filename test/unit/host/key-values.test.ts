import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import type { ControlPlane } from "../../../src/host/control-plane.ts";
import { KeyValues } from "../../../src/host/key-values.ts";
import { quietContext } from "../operator/context.ts";

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

/** A control plane that notes what is put and removed; `answer` decides when and how a put ends. */
function memoryPlane(answer: () => Promise<void> = async () => {}) {
  const done: string[] = [];
  const plane = {
    connected: true,
    put: (bucket, key, value) => {
      done.push(`${bucket} ${key}=${value}`);
      return answer();
    },
    remove: async (bucket, key) => void done.push(`${bucket} ${key} removed`),
  } as Pick<ControlPlane, "put" | "remove"> & { connected: boolean };
  return Object.assign(plane, { done, take: () => done.splice(0) });
}

function keyValues(plane: ReturnType<typeof memoryPlane>) {
  const lines: string[] = [];
  const write = (_fields: object, text: string) => void lines.push(text);
  const log = { ...quietContext().log, info: write, warn: write };
  return Object.assign(new KeyValues(plane as unknown as ControlPlane, log), { lines });
}

test("puts every key each second with its present value", async () => {
  const plane = memoryPlane();
  const keys = keyValues(plane);
  let count = 0;
  keys.add("stat", "op.a", () => "same");
  keys.add("met", "port.b", () => String(count));
  await vi.advanceTimersByTimeAsync(999);
  expect(plane.take()).toEqual([]);
  await vi.advanceTimersByTimeAsync(1);
  expect(plane.take()).toEqual(["stat op.a=same", "met port.b=0"]);
  count = 7;
  await vi.advanceTimersByTimeAsync(3000);
  expect(plane.take()).toEqual([1, 2, 3].flatMap(() => ["stat op.a=same", "met port.b=7"]));
  await keys.remove();
});

describe("a change", () => {
  test("is put at once, then again only after 100 ms, with what is true then", async () => {
    const plane = memoryPlane();
    const keys = keyValues(plane);
    let value = 0;
    keys.add("stat", "op.a", () => String(value));
    for (value = 1; value <= 3; value += 1) keys.changed();
    await vi.advanceTimersByTimeAsync(0);
    expect(plane.take()).toEqual(["stat op.a=4"]);
    for (value = 10; value < 60; value += 1) {
      keys.changed();
      await vi.advanceTimersByTimeAsync(2);
    }
    expect(plane.take()).toEqual(["stat op.a=59"]);
    await keys.remove();
  });

  test("during a round that read the old value is put after it", async () => {
    let finish = () => {};
    const plane = memoryPlane(() => new Promise((resolve) => (finish = resolve)));
    const keys = keyValues(plane);
    let value = "old";
    keys.add("stat", "op.a", () => value);
    const round = keys.putAll();
    value = "new";
    const next = keys.putAll();
    expect(plane.take()).toEqual(["stat op.a=old"]);
    finish();
    await round;
    await vi.advanceTimersByTimeAsync(0);
    expect(plane.take()).toEqual(["stat op.a=new"]);
    finish();
    await next;
  });
});

test("rounds that a slow server holds up do not line up", async () => {
  let finish = () => {};
  const plane = memoryPlane(() => new Promise((resolve) => (finish = resolve)));
  const keys = keyValues(plane);
  keys.add("stat", "op.a", () => "value");
  await vi.advanceTimersByTimeAsync(8500);
  expect(plane.take()).toHaveLength(1);
  finish();
  await vi.advanceTimersByTimeAsync(400);
  expect(plane.take()).toEqual([]);
  await vi.advanceTimersByTimeAsync(100);
  expect(plane.take()).toHaveLength(1);
});

test("nothing is put without a connection, and everything when it is back", async () => {
  const plane = memoryPlane();
  const keys = keyValues(plane);
  keys.add("stat", "op.a", () => "value");
  plane.connected = false;
  keys.changed();
  await vi.advanceTimersByTimeAsync(5000);
  expect(plane.take()).toEqual([]);
  plane.connected = true;
  keys.changed();
  await vi.advanceTimersByTimeAsync(0);
  expect(plane.take()).toEqual(["stat op.a=value"]);
  await keys.remove();
});

test("a put that fails stops nothing, and is told once until it works again", async () => {
  let fails = true;
  const plane = memoryPlane(async () => {
    if (fails) throw new Error("no stream");
  });
  const keys = keyValues(plane);
  keys.add("stat", "op.a", () => "value");
  keys.add("met", "op.a", () => "value");
  await vi.advanceTimersByTimeAsync(3000);
  expect(plane.take()).toHaveLength(6);
  fails = false;
  await vi.advanceTimersByTimeAsync(2000);
  expect(keys.lines).toEqual(["status and metrics cannot be put", "status and metrics are put again"]);
  await keys.remove();
});

describe("remove", () => {
  test("puts the last values before it removes the keys, and nothing comes after", async () => {
    const plane = memoryPlane();
    const keys = keyValues(plane);
    let value = "running";
    keys.add("stat", "op.a", () => value);
    keys.add("met", "op.a", () => "times");
    await keys.putAll();
    plane.take();
    value = "shutting_down";
    keys.changed();
    await keys.remove();
    expect(plane.take()).toEqual([
      "stat op.a=shutting_down",
      "met op.a=times",
      "stat op.a removed",
      "met op.a removed",
    ]);
    keys.changed();
    await keys.putAll();
    await vi.advanceTimersByTimeAsync(5000);
    expect(plane.take()).toEqual([]);
  });

  test("leaves the keys to expire when there is no connection", async () => {
    const plane = memoryPlane();
    const keys = keyValues(plane);
    keys.add("stat", "op.a", () => "value");
    plane.connected = false;
    await keys.remove();
    plane.connected = true;
    await vi.advanceTimersByTimeAsync(5000);
    expect(plane.take()).toEqual([]);
  });
});
