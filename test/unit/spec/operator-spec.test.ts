import { describe, expect, expectTypeOf, it } from "vitest";
import { SpecError } from "../../../src/errors.ts";
import {
  type OperatorSpec,
  type ParameterSpec,
  parseOperatorSpec,
  readOperatorSpec,
} from "../../../src/spec/operator-spec.ts";
import { formatPath } from "../../../src/spec/problems.ts";
import { readGolden } from "../wire/golden.ts";

interface PeerError {
  readonly location: readonly (string | number)[];
  readonly type: string;
}

interface SpecCase {
  readonly name: string;
  readonly spec: unknown;
  readonly valid: boolean;
  readonly errors: readonly PeerError[] | null;
  readonly normalised: unknown;
}

interface PeerOperator {
  readonly inputs: readonly object[];
  readonly outputs: readonly object[];
  readonly parameters: readonly object[];
  readonly tags: readonly string[];
}

const cases = readGolden<SpecCase[]>("spec/spec-cases.json");
const minimal = {
  id: "70dd71a7-5ebf-4515-8bf9-941d1284328c",
  label: "L",
  description: "D",
  image: "example/img:1",
};

describe("readOperatorSpec", () => {
  it.each(cases.filter(({ valid }) => valid))("takes $name", ({ spec, normalised }) => {
    const written = JSON.stringify(parseOperatorSpec(spec));
    expect(JSON.parse(written)).toEqual(normalised);
    expect(Object.keys(JSON.parse(written))).toEqual(Object.keys(Object(normalised)));
  });

  it.each(cases.filter(({ valid }) => !valid))("refuses $name where the peer does", ({ spec, errors }) => {
    const { problems } = readOperatorSpec(spec);
    expect(problems.map(({ path }) => path).sort()).toEqual((errors ?? []).map(ourPlace).sort());
  });

  it("takes the formats that an input port accepts, which are not interactEM's", () => {
    const input = { name: "in", label: "In", description: "d", type: "t" };
    const read = (accepts: unknown) => readOperatorSpec({ ...minimal, inputs: [{ ...input, accepts }] });
    expect(read(["a-1"]).spec?.inputs).toEqual([{ ...input, accepts: ["a-1"] }]);
    expect(read(undefined).spec?.inputs?.[0]?.accepts).toBe(undefined);
    expect(read("a-1").problems).toEqual([
      { path: "inputs[0].accepts", message: 'expected a list, got "a-1"' },
    ]);
    expect(read([1]).problems).toEqual([
      { path: "inputs[0].accepts[0]", message: "expected a string, got 1" },
    ]);
  });

  it("tells NaN and infinity apart, which JSON cannot", () => {
    const parameter = { name: "p", label: "P", description: "d", type: "float", required: false };
    const defaults = ["nan", "inf", "-Infinity"].map((text) => {
      const { parameters } = parseOperatorSpec({ ...minimal, parameters: [{ ...parameter, default: text }] });
      return parameters?.[0]?.default;
    });
    expect(defaults).toEqual([Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]);
  });

  /** Our paths leave out the model that the peer chose, and name the member at fault where the peer names its owner. */
  function ourPlace({ location, type }: PeerError): string {
    const place = location.filter((_, index) => location[0] !== "parameters" || index !== 2);
    const member = { value_error: "default", union_tag_invalid: "type", union_tag_not_found: "type" }[type];
    return formatPath(member === undefined ? place : [...place, member]);
  }
});

describe("operators of the peer", () => {
  const operators = Object.entries(readGolden<Record<string, PeerOperator>>("spec/peer-operators.json"));
  const summaries = readGolden<{ operator: string; n_parameters: number; parallel: string | null }[]>(
    "spec/peer-operators-summary.json",
  );

  // The recording leaves out descriptions and shortens tags to their values.
  it.each(operators)("%s is accepted", (name, recorded) => {
    const described = (items: readonly object[]) => items.map((item) => ({ description: "", ...item }));
    const spec = parseOperatorSpec({
      description: "",
      ...recorded,
      inputs: described(recorded.inputs),
      outputs: described(recorded.outputs),
      parameters: described(recorded.parameters),
      tags: recorded.tags.map((value) => ({ value })),
    });
    const summary = summaries.find(({ operator }) => operator === name);
    expect(spec.parameters).toHaveLength(summary?.n_parameters ?? -1);
    expect(spec.parallel_config?.type ?? null).toBe(summary?.parallel);
  });
});

describe("parseOperatorSpec", () => {
  it("lists every problem with its place", () => {
    const spec = {
      ...minimal,
      id: "com-partial",
      label: undefined,
      inputs: {},
      parameters: [
        { name: "p", label: "P", description: "d", type: "int", default: "abc", required: "maybe" },
        { name: "q", label: "Q", description: "d", type: "integer", default: 1, required: true },
        {
          name: "r",
          label: "R",
          description: "d",
          type: "str-enum",
          default: "c",
          required: true,
          options: ["a", "b"],
        },
      ],
      parallel_config: { type: "shuffle" },
    };
    expect(() => parseOperatorSpec(spec)).toThrow(
      new SpecError(
        "STEMLINE_SPEC_INVALID",
        [
          "The operator specification is not valid:",
          '  id: expected a UUID, got "com-partial"',
          "  label: expected a string, got nothing",
          "  inputs: expected a list, got an object",
          '  parameters[0].default: expected an integer, got "abc"',
          '  parameters[0].required: expected a boolean, got "maybe"',
          '  parameters[1].type: expected one of "str", "mount", "int", "float", "bool", "str-enum", got "integer"',
          '  parameters[2].default: expected one of "a", "b", got "c"',
          '  parallel_config.type: expected one of "none", "embarrassing", got "shuffle"',
        ].join("\n"),
      ),
    );
  });

  it("names a document that is no object", () => {
    expect(() => parseOperatorSpec([])).toThrow(
      new SpecError(
        "STEMLINE_SPEC_INVALID",
        "The operator specification is not valid:\n  expected an object, got a list of 0",
      ),
    );
  });

  it("gives a typed copy", () => {
    const value = { ...minimal, inputs: [] };
    const spec = parseOperatorSpec(value);
    expectTypeOf(spec).toEqualTypeOf<OperatorSpec>();
    expectTypeOf<ParameterSpec["type"]>().toEqualTypeOf<
      "str" | "int" | "float" | "bool" | "mount" | "str-enum"
    >();
    expectTypeOf<Extract<ParameterSpec, { type: "int" }>["default"]>().toEqualTypeOf<number>();
    expectTypeOf<Extract<ParameterSpec, { type: "str-enum" }>["options"]>().toEqualTypeOf<string[]>();
    expect(spec.inputs).not.toBe(value.inputs);
  });
});
