import { z } from "zod";
import { PipelineError, type Problem, StemlineError } from "../errors.ts";
import { readInteger } from "./lax-scalar.ts";
import { type OperatorSpec, operatorSpecSchema, uuidSchema } from "./operator-spec.ts";
import { parseParameterValue } from "./parameter-value.ts";
import { describeIssue, expectedGot, formatProblems, oneOfList, problemsOf } from "./problems.ts";

export {
  type ExpandOptions,
  expandPipeline,
  type RuntimeEdge,
  type RuntimeOperator,
  type RuntimeParameter,
  type RuntimePipeline,
  type RuntimePort,
  type RuntimePortReference,
} from "./expand-pipeline.ts";

/** interactEM's own limits on the number of replicas. */
export const parallelismLimits = { min: 1, max: 128 } as const;

const nodeType = z.enum(["operator", "port"]);

export const integerSchema = z.unknown().transform((value, context) => {
  const result = readInteger(value);
  if (result !== undefined) return result;
  context.addIssue({ code: "custom", message: expectedGot("an integer", value) });
  return z.NEVER;
});

const parallelismSchema = z.unknown().transform((value, context) => {
  if (value === null) return null;
  const result = readInteger(value);
  if (result !== undefined && parallelismFits(result)) return result;
  context.addIssue({ code: "custom", message: parallelismText(value) });
  return z.NEVER;
});

export const portSchema = z.object({
  id: uuidSchema,
  node_type: nodeType.default("port"),
  port_type: z.enum(["input", "output"]),
  canonical_operator_id: uuidSchema,
  /** Name of the port in the operator's specification. */
  portkey: z.string(),
});

export const canonicalOperatorSchema = operatorSpecSchema.extend({
  /** Ids of ports. */
  inputs: z.array(uuidSchema).default([]),
  outputs: z.array(uuidSchema).default([]),
  tags: operatorSpecSchema.shape.tags.unwrap().unwrap().default([]),
  spec_id: uuidSchema,
  node_type: nodeType.default("operator"),
  parallelism: parallelismSchema.default(null),
});

/** From the output port `input_id` to the input port `output_id`: interactEM names them as seen from the edge. */
export const edgeSchema = z.object({ input_id: uuidSchema, output_id: uuidSchema });

const pipelineSchema = z.object({
  operators: z.array(canonicalOperatorSchema).default([]),
  ports: z.array(portSchema).default([]),
  edges: z.array(edgeSchema).default([]),
  id: uuidSchema,
  revision_id: integerSchema,
});

/** interactEM's canonical pipeline: what its editor stores, before replicas are made. */
export type CanonicalPipeline = z.infer<typeof pipelineSchema>;
export type CanonicalOperator = z.infer<typeof canonicalOperatorSchema>;
export type CanonicalPort = z.infer<typeof portSchema>;
export type CanonicalEdge = z.infer<typeof edgeSchema>;

/**
 * Reads the parsed JSON of a canonical pipeline; accepts what interactEM's model accepts. The result is a copy without
 * unknown members.
 *
 * @throws PipelineError `STEMLINE_PIPELINE_INVALID` with every problem.
 */
export function parsePipeline(value: unknown): CanonicalPipeline {
  const result = pipelineSchema.safeParse(value, { error: describeIssue });
  if (result.success) return result.data;
  throw invalidPipeline(problemsOf(result.error));
}

/**
 * Everything that keeps a pipeline from running with the given operators, in the order of the document. Stricter than
 * interactEM, which starts a pipeline with open inputs or cycles and then waits for ever.
 */
export function validatePipeline(pipeline: CanonicalPipeline, specs: readonly OperatorSpec[]): Problem[] {
  if (pipeline.operators.length === 0)
    return [{ path: "operators", message: "the pipeline has no operators" }];
  return [
    ...duplicateIds(pipeline),
    ...pipeline.operators.flatMap((operator, index) => operatorProblems(pipeline, operator, index, specs)),
    ...pipeline.ports.flatMap((port, index) => portProblems(pipeline, port, index, specs)),
    ...pipeline.edges.flatMap((edge, index) => edgeProblems(pipeline, edge, index)),
    ...cycles(pipeline),
  ];
}

