import { describe, expect, test } from "vitest";
import { PipelineError } from "../../../src/errors.ts";
import { operatorView, parseRuntimePipeline } from "../../../src/spec/runtime-pipeline.ts";
import { readGolden } from "../wire/golden.ts";

type Json = Record<string, unknown>;

interface RuntimeJson extends Json {
  readonly operators: (Json & { parameters: Json[] | null })[];
  readonly ports: Json[];
  readonly edges: Json[];
}

interface ViewJson {
  readonly label: string;
  readonly id: string;
  readonly canonical_id: string;
  readonly parallel_index: number;
  readonly inputs: Record<string, { readonly upstream_ports: string[] }>;
  readonly outputs: Record<string, { readonly downstream_ports: string[] }>;
}

const names = ["com-4op-parallel3", "fanout", "parallel-default-factor"];
const runtime = (name: string) => readGolden<RuntimeJson>(`pipeline/${name}/runtime.json`);
const base = () => structuredClone(runtime("com-4op-parallel3"));
const id = (number: number) => `5bd6ef2a-91c0-4d7e-8000-0000000000${String(number).padStart(2, "0")}`;

describe("parseRuntimePipeline", () => {
  test.each(names)("keeps all of %s", (name) => {
    expect(parseRuntimePipeline(runtime(name))).toEqual(runtime(name));
  });

  test("drops what it does not know, at every level", () => {
    const { operators, ports, edges, ...rest } = base();
    const more = (items: readonly Json[]) => items.map((item) => ({ ...item, extra: 1 }));
    const withParameters = operators.map((op) => ({
      ...op,
      parameters: more(op.parameters ?? []),
      param_mounts: {},
    }));
    const value = {
      ...rest,
      operators: withParameters,
      ports: more(ports),
      edges: more(edges),
      agent: 1,
    };
    expect(parseRuntimePipeline(value)).toEqual({ ...rest, operators, ports, edges });
  });

  test("fills in what interactEM lets a pipeline leave out", () => {
    const { operators, ports, ...rest } = base();
    const { id, canonical_id, spec_id, label, description, image } = operators[4]!;
    const { node_type, targets_canonical_operator_id, ...port } = ports[0]!;
    expect(node_type).toBe("port");
    const parsed = parseRuntimePipeline({
      id: rest.id,
      canonical_id: rest.canonical_id,
      revision_id: "7",
      operators: [{ id, canonical_id, spec_id, label, description, image }],
      ports: [port],
    });
    expect(parsed).toEqual({
      id: rest.id,
      canonical_id: rest.canonical_id,
      revision_id: 7,
      operators: [
        {
          id,
          canonical_id,
          spec_id,
          label,
          description,
          image,
          node_type: "operator",
          parallel_index: 0,
          inputs: [],
          outputs: [],
          parameters: null,
          tags: [],
          parallel_config: null,
          triggers: null,
          parallelism: null,
          env: {},
          command: [],
          network_mode: null,
        },
      ],
      ports: [{ ...ports[0], targets_canonical_operator_id: null }],
      edges: [],
    });
  });

  test("reads ids in any spelling", () => {
    const value = base();
    const { operator_id } = value.ports[0]!;
    value.ports[0]!.operator_id = `urn:uuid:${String(operator_id).toUpperCase()}`;
    expect(parseRuntimePipeline(value).ports[0]!.operator_id).toBe(operator_id);
  });

  test.each([
    ["command", "run --fast"],
    ["command", ["run", "--fast"]],
    ["env", { A: "1" }],
    ["network_mode", "host"],
    ["parallel_index", 2],
  ])("keeps %s %j", (member, value) => {
    const pipeline = base();
    pipeline.operators[1]![member] = value;
    expect(parseRuntimePipeline(pipeline).operators[1]).toHaveProperty(member, value);
  });

  describe("a parameter's value", () => {
    const head = { name: "p", label: "", description: "", required: false };
    const parsed = (parameter: Json) => {
      const pipeline = base();
      pipeline.operators[1]!.parameters = [{ ...head, ...parameter }];
      return parseRuntimePipeline(pipeline).operators[1]!.parameters![0];
    };
    const choice = { type: "str-enum", default: "xy", options: ["xy", "rtheta"] };

    test.each([
      [{ type: "int", default: 5, value: 120 }, 120],
      [{ type: "int", default: 5, value: "120" }, 120],
      [{ type: "int", default: 5, value: null }, null],
      [{ type: "int", default: 5 }, null],
      [{ type: "float", default: 5, value: "0.5" }, 0.5],
      [{ type: "bool", default: true, value: "no" }, false],
      [{ type: "str", default: "a", value: "" }, ""],
      [{ type: "mount", default: "~/data", value: "/tmp" }, "/tmp"],
      [{ ...choice, value: "rtheta" }, "rtheta"],
      [{ ...choice, value: null }, null],
    ])("of %j is %j", (parameter, value) => {
      expect(parsed(parameter)).toEqual({ ...head, ...parameter, value });
    });

    test.each([
      [{ type: "int", default: 5, value: 1.5 }, 'Parameter "p": expected an integer, got 1.5'],
      [{ type: "str", default: "a", value: 1 }, 'Parameter "p": expected a string, got 1'],
      [{ ...choice, value: "x" }, 'Parameter "p": expected one of "xy", "rtheta", got "x"'],
    ])("of %j is refused", (parameter, message) => {
      expect(problemsOf(() => parsed(parameter))).toEqual([
        { path: "operators[1].parameters[0].value", message },
      ]);
    });

    test("does not make up for a default that is wrong", () => {
      const problems = problemsOf(() => parsed({ ...choice, default: "x", value: "xy" }));
      expect(problems.map(({ path }) => path)).toEqual(["operators[1].parameters[0].default"]);
    });
  });

  test("lists every problem with its place and what was expected", () => {
    const value = base();
    value.canonical_id = "x";
    value.operators[0]!.command = 1;
    value.operators[1]!.inputs = [id(31)];
    value.operators[1]!.env = { A: 1 };
    value.operators[2]!.env = ["A=1"];
    value.operators[2]!.network_mode = false;
    value.ports[0]!.operator_id = null;
    value.ports[1]!.targets_canonical_operator_id = "x";
    value.edges[2]!.input_id = undefined;
    expect(problemsOf(() => parseRuntimePipeline(value))).toEqual([
      { path: "canonical_id", message: 'expected a UUID, got "x"' },
      { path: "operators[0].command", message: "expected a string or a list of strings, got 1" },
      { path: "operators[1].inputs[0]", message: `expected an object, got "${id(31)}"` },
      { path: "operators[1].env.A", message: "expected a string, got 1" },
      { path: "operators[2].env", message: "expected an object of strings, got a list of 1" },
      { path: "operators[2].network_mode", message: "expected a string, got false" },
      { path: "ports[0].operator_id", message: "expected a UUID, got null" },
      { path: "ports[1].targets_canonical_operator_id", message: 'expected a UUID, got "x"' },
      { path: "edges[2].input_id", message: "expected a UUID, got nothing" },
    ]);
  });

  test.each([[null], [[]], ["{}"], [{}]])("refuses %j", (value) => {
    expect(() => parseRuntimePipeline(value)).toThrow(
      expect.objectContaining({ code: "STEMLINE_PIPELINE_INVALID" }),
    );
  });

  test("refuses a canonical pipeline", () => {
    const canonical = readGolden<unknown>("pipeline/com-4op-parallel3/canonical.json");
    expect(problemsOf(() => parseRuntimePipeline(canonical)).map(({ path }) => path)).toContain(
      "operators[0].canonical_id",
    );
  });
});

