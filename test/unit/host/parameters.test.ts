import { describe, expect, test } from "vitest";
import { HostParameters } from "../../../src/host/parameters.ts";
import { defineOperator, type Operator } from "../../../src/operator/define-operator.ts";
import { float, integer, mount, oneOf, string } from "../../../src/operator/parameters.ts";
import { type CanonicalPipeline, expandPipeline } from "../../../src/spec/pipeline.ts";
import { operator, pipelineOf } from "../local/build.ts";

const declarations = {
  gain: float({ default: 1.5 }),
  count: integer(),
  mode: oneOf(["slow", "fast"], { default: "slow" }),
  data: mount(),
};
const author = defineOperator({ parameters: declarations, run: () => null }) as Operator;

const kinds = {
  gain: { type: "float", default: "2.25" },
  count: { type: "int", default: 7 },
  mode: { type: "str-enum", default: "fast", options: ["slow", "fast"] },
  data: { type: "mount", default: "~/scans" },
  unused: { type: "bool", default: false },
};

function hostParameters(
  change: Readonly<Record<string, object>> = {},
  of: Operator = author,
): HostParameters {
  const parameters = Object.entries({ ...kinds, ...change }).map(([name, kind]) => ({
    name,
    label: name,
    description: "",
    required: false,
    ...kind,
  }));
  const installed = operator("station", { inputs: ["in"], run: () => null }, { parameters });
  const canonical: CanonicalPipeline = pipelineOf([installed], []);
  return new HostParameters(expandPipeline(canonical).operators[0]!, of, "/mnt");
}

const canonicalId = "5bd6ef2a-91c0-4d7e-8000-000000000001";
const update = (members: object) =>
  new TextEncoder().encode(JSON.stringify({ canonical_operator_id: canonicalId, ...members }));

describe("at the start", () => {
  test("run sees the pipeline's values in the declared types, and a mount where the agent puts it", () => {
    expect(hostParameters().current).toEqual({ gain: 2.25, count: 7, mode: "fast", data: "/mnt/data" });
  });

  test("others are told all but mounts, also what run.ts does not declare", () => {
    const parameters = hostParameters();
    expect(parameters.names).toEqual(["gain", "count", "mode", "unused"]);
    const told = parameters.names.map((name) => parameters.acknowledgement(name));
    const id = JSON.parse(told[0]!).canonical_operator_id;
    expect(told).toEqual([
      `{"canonical_operator_id":"${id}","name":"gain","type":"float","value":2.25}`,
      `{"canonical_operator_id":"${id}","name":"count","type":"int","value":7}`,
      `{"canonical_operator_id":"${id}","name":"mode","type":"str-enum","value":"fast"}`,
      `{"canonical_operator_id":"${id}","name":"unused","type":"bool","value":false}`,
    ]);
  });

  test("a value that does not fit what run.ts declares is refused by name", () => {
    expect(() => hostParameters({ count: { type: "str", default: "many" } })).toThrow(
      expect.objectContaining({ message: expect.stringMatching(/count.*an integer.*many/) }),
    );
  });
});

describe("an update", () => {
  test("changes what run sees and what others are told, and leaves earlier snapshots alone", () => {
    const parameters = hostParameters();
    const before = parameters.current;
    expect(parameters.update(update({ name: "count", type: "int", value: "120" }))).toBe("count");
    expect(parameters.current).toEqual({ gain: 2.25, count: 120, mode: "fast", data: "/mnt/data" });
    expect(before.count).toBe(7);
    expect(Object.isFrozen(parameters.current)).toBe(true);
    expect(JSON.parse(parameters.acknowledgement("count")).value).toBe(120);
  });

  test("of a parameter that run.ts does not declare is only told to others", () => {
    const parameters = hostParameters();
    const before = parameters.current;
    expect(parameters.update(update({ name: "unused", type: "bool", value: true }))).toBe("unused");
    expect(parameters.current).toBe(before);
    expect(JSON.parse(parameters.acknowledgement("unused")).value).toBe(true);
  });

  test.each([
    ["no JSON", new TextEncoder().encode("{"), "STEMLINE_PARAMETER_UPDATE"],
    ["bytes that are no text", Uint8Array.of(0xff), "STEMLINE_PARAMETER_UPDATE"],
    ["no type", update({ name: "count", value: 3 }), "STEMLINE_PARAMETER_UPDATE"],
    ["an unknown name", update({ name: "nope", type: "int", value: 3 }), "STEMLINE_PARAMETER_UNKNOWN"],
    ["a mount", update({ name: "data", type: "mount", value: "/x" }), "STEMLINE_PARAMETER_UNKNOWN"],
    ["a wrong value", update({ name: "count", type: "int", value: 1.5 }), "STEMLINE_PARAMETER_VALUE"],
    ["a wrong choice", update({ name: "mode", type: "str-enum", value: "off" }), "STEMLINE_PARAMETER_VALUE"],
  ])("with %s is refused and changes nothing", (_what, body, code) => {
    const parameters = hostParameters();
    const before = parameters.current;
    const told = parameters.names.map((name) => parameters.acknowledgement(name));
    expect(() => parameters.update(body)).toThrow(expect.objectContaining({ code }));
    expect(parameters.current).toBe(before);
    expect(parameters.names.map((name) => parameters.acknowledgement(name))).toEqual(told);
  });

  test("that fits the pipeline but not what run.ts declares is refused as a whole", () => {
    const narrow = defineOperator({ parameters: { mode: oneOf(["slow"]) }, run: () => null }) as Operator;
    const parameters = hostParameters({ mode: { ...kinds.mode, default: "slow" } }, narrow);
    expect(() => parameters.update(update({ name: "mode", type: "str-enum", value: "fast" }))).toThrow(
      expect.objectContaining({ code: "STEMLINE_PARAMETER_VALUE" }),
    );
    expect(parameters.current).toEqual({ mode: "slow" });
    expect(JSON.parse(parameters.acknowledgement("mode")).value).toBe("slow");
  });
});

test("an operator without parameters has none to tell or to change", () => {
  const bare = defineOperator({
    parameters: { note: string({ optional: true }) },
    run: () => null,
  }) as Operator;
  const { operators } = expandPipeline(pipelineOf([operator("station", { run: () => null })], []));
  const parameters = new HostParameters(operators[0]!, bare, "/mnt");
  expect(parameters.current).toEqual({ note: undefined });
  expect(parameters.names).toEqual([]);
  expect(() => parameters.update(update({ name: "note", type: "str", value: "x" }))).toThrow(
    expect.objectContaining({ code: "STEMLINE_PARAMETER_UNKNOWN" }),
  );
});
