import { describe, expect, it } from "vitest";
import { readBoolean, readFloat, readInteger } from "../../../src/spec/lax-scalar.ts";

// Every expectation was taken from pydantic 2.13 in its lax mode; the recordings of the peer hold the common ones.
// A list is one argument, hence the objects.

describe("readInteger", () => {
  it.each([
    { value: "-0", expected: 0 },
    { value: "0_1", expected: 1 },
    { value: "00", expected: 0 },
    { value: " 1\n", expected: 1 },
    { value: "1_0.0", expected: 10 },
    { value: "1.00000 ", expected: 1 },
    { value: "-007", expected: -7 },
    { value: "+007", expected: 7 },
    { value: 1e18, expected: 1e18 },
    { value: false, expected: 0 },
  ])("takes $value", ({ value, expected }) => {
    expect(readInteger(value)).toBe(expected);
  });

  it.each(
    [
      ...[
        "1.",
        "1.0_0",
        "+-1",
        "--1",
        "++1",
        "-+1",
        "1_",
        "_1",
        "+_1",
        "1__0",
        ".0",
        "0.",
        "-.0",
        "１",
        "1 0",
        "+ 1",
      ],
      ...[
        "",
        "-",
        "+",
        "1e0",
        "0x1",
        "١",
        "nan",
        Number.NaN,
        Number.POSITIVE_INFINITY,
        0.5,
        null,
        undefined,
        {},
      ],
    ].map((value) => ({ value })),
  )("refuses $value", ({ value }) => {
    expect(readInteger(value)).toBeUndefined();
  });
});

describe("readFloat", () => {
  it.each([
    { value: "1_000", expected: 1000 },
    { value: "1e1_0", expected: 1e10 },
    { value: "+.5", expected: 0.5 },
    { value: "-5.", expected: -5 },
    { value: "5E+3", expected: 5000 },
    { value: "Infinity", expected: Number.POSITIVE_INFINITY },
    { value: "-inf", expected: Number.NEGATIVE_INFINITY },
    { value: "+inf", expected: Number.POSITIVE_INFINITY },
    { value: "-nan", expected: Number.NaN },
    { value: "NaN", expected: Number.NaN },
    { value: "1e400", expected: Number.POSITIVE_INFINITY },
    { value: false, expected: 0 },
  ])("takes $value", ({ value, expected }) => {
    expect(readFloat(value)).toBe(expected);
  });

  it.each(
    [
      ...[
        "1__0",
        "_1",
        "1_",
        "infinit",
        ".",
        "e5",
        "1e",
        "0x10",
        "1f",
        "1 2",
        "１",
        "",
        "true",
        null,
        undefined,
        {},
      ],
    ].map((value) => ({ value })),
  )("refuses $value", ({ value }) => {
    expect(readFloat(value)).toBeUndefined();
  });
});

describe("readBoolean", () => {
  it.each([
    ...["TRUE", "T", "Y", "oN", "yes", "1", 1, true].map((value) => ({ value, expected: true })),
    ...["OFF", "F", "n", "No", "0", 0, false].map((value) => ({ value, expected: false })),
  ])("takes $value", ({ value, expected }) => {
    expect(readBoolean(value)).toBe(expected);
  });

  it.each(
    ["t ", " true", "01", "1.0", "ye", "", -1, 2, 0.5, null, undefined, {}].map((value) => ({ value })),
  )("refuses $value", ({ value }) => {
    expect(readBoolean(value)).toBeUndefined();
  });
});
