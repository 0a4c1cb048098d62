import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { PipelineError } from "../../../src/errors.ts";
import { type OperatorSpec, parseOperatorSpec } from "../../../src/spec/operator-spec.ts";
import {
  type CanonicalPipeline,
  expandPipeline,
  findOperatorSpec,
  operatorSlugs,
  parsePipeline,
  type RuntimePipeline,
  requireValidPipeline,
  validatePipeline,
} from "../../../src/spec/pipeline.ts";

type Json = Record<string, unknown>;
type Draft = { -readonly [K in keyof CanonicalPipeline]: CanonicalPipeline[K] };

const golden = (path: string): unknown =>
  JSON.parse(readFileSync(new URL(`../../golden/pipeline/${path}`, import.meta.url), "utf8"));
const canonical = (name: string) => parsePipeline(golden(`${name}/canonical.json`));

const names = ["com-4op-parallel3", "fanout", "parallel-default-factor"];
const base = "com-4op-parallel3";

/** Specifications that agree with what the golden pipelines say of their operators. */
function specsOf(pipeline: CanonicalPipeline): OperatorSpec[] {
  return pipeline.operators.map((operator) => {
    const ports = (type: string) =>
      pipeline.ports
        .filter((port) => port.canonical_operator_id === operator.id && port.port_type === type)
        .map((port) => ({ name: port.portkey, label: "", description: "", type: "" }));
    return parseOperatorSpec({ ...operator, inputs: ports("input"), outputs: ports("output") });
  });
}

/** Replaces random ids by what they stand for, so that two expansions can be compared as graphs. */
function graph(pipeline: RuntimePipeline): Json {
  const operatorName = new Map(
    pipeline.operators.map((op) => [op.id, `${op.canonical_id}#${op.parallel_index}`]),
  );
  const portName = new Map(
    pipeline.ports.map((port) => [
      port.id,
      `${operatorName.get(port.operator_id)}/${port.canonical_id}>${port.targets_canonical_operator_id}`,
    ]),
  );
  const name = (id: string) => operatorName.get(id) ?? portName.get(id) ?? `unknown ${id}`;
  const references = (list: readonly { id: string; canonical_id: string }[]) =>
    list.map(({ id, canonical_id }) => `${name(id)} (${canonical_id})`).sort();
  const sorted = (list: object[]) => list.map((item) => JSON.stringify(item)).sort();
  return {
    ...pipeline,
    id: "",
    operators: sorted(
      pipeline.operators.map((op) => ({
        ...op,
        id: name(op.id),
        inputs: references(op.inputs),
        outputs: references(op.outputs),
      })),
    ).map((text) => canonicalOrder(JSON.parse(text))),
    ports: sorted(
      pipeline.ports.map((port) => ({ ...port, id: name(port.id), operator_id: name(port.operator_id) })),
    ),
    edges: pipeline.edges.map((edge) => `${name(edge.input_id)} -> ${name(edge.output_id)}`).sort(),
  };
}

const canonicalOrder = (object: Json): Json =>
  Object.fromEntries(Object.entries(object).sort(([a], [b]) => (a < b ? -1 : 1)));

describe("parsePipeline", () => {
  test.each(names)("keeps all of %s", (name) => {
    expect(parsePipeline(golden(`${name}/canonical.json`))).toEqual(golden(`${name}/canonical.json`));
  });

  test("reads what interactEM reads leniently", () => {
    const value = golden(`${base}/canonical.json`) as Json;
    expect(parsePipeline({ ...value, revision_id: "3", extra: 1 })).toEqual({ ...value, revision_id: 3 });
    expect(parsePipeline({ id: (value.id as string).toUpperCase(), revision_id: 1 })).toEqual({
      operators: [],
      ports: [],
      edges: [],
      id: value.id,
      revision_id: 1,
    });
  });

  test("fills in what interactEM lets a pipeline leave out", () => {
    const { operators, ports, ...rest } = golden(`${base}/canonical.json`) as {
      operators: Json[];
      ports: Json[];
    };
    const { id, spec_id, label, description, image } = operators[2]!;
    const { node_type, ...port } = ports[0]!;
    const parsed = parsePipeline({
      ...rest,
      operators: [
        { id, spec_id, label, description, image, parallelism: "3" },
        { ...operators[2], parallelism: undefined },
      ],
      ports: [port],
    });
    expect(parsed.ports).toEqual([ports[0]]);
    expect(parsed.operators).toEqual([
      {
        id,
        spec_id,
        label,
        description,
        image,
        node_type: "operator",
        inputs: [],
        outputs: [],
        parameters: null,
        tags: [],
        parallel_config: null,
        triggers: null,
        parallelism: 3,
      },
      operators[2],
    ]);
  });

  test("lists every problem with its place", () => {
    const value = structuredClone(golden(`${base}/canonical.json`)) as {
      operators: Json[];
      ports: Json[];
      edges: Json[];
    };
    value.operators[1]!.parallelism = 129;
    value.operators[2]!.inputs = null;
    value.ports[0]!.port_type = "both";
    value.edges[2]!.output_id = "not-an-id";
    const problems = problemsThrown(() => parsePipeline(value));
    expect(problems.map(({ path }) => path)).toEqual([
      "operators[1].parallelism",
      "operators[2].inputs",
      "ports[0].port_type",
      "edges[2].output_id",
    ]);
    expect(problems[0]!.message).toBe("expected an integer from 1 to 128, or null, got 129");
  });

  test.each([[null], [[]], ["{}"], [{}], [{ id: "5bc8fbbc-bde5-4099-8164-d8399f767c45", revision_id: 1.5 }]])(
    "refuses %j",
    (value) => {
      expect(() => parsePipeline(value)).toThrow(
        expect.objectContaining({ code: "STEMLINE_PIPELINE_INVALID" }),
      );
    },
  );
});

