import { describe, expect, it } from "vitest";
import { type Baseline, compare, whyIncomparable } from "../../bench/instructions/gate.ts";

const baseline: Baseline = { compiler: "GNU 12.2.0", valgrind: "3.19.0", counts: { a: 1000, b: 2000 } };

describe("the comparison of instruction counts", () => {
  it("passes up to three percent either way", () => {
    expect(compare(baseline, { a: 1030, b: 1940 })).toMatchObject({ failed: false, recordable: false });
  });

  it("fails above, and names case, baseline, count and percent", () => {
    const { failed, lines } = compare(baseline, { a: 1031, b: 2000 });
    expect(failed).toBe(true);
    expect(lines[0]).toBe("a: baseline 1000, counted 1031, +3.10 %, FAILED: at most +3 % is allowed");
    expect(lines[1]).toBe("b: baseline 2000, counted 2000, +0.00 %");
  });

  it("says that a new baseline could be recorded when there are fewer", () => {
    const { failed, recordable, lines } = compare(baseline, { a: 900, b: 2000 });
    expect([failed, recordable]).toEqual([false, true]);
    expect(lines[0]).toBe("a: baseline 1000, counted 900, -10.00 %, fewer");
  });

  it("fails for a case without a baseline", () => {
    expect(compare(baseline, { c: 5 })).toMatchObject({ failed: true });
  });

  it("is not made between compilers", () => {
    expect(whyIncomparable(baseline, { compiler: "GNU 12.2.0", valgrind: "3.19.0" })).toBe("");
    expect(whyIncomparable(baseline, { compiler: "GNU 13.1.0", valgrind: "3.19.0" })).toBe(
      "compiler GNU 13.1.0, the baseline is of GNU 12.2.0",
    );
  });
});
