import { describe, expect, it } from "vitest";
import { ParameterError } from "../../../src/errors.ts";
import { type ParameterSpec, parameterSpecSchema } from "../../../src/spec/operator-spec.ts";
import {
  type DeclaredParameter,
  parseParameterUpdate,
  parseParameterValue,
  resolveParameters,
} from "../../../src/spec/parameter-value.ts";
import { readGolden } from "../wire/golden.ts";

interface UpdateCase {
  readonly parameter: ParameterSpec;
  readonly initial_value_seen_by_kernel: unknown;
  readonly update: { readonly value: unknown };
  readonly valid: boolean;
  readonly kernel_value?: unknown;
  readonly ack?: { readonly value: unknown };
}

interface EnvelopeCase {
  readonly name: string;
  readonly body: unknown;
  readonly valid: boolean;
  readonly kernel_value?: unknown;
}

const updates = readGolden<UpdateCase[]>("params/update-cases.json").map((golden) => ({
  ...golden,
  title: `${golden.parameter.type} set to ${JSON.stringify(golden.update.value)}`,
}));
const envelopes = readGolden<EnvelopeCase[]>("params/update-envelope-cases.json");

const anInteger = parameterSpecSchema.parse({
  name: "p",
  label: "P",
  description: "d",
  type: "int",
  default: "3",
  required: false,
});

describe("recorded updates", () => {
  it.each(updates.filter(({ valid }) => valid))("$title", ({ parameter, update, kernel_value, ack }) => {
    expect(parseParameterUpdate([parameter], update)).toEqual({ name: "p", value: kernel_value });
    expect(parseParameterValue(parameter, update.value)).toBe(kernel_value);
    expect(ack?.value).toBe(kernel_value);
  });

  it.each(updates.filter(({ valid }) => !valid))("$title is refused", ({ parameter, update }) => {
    expect(() => parseParameterUpdate([parameter], update)).toThrow(ParameterError);
    if (parameter.type !== "mount") {
      expect(() => parseParameterValue(parameter, update.value)).toThrow(/^Parameter "p": expected .*, got /);
    }
  });

  it.each(updates)("before $title the default counts", ({ parameter, initial_value_seen_by_kernel }) => {
    // The peer's kernels do not see mounts; ours see the path.
    const expected = parameter.type === "mount" ? parameter.default : initial_value_seen_by_kernel;
    const declaration = {
      type: parameter.type,
      ...("options" in parameter && { options: parameter.options }),
    };
    expect(resolveParameters({ p: declaration }, [parameter])).toEqual({ p: expected });
  });

  it.each(envelopes.filter(({ valid }) => valid))("body $name", ({ body, kernel_value }) => {
    expect(parseParameterUpdate([anInteger], body)).toEqual({ name: "p", value: kernel_value });
  });

  it.each(envelopes.filter(({ valid }) => !valid))("body $name is refused", ({ body }) => {
    expect(() => parseParameterUpdate([anInteger], body)).toThrow(ParameterError);
  });
});

describe("parseParameterValue", () => {
  it.each([
    { type: "int", value: "abc", message: 'Parameter "p": expected an integer, got "abc"' },
    { type: "float", value: null, message: 'Parameter "p": expected a number, got null' },
    { type: "bool", value: 2, message: 'Parameter "p": expected a boolean, got 2' },
    { type: "str", value: 5, message: 'Parameter "p": expected a string, got 5' },
    { type: "mount", value: [], message: 'Parameter "p": expected a path, got a list of 0' },
    { type: "str-enum", value: "c", message: 'Parameter "p": expected one of "a", "b", got "c"' },
  ] as const)("names parameter, expectation and value of a bad $type", ({ type, value, message }) => {
    const parameter = { name: "p", type, options: ["a", "b"] };
    expect(() => parseParameterValue(parameter, value)).toThrow(
      new ParameterError("STEMLINE_PARAMETER_VALUE", message),
    );
  });
});