/**
 * The specification behind each operator of a pipeline that can run, by canonical operator id.
 *
 * @throws PipelineError `STEMLINE_PIPELINE_INVALID` with every problem that `validatePipeline` finds.
 */
export function requireValidPipeline(
  pipeline: CanonicalPipeline,
  specs: readonly OperatorSpec[],
): ReadonlyMap<string, OperatorSpec> {
  const problems = validatePipeline(pipeline, specs);
  if (problems.length > 0) throw invalidPipeline(problems);
  return new Map(pipeline.operators.map(({ id, image }) => [id, findOperatorSpec(image, specs)!]));
}

export function invalidPipeline(problems: readonly Problem[]): PipelineError {
  return new PipelineError(
    "STEMLINE_PIPELINE_INVALID",
    `The pipeline is not valid:${formatProblems(problems)}`,
    problems,
  );
}

/**
 * The specification with this image. Tag and digest do not count. When no image has the same registry and folder, one
 * with the same last name is taken, so that a pipeline for another registry runs too; not if there are several.
 */
export function findOperatorSpec(image: string, specs: readonly OperatorSpec[]): OperatorSpec | null {
  const repository = imageRepository(image);
  const exact = specs.find((spec) => imageRepository(spec.image) === repository);
  if (exact !== undefined) return exact;
  const sameName = specs.filter((spec) => imageName(spec.image) === imageName(image));
  return sameName.length === 1 ? sameName[0]! : null;
}

/** `ghcr.io/nersc/interactem/center-of-mass-plot:latest` without tag and digest. */
export function imageRepository(image: string): string {
  const name = image.replace(/@.*$/, "");
  // A colon before the last slash belongs to the registry's port.
  return name.replace(/:[^/:]*$/, "");
}

/** Last part of an image's name: `center-of-mass-plot`. */
export function imageName(image: string): string {
  return imageRepository(image).split("/").at(-1)!;
}

/** A short name for each operator, made of its label and unique in the pipeline, by canonical operator id. */
export function operatorSlugs(pipeline: CanonicalPipeline): ReadonlyMap<string, string> {
  const taken = new Set<string>();
  return new Map(
    pipeline.operators.map(({ id, label }) => {
      const base =
        label
          .toLowerCase()
          .replaceAll(/[^a-z0-9]+/g, "-")
          .replaceAll(/^-+|-+$/g, "") || "operator";
      let slug = base;
      for (let number = 2; taken.has(slug); number += 1) slug = `${base}-${number}`;
      taken.add(slug);
      return [id, slug] as const;
    }),
  );
}

function duplicateIds({ operators, ports }: CanonicalPipeline): Problem[] {
  const seen = new Map<string, string>();
  const nodes = [
    ...operators.map(({ id }, index) => ({ id, place: `operators[${index}]` })),
    ...ports.map(({ id }, index) => ({ id, place: `ports[${index}]` })),
  ];
  return nodes.flatMap(({ id, place }) => {
    const first = seen.get(id);
    seen.set(id, first ?? place);
    return first === undefined
      ? []
      : [{ path: `${place}.id`, message: `${id} is already the id of ${first}` }];
  });
}

