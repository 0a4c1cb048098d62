import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { type CanonicalPipeline, parsePipeline } from "../../../src/spec/pipeline.ts";

/** Folder of the operators by which tests look at a runtime from the side of an author. */
export const authorOperators = fileURLToPath(new URL("../fixtures/author-operators", import.meta.url));

export function authorRunFile(name: string): string {
  return join(authorOperators, name, "run.ts");
}

export interface AuthorStation {
  /** Folder of the operator. */
  readonly operator: string;
  /** Calls may overlap, in as many replicas as this. */
  readonly parallelism?: number;
  /** Values in place of the defaults of operator.json. */
  readonly parameters?: Readonly<Record<string, unknown>>;
}

interface SpecMember {
  readonly name: string;
  readonly [member: string]: unknown;
}

/** Canonical pipeline of operators by label, with a wire for each `["label.output", "label.input"]`. */
export function authorPipeline(
  stations: Readonly<Record<string, AuthorStation>>,
  wires: readonly (readonly [from: string, to: string])[],
): CanonicalPipeline {
  const nodes = Object.entries(stations).map(([label, { operator, parallelism, parameters = {} }]) => {
    const spec = JSON.parse(readFileSync(join(authorOperators, operator, "operator.json"), "utf8"));
    const id = randomUUID();
    const ports = (type: "input" | "output") =>
      ((spec[`${type}s`] ?? []) as SpecMember[]).map(({ name }) => ({
        id: randomUUID(),
        port_type: type,
        canonical_operator_id: id,
        portkey: name,
      }));
    const inputs = ports("input");
    const outputs = ports("output");
    return {
      ports: [...inputs, ...outputs],
      places: [...inputs, ...outputs].map(({ id: port, portkey }) => [`${label}.${portkey}`, port] as const),
      entry: {
        ...spec,
        id,
        spec_id: spec.id,
        label,
        inputs: inputs.map((port) => port.id),
        outputs: outputs.map((port) => port.id),
        parameters: ((spec.parameters ?? []) as SpecMember[]).map((parameter) => ({
          ...parameter,
          default: parameters[parameter.name] ?? parameter.default,
        })),
        ...(parallelism === undefined ? {} : { parallelism, parallel_config: { type: "embarrassing" } }),
      },
    };
  });
  const places = new Map<string, string>(nodes.flatMap((node) => node.places));
  return parsePipeline({
    id: randomUUID(),
    revision_id: 1,
    operators: nodes.map(({ entry }) => entry),
    ports: nodes.flatMap(({ ports }) => ports),
    edges: wires.map(([from, to]) => ({ input_id: places.get(from), output_id: places.get(to) })),
  });
}