describe("resolveParameters", () => {
  const declared = (declaration: DeclaredParameter) => ({ p: declaration });
  const pipeline = (value: unknown) => [{ ...anInteger, value }];

  it.each([
    {
      title: "the pipeline's value",
      given: pipeline("7"),
      declaration: { type: "int", default: 5 },
      expected: 7,
    },
    {
      title: "its default where the value is null",
      given: pipeline(null),
      declaration: { type: "int", default: 5 },
      expected: 3,
    },
    {
      title: "its default where there is no value",
      given: [anInteger],
      declaration: { type: "int", optional: true },
      expected: 3,
    },
    { title: "the declared default", given: [], declaration: { type: "int", default: 5 }, expected: 5 },
    {
      title: "undefined for an optional one",
      given: [],
      declaration: { type: "int", optional: true },
      expected: undefined,
    },
    {
      title: "a value of the declared type",
      given: pipeline(2),
      declaration: { type: "float" },
      expected: 2,
    },
    {
      title: "the last of several",
      given: [...pipeline(1), ...pipeline(2)],
      declaration: { type: "int" },
      expected: 2,
    },
    {
      title: "false over a default",
      given: pipeline(false),
      declaration: { type: "bool", default: true },
      expected: false,
    },
  ] as const)("gives $title", ({ given, declaration, expected }) => {
    expect(resolveParameters(declared(declaration), given)).toEqual({ p: expected });
  });

  it("has a key for every declared parameter and no other", () => {
    const values = resolveParameters({ q: { type: "int", optional: true } }, [anInteger]);
    expect(Object.keys(values)).toEqual(["q"]);
  });

  it("takes a mount's path from mounts, else from the pipeline", () => {
    const given = [{ name: "p", default: "~/data", value: "/data/scan" }];
    expect(resolveParameters(declared({ type: "mount" }), given, { p: "/mnt/p" })).toEqual({ p: "/mnt/p" });
    expect(resolveParameters(declared({ type: "mount" }), given)).toEqual({ p: "/data/scan" });
    expect(resolveParameters(declared({ type: "str" }), given, { p: "/mnt/p" })).toEqual({ p: "/data/scan" });
  });

  it("refuses a parameter without any value", () => {
    expect(() => resolveParameters(declared({ type: "int" }), [])).toThrow(
      new ParameterError(
        "STEMLINE_PARAMETER_MISSING",
        'Parameter "p": expected an integer from the pipeline, got nothing, and run.ts declares no default',
      ),
    );
  });

  it("refuses a pipeline value that does not fit the declaration", () => {
    expect(() => resolveParameters(declared({ type: "str-enum", options: ["a"] }), pipeline("b"))).toThrow(
      new ParameterError("STEMLINE_PARAMETER_VALUE", 'Parameter "p": expected one of "a", got "b"'),
    );
  });
});

describe("parseParameterUpdate", () => {
  const body = {
    canonical_operator_id: "5bd6ef2a-91c0-4d7e-8000-000000000001",
    name: "p",
    type: "int",
    value: 1,
  };

  it.each([
    { wrong: 5, code: "STEMLINE_PARAMETER_UPDATE", message: "Parameter update: expected an object, got 5" },
    {
      wrong: { ...body, canonical_operator_id: "x" },
      code: "STEMLINE_PARAMETER_UPDATE",
      message: 'Parameter update canonical_operator_id: expected a UUID, got "x"',
    },
    {
      wrong: { ...body, name: 1 },
      code: "STEMLINE_PARAMETER_UPDATE",
      message: "Parameter update name: expected a string, got 1",
    },
    {
      wrong: { ...body, type: "integer" },
      code: "STEMLINE_PARAMETER_UPDATE",
      message:
        'Parameter update type: expected one of "str", "int", "float", "bool", "mount", "str-enum", got "integer"',
    },
    {
      wrong: { ...body, name: "q" },
      code: "STEMLINE_PARAMETER_UNKNOWN",
      message: 'Parameter "q": expected one of "p"',
    },
  ])("refuses with $message", ({ wrong, code, message }) => {
    expect(() => parseParameterUpdate([anInteger], wrong)).toThrow(new ParameterError(code, message));
  });

  it("says when there is nothing to update", () => {
    expect(() => parseParameterUpdate([{ name: "p", type: "mount" }], body)).toThrow(
      new ParameterError(
        "STEMLINE_PARAMETER_UNKNOWN",
        'Parameter "p": the operator has no parameters to update',
      ),
    );
  });
});