function operatorProblems(
  pipeline: CanonicalPipeline,
  operator: CanonicalOperator,
  index: number,
  specs: readonly OperatorSpec[],
): Problem[] {
  const place = `operators[${index}]`;
  const problems: Problem[] = [
    ...listedPortProblems(pipeline, operator, place, "inputs"),
    ...listedPortProblems(pipeline, operator, place, "outputs"),
  ];
  if (operator.parallelism !== null && !parallelismFits(operator.parallelism)) {
    problems.push({ path: `${place}.parallelism`, message: parallelismText(operator.parallelism) });
  }
  const spec = findOperatorSpec(operator.image, specs);
  if (spec === null) {
    const known = specs.map(({ image }) => imageRepository(image));
    const installed = known.length === 0 ? "none is installed" : `installed are ${known.join(", ")}`;
    const message = `"${operator.label}": no installed operator has the image ${operator.image}; ${installed}`;
    return [{ path: `${place}.image`, message }, ...problems];
  }
  if (operator.parallel_config?.type === "embarrassing" && spec.parallel_config?.type !== "embarrassing") {
    const message = `"${operator.label}" cannot be replicated: its specification does not say "embarrassing"`;
    problems.push({ path: `${place}.parallel_config.type`, message });
  }
  return [
    ...problems,
    ...openInputs(pipeline, operator, place, spec),
    ...parameterProblems(operator, place, spec),
  ];
}

function listedPortProblems(
  { ports }: CanonicalPipeline,
  operator: CanonicalOperator,
  place: string,
  list: "inputs" | "outputs",
): Problem[] {
  const type = list === "inputs" ? "input" : "output";
  return operator[list].flatMap((id, index) => {
    const path = `${place}.${list}[${index}]`;
    if (operator[list].indexOf(id) !== index) return [{ path, message: `port ${id} is listed twice` }];
    const port = ports.find((candidate) => candidate.id === id);
    if (port === undefined) return [{ path, message: `no port of the pipeline has the id ${id}` }];
    if (port.canonical_operator_id !== operator.id) {
      return [{ path, message: `port "${port.portkey}" belongs to another operator` }];
    }
    return port.port_type === type
      ? []
      : [{ path, message: `port "${port.portkey}" is an ${port.port_type} port` }];
  });
}

function openInputs(
  pipeline: CanonicalPipeline,
  operator: CanonicalOperator,
  place: string,
  spec: OperatorSpec,
): Problem[] {
  const fed = new Set(pipeline.edges.map((edge) => edge.output_id));
  return (spec.inputs ?? []).flatMap(({ name }) => {
    const ports = pipeline.ports.filter(
      (port) =>
        port.canonical_operator_id === operator.id && port.port_type === "input" && port.portkey === name,
    );
    if (ports.some(({ id }) => fed.has(id))) return [];
    const path = ports.length === 0 ? `${place}.inputs` : `ports[${pipeline.ports.indexOf(ports[0]!)}]`;
    return [{ path, message: `nothing feeds input "${name}" of "${operator.label}"` }];
  });
}

function parameterProblems(operator: CanonicalOperator, place: string, spec: OperatorSpec): Problem[] {
  const known = new Map((spec.parameters ?? []).map((parameter) => [parameter.name, parameter]));
  const seen = new Set<string>();
  return (operator.parameters ?? []).flatMap(({ name, default: value }, index) => {
    const path = `${place}.parameters[${index}]`;
    const parameter = known.get(name);
    if (parameter === undefined) {
      const names = known.size === 0 ? "it has none" : `expected ${oneOfList([...known.keys()])}`;
      return [{ path: `${path}.name`, message: `"${operator.label}" has no parameter "${name}"; ${names}` }];
    }
    if (seen.has(name)) return [{ path: `${path}.name`, message: `parameter "${name}" is given twice` }];
    seen.add(name);
    try {
      parseParameterValue(parameter, value);
      return [];
    } catch (error) {
      if (!(error instanceof StemlineError)) throw error;
      return [{ path: `${path}.default`, message: error.message }];
    }
  });
}

