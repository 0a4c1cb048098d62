import { randomUUID } from "node:crypto";
import type { OperatorSpec } from "../spec/operator-spec.ts";
import type { CanonicalPipeline } from "../spec/pipeline.ts";

/** A pipeline of these operators in a row, one replica each: the first output of each feeds the first input of the next. */
export function chainPipeline(specs: readonly OperatorSpec[]): CanonicalPipeline {
  const links = specs.map((spec) => {
    const id = randomUUID();
    const ports = (type: "input" | "output") =>
      (spec[`${type}s`] ?? []).map(({ name }) => ({
        id: randomUUID(),
        node_type: "port" as const,
        port_type: type,
        canonical_operator_id: id,
        portkey: name,
      }));
    return { spec, id, inputs: ports("input"), outputs: ports("output") };
  });
  return {
    id: randomUUID(),
    revision_id: 1,
    operators: links.map(({ spec, id, inputs, outputs }) => ({
      ...spec,
      id,
      spec_id: spec.id,
      node_type: "operator",
      inputs: inputs.map((port) => port.id),
      outputs: outputs.map((port) => port.id),
      tags: spec.tags ?? [],
      parallelism: 1,
    })),
    ports: links.flatMap(({ inputs, outputs }) => [...inputs, ...outputs]),
    edges: links.slice(1).map(({ inputs }, index) => ({
      input_id: links[index]!.outputs[0]!.id,
      output_id: inputs[0]!.id,
    })),
  };
}
