import { describe, expect, it, vi } from "vitest";
import { epochMilliseconds, readWireTime, wireTime } from "../../../src/wire/time.ts";

describe("wireTime", () => {
  const local = new Date(2025, 2, 4, 5, 6, 7).getTime();

  it.each([
    [local, "2025-03-04T05:06:07"],
    [local + 89.012, "2025-03-04T05:06:07.089012"],
    [local + 0.5, "2025-03-04T05:06:07.000500"],
    [local + 999.9996, "2025-03-04T05:06:08"],
    [new Date(1969, 6, 20, 20, 17, 40).getTime() + 0.25, "1969-07-20T20:17:40.000250"],
  ])("formats %d as local time", (milliseconds, expected) => {
    expect(wireTime(milliseconds)).toBe(expected);
  });

  it("formats the present by default", () => {
    const before = Date.now();
    const now = new Date(wireTime()).getTime();
    expect(now).toBeGreaterThanOrEqual(before - 2);
    expect(now).toBeLessThanOrEqual(Date.now() + 2);
  });

  it("is text that readWireTime takes unchanged", () => {
    expect(readWireTime(wireTime(local + 1.5))).toBe(wireTime(local + 1.5));
  });
});

describe("epochMilliseconds", () => {
  it("has a resolution below a millisecond", () => {
    const fractions = Array.from({ length: 50 }, () => epochMilliseconds() % 1);
    expect(fractions.some((fraction) => fraction !== 0)).toBe(true);
  });

  it("follows a clock that is set anew", () => {
    const hour = 3_600_000;
    const later = Date.now() + hour;
    const clock = vi.spyOn(Date, "now").mockReturnValue(later);
    expect(epochMilliseconds()).toBe(later);
    clock.mockRestore();
    expect(Math.abs(epochMilliseconds() - Date.now())).toBeLessThan(hour / 2);
  });
});

describe("readWireTime", () => {
  // Every pair was taken from pydantic 2.13; the header recordings hold the common spellings.
  it.each([
    ["2025-03-04T05:06:07-00:00", "2025-03-04T05:06:07Z"],
    ["2025-03-04T05:06:07+23:59", "2025-03-04T05:06:07+23:59"],
    ["2025-03-04T05:06:07\u221205:00", "2025-03-04T05:06:07-05:00"],
    ["2025-03-04T05:06:07,5+01:00", "2025-03-04T05:06:07.500000+01:00"],
    ["2025-03-04T05:06:07.5z", "2025-03-04T05:06:07.500000Z"],
    ["2025-03-04T05:06Z", "2025-03-04T05:06:00Z"],
    ["2025-03-04T05:06:07.1234567890123", "2025-03-04T05:06:07.123456"],
    ["2024-02-29", "2024-02-29T00:00:00"],
    ["2000-02-29", "2000-02-29T00:00:00"],
    ["0001-01-01", "0001-01-01T00:00:00"],
    ["9999-12-31T23:59:59.999999", "9999-12-31T23:59:59.999999"],
    ["20250304", "1970-08-23T09:05:04Z"],
    ["+5", "1970-01-01T00:00:05Z"],
    ["-5", "1969-12-31T23:59:55Z"],
    [".5", "1970-01-01T00:00:00.500000Z"],
    ["5.", "1970-01-01T00:00:05Z"],
    ["20000000000", "2603-10-11T11:33:20Z"],
    ["20000000001", "1970-08-20T11:33:20.001000Z"],
    [-20000000001, "1969-05-14T12:26:39.999000Z"],
    [1741064767089.5, "2025-03-04T05:06:07.089500Z"],
    ["1741064767.9999998", "2025-03-04T05:06:08Z"],
    [-62135596800, "1968-01-12T20:06:43.200000Z"],
    [253402300799999, "9999-12-31T23:59:59.999000Z"],
  ])("takes %j", (value, expected) => {
    expect(readWireTime(value)).toBe(expected);
  });

  it.each([
    "2025-03-04T05:06:07+05",
    "2025-03-04T05:06:07+24:00",
    "2025-03-04T05:06:07+05:60",
    "2025-03-04T05:06:07.",
    "2025-03-04T05",
    "2025-03-04T",
    "2025-03-04Z",
    "2025-03-04T24:00:00",
    "2025-03-04T05:60:00",
    "2025-03-04T05:06:07 Z",
    "2025-3-4",
    "0000-01-01",
    "2025-02-29",
    "1900-02-29",
    "2025-04-31",
    "2025-00-01",
    "2025-01-00",
    " 2025-03-04",
    "1e9",
    "1_000",
    " 5",
    "inf",
    Number.NaN,
    Number.POSITIVE_INFINITY,
    1e15,
    253402300800000,
    undefined,
    null,
    [],
  ])("refuses %j", (value) => {
    expect(readWireTime(value)).toBeUndefined();
  });
});
