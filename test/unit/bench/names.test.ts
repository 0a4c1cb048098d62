import { describe, expect, it } from "vitest";
import { baselineOf, choose, limitOf, whoOf, workOf } from "../../bench/names.ts";

const all = [
  ...["limit/clock", "limit/stream/l3", "limit/memcpy/l3"],
  ...["stream", "naive", "avx512", "javascript"].map((who) => `com/none/${who}/100/l3`),
  ...["com/own-box/avx512/100/l3", "decode/msgpack/32768", "decode/msgpack/javascript/32768"],
  ...["partial/none/node/100/512", "partial/none/node/100/512/threads:2"],
  ...["shape/events/naive/1", "shape/events/avx512/1", "host/partial/100/1MB", "host/partial/direct/100/1MB"],
];

describe("names of benchmarks", () => {
  it("tell who does the work, and the work itself", () => {
    expect(whoOf("com/own-box/avx512/100/l3")).toBe("avx512");
    expect(workOf("com/own-box/avx512/100/l3")).toBe("com/own-box/100/l3");
    expect(whoOf("decode/msgpack/32768")).toBeNull();
    expect(whoOf("limit/stream/l3")).toBeNull();
  });

  it("tell the limit: of the same bytes if that is measured, else of their level", () => {
    expect(limitOf("com/none/avx512/100/l3", all)).toBe("com/none/stream/100/l3");
    expect(limitOf("host/partial/100/1MB", all)).toBe("host/partial/direct/100/1MB");
    expect(limitOf("decode/msgpack/32768", all)).toBe("limit/stream/l3");
    expect(limitOf("limit/stream/l3", all)).toBeNull();
    expect(limitOf("decode/msgpack/32768", [])).toBeNull();
  });

  it("tell the baseline: naive before JavaScript; of two threads, one", () => {
    expect(baselineOf("com/none/avx512/100/l3", all)).toBe("com/none/naive/100/l3");
    expect(baselineOf("decode/msgpack/32768", all)).toBe("decode/msgpack/javascript/32768");
    expect(baselineOf("partial/none/node/100/512/threads:2", all)).toBe("partial/none/node/100/512");
    expect(baselineOf("limit/clock", all)).toBeNull();
  });
});

describe("choose", () => {
  it("adds what a figure is compared with, and the limits", () => {
    expect(choose(all, /^com\/none\/avx512/, false)).toEqual([
      ...["limit/clock", "limit/stream/l3", "limit/memcpy/l3"],
      ...["com/none/stream/100/l3", "com/none/naive/100/l3", "com/none/avx512/100/l3"],
    ]);
  });

  it("leaves out shapes and operator processes unless they are asked for", () => {
    const operations = (names: readonly string[]) => new Set(names.map((name) => name.split("/")[0]));
    expect(operations(choose(all, null, false))).toEqual(new Set(["limit", "com", "decode", "partial"]));
    expect(choose(all, null, true)).toEqual(all);
    expect(choose(all, /^shape/, false)).toContain("shape/events/avx512/1");
  });
});
