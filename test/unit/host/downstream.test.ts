import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { Downstream } from "../../../src/host/downstream.ts";
import { HostMetrics } from "../../../src/host/metrics.ts";
import type { OutputPortView } from "../../../src/spec/runtime-pipeline.ts";

const format = "frames-2";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

const port = (id: string, ...downstream: string[]): OutputPortView => ({
  id,
  canonicalId: id,
  portkey: "out",
  downstream,
});

/** Output ports whose readers' keys the test puts. */
function prepare(outputs: readonly OutputPortView[], enabled = true) {
  const watches = new Map<string, (value: Uint8Array | null) => void>();
  const lines: { text: string; fields: object }[] = [];
  const write = (fields: object, text: string) => void lines.push({ text, fields });
  let stopped = 0;
  const metrics = new HostMetrics();
  const downstream = new Downstream({
    outputs,
    enabled,
    metrics,
    control: {
      watch(bucket, key, onValue) {
        expect(bucket).toBe("stat");
        expect(watches.has(key)).toBe(false);
        watches.set(key, onValue);
        return {
          async stop() {
            stopped += 1;
          },
        };
      },
    },
    log: { debug: write, info: write, warn: write, error: write },
  });
  const put = (id: string, value: string | object | null) => {
    const text = typeof value === "string" ? value : JSON.stringify(value);
    watches.get(`port.${id}`)!(value === null ? null : new TextEncoder().encode(text));
  };
  return {
    downstream,
    put,
    lines,
    watched: () => [...watches.keys()].sort(),
    stopped: () => stopped,
    accepts: () => downstream.accepts(format),
    states: async () =>
      (await metrics.fastLane.get()).values.map(({ labels, value }) => [labels.format, labels.state, value]),
    /** As a process does every second. */
    async live(seconds: number, values: Readonly<Record<string, object>>) {
      for (let second = 0; second < seconds; second += 1) {
        for (const [id, value] of Object.entries(values)) put(id, value);
        await vi.advanceTimersByTimeAsync(1000);
      }
    },
  };
}

const ours = { uri: null, accepts: ["frames-1", format] };
const python = { uri: null, status: "idle" };

describe("a format is accepted", () => {
  test("once every reader of every port has said so twice, and it is said in log and metrics", async () => {
    const { accepts, put, lines, states, watched, live } = prepare([port("o1", "a", "b"), port("o2", "c")]);
    expect(watched()).toEqual([]);
    expect(accepts()).toBe(false);
    expect(watched()).toEqual(["port.a", "port.b", "port.c"]);
    expect(await states()).toEqual([[format, "unknown reader", 1]]);
    await live(1, { a: ours, b: ours, c: ours });
    expect(accepts()).toBe(false);
    put("a", ours);
    put("b", ours);
    expect(accepts()).toBe(false);
    put("c", ours);
    expect(accepts()).toBe(true);
    expect(await states()).toEqual([[format, "on", 1]]);
    expect(lines).toEqual([
      { text: "fast lane off: unknown reader", fields: { format, port: "o1", reader: "a" } },
      { text: "fast lane on", fields: { format } },
    ]);
  });

  test("by others than another format", async () => {
    const { downstream, accepts, live } = prepare([port("o", "a")]);
    accepts();
    await live(2, { a: ours });
    expect(accepts()).toBe(true);
    expect(downstream.accepts("frames-1")).toBe(true);
    expect(downstream.accepts("frames-3")).toBe(false);
  });

  test("through many replicas of the reader, none of them left out", async () => {
    const ids = Array.from({ length: 20 }, (_, index) => `r${index}`);
    const { accepts, live, put } = prepare([port("o", ...ids)]);
    accepts();
    await live(2, Object.fromEntries(ids.map((id) => [id, ours])));
    expect(accepts()).toBe(true);
    put("r13", python);
    expect(accepts()).toBe(false);
  });
});

describe("in doubt it is not:", () => {
  const doubts = {
    "a Python reader": { a: ours, b: python },
    "an older release of ours": { a: ours, b: { uri: null, accepts: ["frames-1"] } },
    "a reader that says something else": { a: ours, b: { uri: null, accepts: "frames-2" } },
    "a reader that has said nothing": { a: ours },
  };
  test.each(Object.entries(doubts))("%s", async (_title, values) => {
    const { accepts, live } = prepare([port("o1", "a"), port("o2", "b")]);
    accepts();
    await live(3, values);
    expect(accepts()).toBe(false);
  });

  test("a value that is not JSON, which is logged", async () => {
    const { accepts, live, put, lines } = prepare([port("o", "a")]);
    accepts();
    await live(2, { a: ours });
    put("a", "{");
    expect(accepts()).toBe(false);
    expect(lines.map(({ text }) => text)).toContain("Port status: expected JSON text in UTF-8");
  });

  test("a port that nobody reads, and an operator without ports", async () => {
    const { accepts, watched, lines } = prepare([port("o1", "a"), port("o2")]);
    expect(accepts()).toBe(false);
    expect(watched()).toEqual([]);
    expect(lines).toEqual([{ text: "fast lane off: unread port", fields: { format, port: "o2" } }]);
    expect(prepare([]).accepts()).toBe(false);
  });

  test("when it is switched off, and then nothing is watched", async () => {
    const { accepts, watched, states } = prepare([port("o", "a")], false);
    expect(accepts()).toBe(false);
    expect(watched()).toEqual([]);
    expect(await states()).toEqual([[format, "switched off", 1]]);
  });

  test("a value that was there before, of a process that puts it no more", async () => {
    const { accepts, put } = prepare([port("o", "a")]);
    accepts();
    put("a", ours);
    expect(accepts()).toBe(false);
    await vi.advanceTimersByTimeAsync(6000);
    // The same once more, after the connection to NATS was lost.
    put("a", ours);
    expect(accepts()).toBe(false);
  });
});

describe("it is decided again", () => {
  test("when a reader says nothing for 5 s, as without NATS, and when it is back", async () => {
    const { accepts, live, lines } = prepare([port("o", "a")]);
    accepts();
    await live(3, { a: ours });
    await vi.advanceTimersByTimeAsync(3900);
    expect(accepts()).toBe(true);
    await vi.advanceTimersByTimeAsync(200);
    expect(accepts()).toBe(false);
    await live(1, { a: ours });
    expect(accepts()).toBe(false);
    await live(1, { a: ours });
    expect(accepts()).toBe(true);
    expect(lines.map(({ text }) => text.replace("fast lane ", ""))).toEqual([
      "off: unknown reader",
      "on",
      "off: unknown reader",
      "on",
    ]);
  });

  test("at once when another process takes a reader's place, or its key is removed", async () => {
    const { accepts, live, put } = prepare([port("o", "a")]);
    accepts();
    await live(2, { a: ours });
    put("a", python);
    expect(accepts()).toBe(false);
    await live(2, { a: ours });
    expect(accepts()).toBe(true);
    put("a", null);
    expect(accepts()).toBe(false);
    put("a", ours);
    expect(accepts()).toBe(false);
  });
});

test("watches end with it", async () => {
  const { downstream, accepts, stopped } = prepare([port("o", "a", "b")]);
  accepts();
  accepts();
  await downstream.stop();
  expect(stopped()).toBe(2);
});
