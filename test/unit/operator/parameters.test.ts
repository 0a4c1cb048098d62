import { describe, expect, expectTypeOf, it } from "vitest";
import {
  boolean,
  float,
  integer,
  mount,
  oneOf,
  type ParameterDeclarations,
  type ParameterValues,
  string,
} from "../../../src/operator/parameters.ts";
import { type ParameterValue, resolveParameters } from "../../../src/spec/parameter-value.ts";

describe("builders", () => {
  it.each([
    [integer(), { type: "int" }],
    [integer({ default: 5 }), { type: "int", default: 5 }],
    [integer({ optional: true }), { type: "int", optional: true }],
    [float({ default: 0.5 }), { type: "float", default: 0.5 }],
    [string({ default: "" }), { type: "str", default: "" }],
    [boolean({ default: false }), { type: "bool", default: false }],
    [mount(), { type: "mount" }],
    [oneOf(["a", "b"]), { type: "str-enum", options: ["a", "b"] }],
    [oneOf(["a", "b"], { default: "b" }), { type: "str-enum", options: ["a", "b"], default: "b" }],
    [oneOf(["a"], { optional: true }), { type: "str-enum", options: ["a"], optional: true }],
  ])("declare %j", (declaration, expected) => {
    expect(declaration).toEqual(expected);
  });

  it("make what resolveParameters reads", () => {
    const declarations = {
      crop: integer({ optional: true }),
      gain: float({ default: 2 }),
      shape: oneOf(["box", "disk"], { default: "box" }),
    };
    const given = [{ name: "shape", default: "box", value: "disk" }];
    expect(resolveParameters(declarations, given)).toEqual({ crop: undefined, gain: 2, shape: "disk" });
  });

  it("refuse at compile time what cannot work", () => {
    // @ts-expect-error: the default has another type.
    integer({ default: "5" });
    // @ts-expect-error: a default that is never used.
    integer({ default: 5, optional: true });
    // @ts-expect-error: the default is no choice.
    oneOf(["a", "b"], { default: "c" });
    // @ts-expect-error: no such setting.
    float({ min: 0 });
    // @ts-expect-error: choices are text.
    oneOf([1, 2]);
    expect.assertions(0);
  });
});

describe("ParameterValues", () => {
  it("has the type of every declaration", () => {
    const declarations = {
      count: integer(),
      countWithDefault: integer({ default: 1 }),
      optionalCount: integer({ optional: true }),
      gain: float({ default: 1 }),
      optionalGain: float({ optional: true }),
      title: string(),
      optionalTitle: string({ optional: true }),
      flag: boolean({ default: true }),
      optionalFlag: boolean({ optional: true }),
      folder: mount(),
      optionalFolder: mount({ optional: true }),
      shape: oneOf(["box", "disk"], { default: "box" }),
      requiredShape: oneOf(["box", "disk"]),
      optionalShape: oneOf(["box", "disk"], { optional: true }),
    };
    expectTypeOf<ParameterValues<typeof declarations>>().toEqualTypeOf<{
      readonly count: number;
      readonly countWithDefault: number;
      readonly optionalCount: number | undefined;
      readonly gain: number;
      readonly optionalGain: number | undefined;
      readonly title: string;
      readonly optionalTitle: string | undefined;
      readonly flag: boolean;
      readonly optionalFlag: boolean | undefined;
      readonly folder: string;
      readonly optionalFolder: string | undefined;
      readonly shape: "box" | "disk";
      readonly requiredShape: "box" | "disk";
      readonly optionalShape: "box" | "disk" | undefined;
    }>();
  });

  it("is what resolveParameters gives where the declarations are not known", () => {
    expectTypeOf<ParameterValues<ParameterDeclarations>>().toEqualTypeOf<
      Readonly<Record<string, ParameterValue | undefined>>
    >();
    expectTypeOf(resolveParameters).returns.toExtend<ParameterValues<ParameterDeclarations>>();
  });
});