function problemsThrown(work: () => unknown): PipelineError["problems"] {
  try {
    work();
  } catch (error) {
    if (error instanceof PipelineError) return error.problems;
    throw error;
  }
  throw new Error("nothing was thrown");
}

describe("expandPipeline", () => {
  test.each(names)("makes the graph interactEM makes of %s", (name) => {
    const expected = golden(`${name}/runtime.json`) as RuntimePipeline;
    expect(graph(expandPipeline(canonical(name)))).toEqual(graph(expected));
  });

  test("gives every node an id of its own", () => {
    const { id, operators, ports } = expandPipeline(canonical(base));
    const ids = [id, ...operators.map((op) => op.id), ...ports.map((port) => port.id)];
    expect(new Set(ids).size).toBe(ids.length);
  });

  const changes: Record<string, (pipeline: Draft) => void> = {
    "as-is": () => {},
    "parallelism-0": (pipeline) => setOperator(pipeline, 1, { parallelism: 0 }),
    "parallelism-129": (pipeline) => setOperator(pipeline, 1, { parallelism: 129 }),
    "parallelism-128": (pipeline) => setOperator(pipeline, 1, { parallelism: 128 }),
    "parallelism-on-sequential": (pipeline) => setOperator(pipeline, 2, { parallelism: 5 }),
    "parallelism-null": (pipeline) => setOperator(pipeline, 1, { parallelism: null }),
    "edge-to-unknown-port": (pipeline) =>
      setEdge(pipeline, 0, { output_id: "00000000-0000-4000-8000-000000000000" }),
    "port-of-unknown-operator": (pipeline) =>
      setPort(pipeline, 0, { canonical_operator_id: "00000000-0000-4000-8000-000000000000" }),
    cycle: (pipeline) => {
      const from = pipeline.edges[2]!.input_id;
      pipeline.edges = [...pipeline.edges, { input_id: from, output_id: pipeline.edges[0]!.output_id }];
    },
    "duplicate-edge": (pipeline) => {
      pipeline.edges = [...pipeline.edges, pipeline.edges[0]!];
    },
    "no-edges": (pipeline) => {
      pipeline.edges = [];
    },
    "revision-string": (pipeline) => {
      pipeline.revision_id = "3" as unknown as number;
    },
  };
  const cases = golden("edge-cases.json") as {
    name: string;
    ok: boolean;
    n_operators: number;
    n_ports: number;
    n_edges: number;
  }[];

  test.each(cases)("agrees with interactEM on $name", ({ name, ok, n_operators, n_ports, n_edges }) => {
    const changed: Draft = canonical(base);
    changes[name]!(changed);
    const expand = () => expandPipeline(parsePipeline(structuredClone(changed)));
    if (!ok) {
      expect(expand).toThrow(PipelineError);
      return;
    }
    const { operators, ports, edges } = expand();
    expect([operators.length, ports.length, edges.length]).toEqual([n_operators, n_ports, n_edges]);
  });

  test("takes the default number of replicas from its option", () => {
    const { operators } = expandPipeline(canonical("parallel-default-factor"), { defaultParallelism: 2 });
    expect(operators.map((op) => op.parallel_index)).toEqual([0, 0, 1, 0]);
  });
});

function setOperator(
  pipeline: Draft,
  index: number,
  change: Partial<CanonicalPipeline["operators"][number]>,
): void {
  pipeline.operators = pipeline.operators.with(index, { ...pipeline.operators[index]!, ...change });
}

function setPort(pipeline: Draft, index: number, change: Partial<CanonicalPipeline["ports"][number]>): void {
  pipeline.ports = pipeline.ports.with(index, { ...pipeline.ports[index]!, ...change });
}