function portProblems(
  { operators, ports }: CanonicalPipeline,
  port: CanonicalPort,
  index: number,
  specs: readonly OperatorSpec[],
): Problem[] {
  const place = `ports[${index}]`;
  const owner = operators.find(({ id }) => id === port.canonical_operator_id);
  if (owner === undefined) {
    const message = `no operator of the pipeline has the id ${port.canonical_operator_id}`;
    return [{ path: `${place}.canonical_operator_id`, message }];
  }
  const problems: Problem[] = [];
  const list = port.port_type === "input" ? "inputs" : "outputs";
  if (!owner[list].includes(port.id)) {
    const message = `port "${port.portkey}" is not among the ${list} of its operator "${owner.label}"`;
    problems.push({ path: place, message });
  }
  const twin = ports.findIndex(
    (other) =>
      other.canonical_operator_id === owner.id &&
      other.port_type === port.port_type &&
      other.portkey === port.portkey,
  );
  if (twin < index) {
    const message = `"${owner.label}" already has the ${port.port_type} port "${port.portkey}" in ports[${twin}]`;
    problems.push({ path: `${place}.portkey`, message });
  }
  const spec = findOperatorSpec(owner.image, specs);
  const names = (spec?.[list] ?? []).map(({ name }) => name);
  if (spec !== null && !names.includes(port.portkey)) {
    const expected = names.length === 0 ? "it has none" : `expected ${oneOfList(names)}`;
    const message = `"${owner.label}" has no ${port.port_type} port "${port.portkey}"; ${expected}`;
    problems.push({ path: `${place}.portkey`, message });
  }
  return problems;
}

function edgeProblems(
  { operators, ports, edges }: CanonicalPipeline,
  edge: CanonicalEdge,
  index: number,
): Problem[] {
  const place = `edges[${index}]`;
  const ends = [
    { member: "input_id", id: edge.input_id, type: "output", verb: "start" },
    { member: "output_id", id: edge.output_id, type: "input", verb: "end" },
  ] as const;
  const problems = ends.flatMap(({ member, id, type, verb }): Problem[] => {
    const path = `${place}.${member}`;
    const port = ports.find((candidate) => candidate.id === id);
    if (port?.port_type === type) return [];
    if (port !== undefined) {
      const label = operators.find((operator) => operator.id === port.canonical_operator_id)?.label;
      const which = `"${port.portkey}"${label === undefined ? "" : ` of "${label}"`}`;
      const message = `an edge must ${verb} at an ${type} port, but ${which} is an ${port.port_type} port`;
      return [{ path, message }];
    }
    const operator = operators.find((candidate) => candidate.id === id);
    const what = operator === undefined ? `no port of the pipeline has the id ${id}` : `${id} is an operator`;
    return [{ path, message: `an edge must ${verb} at an ${type} port, but ${what}` }];
  });
  const first = edges.findIndex(
    ({ input_id, output_id }) => input_id === edge.input_id && output_id === edge.output_id,
  );
  if (first < index) problems.push({ path: place, message: `is the same as edges[${first}]` });
  return problems;
}

/** One problem for each edge that closes a cycle. */
function cycles({ operators, ports, edges }: CanonicalPipeline): Problem[] {
  const owner = new Map(ports.map((port) => [port.id, port.canonical_operator_id]));
  const label = new Map(operators.map((operator) => [operator.id, operator.label]));
  const next = new Map<string, { target: string; index: number }[]>(operators.map(({ id }) => [id, []]));
  edges.forEach((edge, index) => {
    const target = owner.get(edge.output_id);
    if (target !== undefined) next.get(owner.get(edge.input_id) ?? "")?.push({ target, index });
  });

  const problems: Problem[] = [];
  const finished = new Set<string>();
  const path: string[] = [];
  const visit = (id: string) => {
    path.push(id);
    for (const { target, index } of next.get(id) ?? []) {
      const start = path.indexOf(target);
      if (start >= 0) {
        const names = [...path.slice(start), target].map((member) => `"${label.get(member) ?? member}"`);
        problems.push({ path: `edges[${index}]`, message: `closes a cycle: ${names.join(" -> ")}` });
      } else if (!finished.has(target)) visit(target);
    }
    path.pop();
    finished.add(id);
  };
  for (const { id } of operators) if (!finished.has(id)) visit(id);
  return problems;
}

function parallelismFits(value: number): boolean {
  return Number.isInteger(value) && value >= parallelismLimits.min && value <= parallelismLimits.max;
}

function parallelismText(value: unknown): string {
  return expectedGot(`an integer from ${parallelismLimits.min} to ${parallelismLimits.max}, or null`, value);
}