describe("operatorView", () => {
  describe.each(names)("of %s", (name) => {
    const pipeline = parseRuntimePipeline(runtime(name));
    const { operators } = readGolden<{ operators: ViewJson[] }>(`pipeline/${name}/view-per-operator.json`);

    test.each(operators)("$label $parallel_index connects as interactEM's", (recorded) => {
      const { operator, inputs, outputs, hasInputs } = operatorView(pipeline, recorded.id);
      expect([operator.canonical_id, operator.parallel_index, operator.label]).toEqual([
        recorded.canonical_id,
        recorded.parallel_index,
        recorded.label,
      ]);
      expect(Object.fromEntries(inputs.map(({ id, upstream }) => [id, upstream]))).toEqual(
        Object.fromEntries(
          Object.entries(recorded.inputs).map(([id, { upstream_ports }]) => [id, upstream_ports]),
        ),
      );
      expect(Object.fromEntries(outputs.map(({ id, downstream }) => [id, downstream]))).toEqual(
        Object.fromEntries(
          Object.entries(recorded.outputs).map(([id, { downstream_ports }]) => [id, downstream_ports]),
        ),
      );
      expect(hasInputs).toBe(Object.keys(recorded.inputs).length > 0);
      expect(inputs.map(({ id, canonicalId }) => ({ id, canonical_id: canonicalId }))).toEqual(
        operator.inputs,
      );
      expect(outputs.map(({ id, canonicalId }) => ({ id, canonical_id: canonicalId }))).toEqual(
        operator.outputs,
      );
    });

    test("covers every operator", () => {
      expect(operators.map(({ id }) => id).sort()).toEqual(pipeline.operators.map(({ id }) => id).sort());
    });
  });

  const twoInputs = parseRuntimePipeline(twoInputPipeline());

  test("goes by the ports, counts an upstream port once and keeps the order of the edges", () => {
    const view = operatorView(twoInputs, id(10));
    expect(view.operator.inputs).toEqual([]);
    expect(view.inputs).toEqual([
      { id: id(21), canonicalId: id(31), portkey: "images", upstream: [id(42), id(41)] },
      { id: id(22), canonicalId: id(32), portkey: "masks", upstream: [] },
    ]);
    expect(view.outputs).toEqual([
      { id: id(23), canonicalId: id(33), portkey: "sums", downstream: [id(52), id(51)] },
    ]);
    expect(view.hasInputs).toBe(true);
  });

  test("names the operators that there are when the one asked for is missing", () => {
    expect(() => operatorView(twoInputs, id(99))).toThrow(
      expect.objectContaining({
        name: "PipelineError",
        code: "STEMLINE_PIPELINE_OPERATOR",
        message: `Pipeline ${id(1)}: expected operator ${id(99)}, got ${id(10)}, ${id(11)}`,
      }),
    );
  });

  test("says so when there are no operators at all", () => {
    expect(() => operatorView({ ...twoInputs, operators: [] }, id(10))).toThrow("got no operators");
  });
});