function setEdge(pipeline: Draft, index: number, change: Partial<CanonicalPipeline["edges"][number]>): void {
  pipeline.edges = pipeline.edges.with(index, { ...pipeline.edges[index]!, ...change });
}

describe("validatePipeline", () => {
  const unknown = "00000000-0000-4000-8000-000000000000";

  const check = (change: (pipeline: Draft) => void, specs = specsOf(canonical(base))) => {
    const pipeline: Draft = canonical(base);
    change(pipeline);
    return validatePipeline(pipeline, specs).map(({ path, message }) => `${path}: ${message}`);
  };

  test.each(names)("finds nothing wrong with %s", (name) => {
    const pipeline = canonical(name);
    expect(validatePipeline(pipeline, specsOf(pipeline))).toEqual([]);
    expect(requireValidPipeline(pipeline, specsOf(pipeline)).size).toBe(pipeline.operators.length);
  });

  test("an output that nobody reads is fine", () => {
    expect(check((pipeline) => setOperator(pipeline, 0, {}))).toEqual([]);
    const last = canonical(base).ports.at(-1)!;
    expect(canonical(base).edges.some((edge) => edge.input_id === last.id)).toBe(false);
  });

  test("an operator that is not installed", () => {
    expect(check((pipeline) => setOperator(pipeline, 1, { image: "example.org/other:1" }))).toEqual([
      expect.stringMatching(
        /^operators\[1\]\.image: "COM partial": no installed operator has the image example\.org\/other:1; installed are /,
      ),
    ]);
    expect(check(() => {}, [])).toHaveLength(4);
  });

  test("a port that its operator does not have", () => {
    const problems = check((pipeline) => setPort(pipeline, 1, { portkey: "input" }));
    expect(problems).toContain('operators[1].inputs: nothing feeds input "in" of "COM partial"');
    expect(problems).toContain(
      'ports[1].portkey: "COM partial" has no input port "input"; expected one of "in"',
    );
  });

  test("an input that nobody feeds", () => {
    expect(check((pipeline) => pipeline.edges.length && removeEdge(pipeline, 0))).toEqual([
      'ports[1]: nothing feeds input "in" of "COM partial"',
    ]);
  });

  test("a port of an unknown operator", () => {
    expect(check((pipeline) => setPort(pipeline, 0, { canonical_operator_id: unknown }))).toEqual([
      'operators[0].outputs[0]: port "counted_data" belongs to another operator',
      `ports[0].canonical_operator_id: no operator of the pipeline has the id ${unknown}`,
    ]);
  });

  test("a listed port that is missing, and a port that is not listed", () => {
    expect(check((pipeline) => setOperator(pipeline, 3, { outputs: [unknown] }))).toEqual([
      `operators[3].outputs[0]: no port of the pipeline has the id ${unknown}`,
      'ports[6]: port "image" is not among the outputs of its operator "COM plot"',
    ]);
  });

  test("edges the wrong way round", () => {
    const reversed = check((pipeline) => {
      const { input_id, output_id } = pipeline.edges[2]!;
      setEdge(pipeline, 2, { input_id: output_id, output_id: input_id });
    });
    expect(reversed).toContain(
      'edges[2].input_id: an edge must start at an output port, but "in" of "COM plot" is an input port',
    );
    expect(reversed).toContain(
      'edges[2].output_id: an edge must end at an input port, but "com" of "COM reduce" is an output port',
    );
  });

  test("edges to ports that are not there, or to operators", () => {
    const operator = canonical(base).operators[1]!.id;
    expect(
      check((pipeline) => {
        setEdge(pipeline, 0, { input_id: unknown });
        pipeline.edges = [...pipeline.edges, { input_id: pipeline.edges[1]!.input_id, output_id: operator }];
      }),
    ).toEqual([
      `edges[0].input_id: an edge must start at an output port, but no port of the pipeline has the id ${unknown}`,
      `edges[3].output_id: an edge must end at an input port, but ${operator} is an operator`,
    ]);
  });

  test("cycles, with the names of their operators", () => {
    expect(
      check((pipeline) => {
        const from = pipeline.edges[2]!.input_id;
        pipeline.edges = [...pipeline.edges, { input_id: from, output_id: pipeline.edges[0]!.output_id }];
      }),
    ).toEqual(['edges[3]: closes a cycle: "COM partial" -> "COM reduce" -> "COM partial"']);
    expect(
      check((pipeline) => {
        const own = { input_id: pipeline.edges[1]!.input_id, output_id: pipeline.edges[0]!.output_id };
        pipeline.edges = [...pipeline.edges, own];
      }),
    ).toEqual(['edges[3]: closes a cycle: "COM partial" -> "COM partial"']);
  });

  test("ids and edges that come twice", () => {
    const pipeline = canonical(base);
    expect(check((draft) => (draft.edges = [...draft.edges, draft.edges[1]!]))).toEqual([
      "edges[3]: is the same as edges[1]",
    ]);
    expect(check((draft) => (draft.operators = [...draft.operators, draft.operators[0]!]))).toContain(
      `operators[4].id: ${pipeline.operators[0]!.id} is already the id of operators[0]`,
    );
    expect(check((draft) => (draft.ports = [...draft.ports, draft.ports[0]!]))).toEqual([
      `ports[7].id: ${pipeline.ports[0]!.id} is already the id of ports[0]`,
      'ports[7].portkey: "Source" already has the output port "counted_data" in ports[0]',
    ]);
  });

  test("parameters that are unknown, doubled or do not fit", () => {
    const problems = check((pipeline) => {
      const [first, ...others] = pipeline.operators[1]!.parameters!;
      setOperator(pipeline, 1, {
        parameters: [
          { ...first!, type: "str", default: "wide" },
          { ...first!, name: "crop" },
          ...others,
          { ...others[0]! },
        ],
      });
    });
    expect(problems).toEqual([
      'operators[1].parameters[0].default: Parameter "crop_to_x": expected an integer, got "wide"',
      'operators[1].parameters[1].name: "COM partial" has no parameter "crop"; expected one of "crop_to_x", "crop_to_y", "init_center_x", "init_center_y"',
      'operators[1].parameters[5].name: parameter "crop_to_y" is given twice',
    ]);
  });

  test("replicas out of range, or of an operator that cannot have any", () => {
    expect(check((pipeline) => setOperator(pipeline, 1, { parallelism: 0 }))).toEqual([
      "operators[1].parallelism: expected an integer from 1 to 128, or null, got 0",
    ]);
    expect(
      check((pipeline) => setOperator(pipeline, 2, { parallel_config: { type: "embarrassing" } })),
    ).toEqual([
      'operators[2].parallel_config.type: "COM reduce" cannot be replicated: its specification does not say "embarrassing"',
    ]);
  });

  test("all of it at once", () => {
    const broken = (pipeline: Draft) => {
      setOperator(pipeline, 1, { parallelism: 500 });
      setOperator(pipeline, 3, { image: "example.org/none" });
      removeEdge(pipeline, 0);
      pipeline.edges = [...pipeline.edges, pipeline.edges[0]!];
    };
    expect(check(broken).map((line) => line.split(": ")[0])).toEqual([
      "operators[1].parallelism",
      "ports[1]",
      "operators[3].image",
      "edges[2]",
    ]);
    const pipeline: Draft = canonical(base);
    broken(pipeline);
    expect(problemsThrown(() => requireValidPipeline(pipeline, specsOf(canonical(base))))).toHaveLength(4);
  });

  test("a pipeline without operators", () => {
    expect(check((pipeline) => (pipeline.operators = []))).toEqual([
      "operators: the pipeline has no operators",
    ]);
  });
});

