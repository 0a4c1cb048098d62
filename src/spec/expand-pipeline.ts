import { randomUUID } from "node:crypto";
import type { ParameterValue } from "./parameter-value.ts";
import type { CanonicalOperator, CanonicalPipeline, CanonicalPort } from "./pipeline.ts";

/** A parameter of a runtime operator; `value` null means `default`. */
export type RuntimeParameter = NonNullable<CanonicalOperator["parameters"]>[number] & {
  readonly value: ParameterValue | null;
};

export interface RuntimePortReference {
  readonly id: string;
  readonly canonical_id: string;
}

/** One replica of a canonical operator. */
export interface RuntimeOperator extends Omit<CanonicalOperator, "inputs" | "outputs" | "parameters"> {
  readonly canonical_id: string;
  readonly parallel_index: number;
  readonly inputs: readonly RuntimePortReference[];
  readonly outputs: readonly RuntimePortReference[];
  readonly parameters: readonly RuntimeParameter[] | null;
  readonly env: Readonly<Record<string, string>>;
  readonly command: string | readonly string[];
  readonly network_mode: string | null;
}

export interface RuntimePort extends CanonicalPort {
  readonly canonical_id: string;
  /** Runtime id of the operator that the port belongs to. */
  readonly operator_id: string;
  /** For an output port the canonical operator it feeds, null when nobody reads it; for an input port its own operator. */
  readonly targets_canonical_operator_id: string | null;
}

export interface RuntimeEdge {
  readonly input_id: string;
  readonly output_id: string;
}

export interface RuntimePipeline {
  readonly id: string;
  readonly canonical_id: string;
  readonly revision_id: number;
  readonly operators: readonly RuntimeOperator[];
  readonly ports: readonly RuntimePort[];
  readonly edges: readonly RuntimeEdge[];
}

export interface ExpandOptions {
  /** Replicas of a parallel operator whose `parallelism` is null; default 4. */
  readonly defaultParallelism?: number;
}

/**
 * The runtime pipeline of a canonical one, as interactEM's orchestrator expands it: a replica for each of `parallelism`
 * (only for operators of parallel type `embarrassing`), an output port for each replica and operator it feeds, an input
 * port for each replica, and an edge from each output port to every input port of its target. Runtime ids are random.
 *
 * As lenient as interactEM: ports of unknown operators and edges to unknown ports are left out, doubled edges count
 * once, cycles pass. `validatePipeline` finds them.
 */
export function expandPipeline(pipeline: CanonicalPipeline, options: ExpandOptions = {}): RuntimePipeline {
  const { defaultParallelism = 4 } = options;
  const replicas = new Map(
    pipeline.operators.map((operator) => [operator.id, replicaIds(operator, defaultParallelism)] as const),
  );
  const ports = pipeline.ports.flatMap((port) => {
    const operatorIds = replicas.get(port.canonical_operator_id) ?? [];
    const targets =
      port.port_type === "output" ? outputTargets(pipeline, port) : [port.canonical_operator_id];
    return operatorIds.flatMap((operatorId) =>
      targets.map((target) => runtimePort(port, operatorId, target)),
    );
  });
  const operators = pipeline.operators.flatMap((operator) =>
    replicas.get(operator.id)!.map((id, index) => runtimeOperator(operator, id, index, ports)),
  );
  return {
    id: randomUUID(),
    canonical_id: pipeline.id,
    revision_id: pipeline.revision_id,
    operators,
    ports,
    edges: [...operatorEdges(ports), ...portEdges(pipeline, ports)],
  };
}

function replicaIds(operator: CanonicalOperator, defaultParallelism: number): string[] {
  const parallel = operator.parallel_config?.type === "embarrassing";
  const count = parallel ? (operator.parallelism ?? defaultParallelism) : 1;
  return Array.from({ length: count }, () => randomUUID());
}

function outputTargets(pipeline: CanonicalPipeline, port: CanonicalPort): (string | null)[] {
  const owners = new Map(pipeline.ports.map(({ id, canonical_operator_id }) => [id, canonical_operator_id]));
  const targets = new Set<string>();
  for (const edge of pipeline.edges) {
    const owner = owners.get(edge.output_id);
    if (edge.input_id === port.id && owner !== undefined) targets.add(owner);
  }
  return targets.size > 0 ? [...targets] : [null];
}

function runtimePort(port: CanonicalPort, operatorId: string, target: string | null): RuntimePort {
  return {
    ...port,
    id: randomUUID(),
    canonical_id: port.id,
    operator_id: operatorId,
    targets_canonical_operator_id: target,
  };
}

function runtimeOperator(
  operator: CanonicalOperator,
  id: string,
  index: number,
  ports: readonly RuntimePort[],
): RuntimeOperator {
  const own = ports.filter((port) => port.operator_id === id);
  const references = (type: CanonicalPort["port_type"]) =>
    own
      .filter((port) => port.port_type === type)
      .map((port) => ({ id: port.id, canonical_id: port.canonical_id }));
  return {
    ...operator,
    id,
    canonical_id: operator.id,
    parallel_index: index,
    inputs: references("input"),
    outputs: references("output"),
    parameters: operator.parameters?.map((parameter) => ({ ...parameter, value: null })) ?? null,
    env: {},
    command: [],
    network_mode: null,
  };
}

function operatorEdges(ports: readonly RuntimePort[]): RuntimeEdge[] {
  return ports.map((port) =>
    port.port_type === "output"
      ? { input_id: port.operator_id, output_id: port.id }
      : { input_id: port.id, output_id: port.operator_id },
  );
}

function portEdges(pipeline: CanonicalPipeline, ports: readonly RuntimePort[]): RuntimeEdge[] {
  const distinct = new Map(pipeline.edges.map((edge) => [`${edge.input_id} ${edge.output_id}`, edge]));
  return [...distinct.values()].flatMap((edge) => {
    const from = ports.filter((port) => port.canonical_id === edge.input_id);
    const to = ports.filter((port) => port.canonical_id === edge.output_id);
    return from.flatMap((output) =>
      to
        .filter((input) => connects(output, input))
        .map((input) => ({ input_id: output.id, output_id: input.id })),
    );
  });
}

/** An output port made for one operator is connected to that operator's ports only. */
function connects(from: RuntimePort, to: RuntimePort): boolean {
  if (from.port_type !== "output" || from.targets_canonical_operator_id === null) return true;
  return from.targets_canonical_operator_id === to.canonical_operator_id;
}