/** Operator 10 with two input ports that its own list leaves out; its edges are out of order, and one comes twice. */
function twoInputPipeline(): Json {
  const operator = { spec_id: id(3), label: "", description: "", image: "sum" };
  const port = { canonical_operator_id: id(12), operator_id: id(10) };
  return {
    id: id(1),
    canonical_id: id(2),
    revision_id: 0,
    operators: [
      { ...operator, id: id(10), canonical_id: id(12) },
      { ...operator, id: id(11), canonical_id: id(13) },
    ],
    ports: [
      { ...port, id: id(21), canonical_id: id(31), port_type: "input", portkey: "images" },
      { ...port, id: id(24), canonical_id: id(34), port_type: "input", portkey: "x", operator_id: id(11) },
      { ...port, id: id(22), canonical_id: id(32), port_type: "input", portkey: "masks" },
      { ...port, id: id(23), canonical_id: id(33), port_type: "output", portkey: "sums" },
    ],
    edges: [
      { input_id: id(42), output_id: id(21) },
      { input_id: id(23), output_id: id(52) },
      { input_id: id(21), output_id: id(10) },
      { input_id: id(10), output_id: id(23) },
      { input_id: id(41), output_id: id(21) },
      { input_id: id(23), output_id: id(51) },
      { input_id: id(42), output_id: id(21) },
      { input_id: id(43), output_id: id(24) },
      { input_id: id(23), output_id: id(52) },
    ],
  };
}

function problemsOf(parse: () => unknown) {
  try {
    parse();
  } catch (error) {
    if (error instanceof PipelineError && error.code === "STEMLINE_PIPELINE_INVALID") return error.problems;
    throw error;
  }
  throw new Error("expected a PipelineError, got none");
}