function removeEdge(pipeline: Draft, index: number): void {
  pipeline.edges = pipeline.edges.toSpliced(index, 1);
}

describe("findOperatorSpec", () => {
  const spec = (image: string) =>
    parseOperatorSpec({ id: "5bc8fbbc-bde5-4099-8164-d8399f767c45", label: "", description: "", image });
  const specs = ["ghcr.io/nersc/interactem/dpc", "localhost:5000/a/plot:2", "localhost:5000/b/plot"].map(
    spec,
  );

  test.each([
    ["ghcr.io/nersc/interactem/dpc", "ghcr.io/nersc/interactem/dpc"],
    ["ghcr.io/nersc/interactem/dpc:latest", "ghcr.io/nersc/interactem/dpc"],
    ["ghcr.io/nersc/interactem/dpc:v1@sha256:00ff", "ghcr.io/nersc/interactem/dpc"],
    ["registry.example.org:443/dpc", "ghcr.io/nersc/interactem/dpc"],
    ["localhost:5000/b/plot:7", "localhost:5000/b/plot"],
    ["localhost:5000/c/plot", undefined],
    ["ghcr.io/nersc/interactem/other", undefined],
  ])("%s", (image, expected) => {
    expect(findOperatorSpec(image, specs)?.image).toBe(expected);
  });
});

test("operatorSlugs are short and unique", () => {
  const pipeline = canonical(base);
  const labels = ["Center of Mass (x, y)", "Center of mass: x/y", "center-of-mass-x-y-2", "µ"];
  const operators = pipeline.operators.map((operator, index) => ({ ...operator, label: labels[index]! }));
  expect([...operatorSlugs({ ...pipeline, operators }).values()]).toEqual([
    "center-of-mass-x-y",
    "center-of-mass-x-y-2",
    "center-of-mass-x-y-2-2",
    "operator",
  ]);
});
