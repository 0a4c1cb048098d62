import { describe, expect, it } from "vitest";
import { describeValue, isRecord } from "../../../src/wire/json.ts";

describe("describeValue", () => {
  it.each([
    [undefined, "nothing"],
    [null, "null"],
    ["a\nb", '"a\\nb"'],
    ["x".repeat(100), `"${"x".repeat(60)}..."`],
    [[1, 2], "a list of 2"],
    [{}, "an object"],
    [() => 1, "a function"],
    [1.5, "1.5"],
    [true, "true"],
  ])("names %j", (value, expected) => {
    expect(describeValue(value)).toBe(expected);
  });
});

describe("isRecord", () => {
  it.each([
    [{}, true],
    [[], false],
    [null, false],
    ["x", false],
  ])("tells whether %j is an object", (value, expected) => {
    expect(isRecord(value)).toBe(expected);
  });
});
