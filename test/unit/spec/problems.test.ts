import { describe, expect, it } from "vitest";
import { z } from "zod";
import { describeIssue, formatPath, formatProblems, problemsOf } from "../../../src/spec/problems.ts";

describe("formatPath", () => {
  it.each([
    { path: [], text: "" },
    { path: ["parameters", 0, "default"], text: "parameters[0].default" },
    { path: [2, "id"], text: "[2].id" },
  ])("writes $text", ({ path, text }) => {
    expect(formatPath(path)).toBe(text);
  });
});

describe("formatProblems", () => {
  it("writes one line for each problem and no empty place", () => {
    const problems = [
      { path: "a.b", message: "one" },
      { path: "", message: "two" },
    ];
    expect(formatProblems(problems)).toBe("\n  a.b: one\n  two");
  });
});

describe("describeIssue", () => {
  it("says what was expected and what came", () => {
    const schema = z.object({
      count: z.number(),
      list: z.array(z.string()),
      mode: z.enum(["a", "b"]),
      shape: z.discriminatedUnion("kind", [
        z.object({ kind: z.literal("x") }),
        z.object({ kind: z.literal("y") }),
      ]),
      small: z.number().max(3),
    });
    const value = { count: "1", list: [1], mode: "c", shape: { kind: "z" }, small: 4 };
    const { error } = schema.safeParse(value, { error: describeIssue });
    expect(error && problemsOf(error)).toEqual([
      { path: "count", message: 'expected a number, got "1"' },
      { path: "list[0]", message: "expected a string, got 1" },
      { path: "mode", message: 'expected one of "a", "b", got "c"' },
      { path: "shape.kind", message: 'expected one of "x", "y", got "z"' },
      { path: "small", message: expect.stringContaining("<=3") },
    ]);
  });
});
