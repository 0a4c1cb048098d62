import { z } from "zod";
import { ParameterError, PipelineError } from "../errors.ts";
import type { RuntimeOperator, RuntimePipeline, RuntimePort } from "./expand-pipeline.ts";
import { parameterSpecSchema, uuidSchema } from "./operator-spec.ts";
import { parseParameterValue } from "./parameter-value.ts";
import {
  canonicalOperatorSchema,
  edgeSchema,
  integerSchema,
  invalidPipeline,
  portSchema,
} from "./pipeline.ts";
import { describeIssue, expectedGot, problemsOf } from "./problems.ts";

const parameterSchema = z
  .intersection(parameterSpecSchema, z.object({ value: z.unknown().default(null) }))
  .transform((parameter, context) => {
    if (parameter.value === null) return { ...parameter, value: null };
    try {
      return { ...parameter, value: parseParameterValue(parameter, parameter.value) };
    } catch (error) {
      if (!(error instanceof ParameterError)) throw error;
      context.addIssue({ code: "custom", path: ["value"], message: error.message });
      return z.NEVER;
    }
  });

function expecting(expected: string) {
  return { error: ({ input }: { readonly input?: unknown }) => expectedGot(expected, input) };
}

const textsSchema = z.union([z.string(), z.array(z.string())], expecting("a string or a list of strings"));

const portReferenceSchema = z.object({ id: uuidSchema, canonical_id: uuidSchema });

const operatorSchema = canonicalOperatorSchema.extend({
  canonical_id: uuidSchema,
  parallel_index: integerSchema.default(0),
  inputs: z.array(portReferenceSchema).default([]),
  outputs: z.array(portReferenceSchema).default([]),
  parameters: z.array(parameterSchema).nullable().default(null),
  env: z.record(z.string(), z.string(), expecting("an object of strings")).default({}),
  command: textsSchema.default([]),
  network_mode: z.string().nullable().default(null),
});

const runtimePortSchema = portSchema.extend({
  canonical_id: uuidSchema,
  operator_id: uuidSchema,
  targets_canonical_operator_id: uuidSchema.nullable().default(null),
});

const runtimePipelineSchema = z.object({
  id: uuidSchema,
  canonical_id: uuidSchema,
  revision_id: integerSchema,
  operators: z.array(operatorSchema).default([]),
  ports: z.array(runtimePortSchema).default([]),
  edges: z.array(edgeSchema).default([]),
});

/**
 * Reads the parsed JSON of a runtime pipeline; accepts what interactEM's model accepts. The result is a copy without
 * unknown members.
 *
 * @throws PipelineError `STEMLINE_PIPELINE_INVALID` with every problem.
 */
export function parseRuntimePipeline(value: unknown): RuntimePipeline {
  const result = runtimePipelineSchema.safeParse(value, { error: describeIssue });
  if (result.success) return result.data;
  throw invalidPipeline(problemsOf(result.error));
}

interface PortView {
  /** Runtime id. */
  readonly id: string;
  readonly canonicalId: string;
  /** Name of the port in the operator's specification. */
  readonly portkey: string;
}

export interface InputPortView extends PortView {
  /** Runtime ids of the output ports that feed this one, each once, in the order of the edges. */
  readonly upstream: readonly string[];
}

export interface OutputPortView extends PortView {
  /** Runtime ids of the input ports that this one feeds, each once, in the order of the edges. */
  readonly downstream: readonly string[];
}

/** What one operator process needs to know of its pipeline. Ports are in the order of the pipeline. */
export interface OperatorView {
  readonly operator: RuntimeOperator;
  readonly inputs: readonly InputPortView[];
  readonly outputs: readonly OutputPortView[];
  /** False for a source. */
  readonly hasInputs: boolean;
}

/**
 * A pipeline as one of its operators sees it. Which ports are its own is said by the ports, not by the operator's lists.
 *
 * @param operatorId Runtime id, lower case with hyphens.
 * @throws PipelineError `STEMLINE_PIPELINE_OPERATOR` if the pipeline has no such operator.
 */
export function operatorView(pipeline: RuntimePipeline, operatorId: string): OperatorView {
  const operator = pipeline.operators.find(({ id }) => id === operatorId);
  if (operator === undefined) {
    const ids = pipeline.operators.map(({ id }) => id).join(", ");
    throw new PipelineError(
      "STEMLINE_PIPELINE_OPERATOR",
      `Pipeline ${pipeline.id}: expected operator ${operatorId}, got ${ids || "no operators"}`,
    );
  }
  const own = pipeline.ports.filter((port) => port.operator_id === operatorId);
  const inputs = own
    .filter(({ port_type }) => port_type === "input")
    .map((port) => ({ ...portView(port), upstream: sources(pipeline, port.id) }));
  const outputs = own
    .filter(({ port_type }) => port_type === "output")
    .map((port) => ({ ...portView(port), downstream: targets(pipeline, port.id) }));
  return { operator, inputs, outputs, hasInputs: inputs.length > 0 };
}

function portView({ id, canonical_id, portkey }: RuntimePort): PortView {
  return { id, canonicalId: canonical_id, portkey };
}

function sources({ edges }: RuntimePipeline, portId: string): string[] {
  return [...new Set(edges.filter(({ output_id }) => output_id === portId).map(({ input_id }) => input_id))];
}

function targets({ edges }: RuntimePipeline, portId: string): string[] {
  return [...new Set(edges.filter(({ input_id }) => input_id === portId).map(({ output_id }) => output_id))];
}
