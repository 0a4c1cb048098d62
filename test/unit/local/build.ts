import { randomUUID } from "node:crypto";
import type { InstalledOperator } from "../../../src/local/runner.ts";
import {
  defineOperator,
  type Operator,
  type OperatorDefinition,
} from "../../../src/operator/define-operator.ts";
import type { ParameterDeclarations } from "../../../src/operator/parameters.ts";
import { parseOperatorSpec } from "../../../src/spec/operator-spec.ts";
import { type CanonicalPipeline, parsePipeline } from "../../../src/spec/pipeline.ts";
import { type BytesMessage, bytesMessage } from "../../../src/wire/message.ts";

type Definition = OperatorDefinition<ParameterDeclarations, unknown>;

interface Extra {
  readonly parallel?: boolean;
  readonly triggers?: Readonly<Record<string, "single" | "drain">>;
  readonly parameters?: readonly object[];
}

/** An operator of a test: its name is image, label and, with the port's name, all there is to wire it. */
export function operator(name: string, definition: Definition, extra: Extra = {}): InstalledOperator {
  const port = (portName: string) => ({ name: portName, label: portName, description: "", type: "bytes" });
  const triggers = Object.entries(extra.triggers ?? {});
  const spec = parseOperatorSpec({
    id: randomUUID(),
    label: name,
    description: "",
    image: name,
    inputs: definition.inputs?.map(port),
    outputs: definition.outputs?.map(port),
    parameters: extra.parameters,
    parallel_config: extra.parallel ? { type: "embarrassing" } : null,
    triggers: triggers.map(([trigger, mode]) => ({ name: trigger, label: trigger, mode })),
  });
  return { spec, operator: defineOperator(definition) as Operator };
}

/** Source of `count` numbered messages. */
export function numbers(count: number, name = "numbers"): InstalledOperator {
  return operator(name, {
    outputs: ["out"],
    setup: () => ({ next: 0 }),
    run: (_message, { state, count: report }) => {
      const counter = state as { next: number };
      if (counter.next === 0) report({ expectedFrames: count });
      if (counter.next === count) return null;
      report({ frames: 1 });
      return numbered(counter.next++);
    },
  });
}

export function numbered(value: number): BytesMessage {
  return bytesMessage({ value }, Uint8Array.of(value));
}

export function numberIn(message: BytesMessage | null): number {
  return (message!.header.meta as { value: number }).value;
}

/** Sink that hands every value to `take`. */
export function sink(take: (value: number) => unknown, name = "sink"): InstalledOperator {
  return operator(name, {
    inputs: ["in"],
    run: async (message) => {
      await take(numberIn(message));
      return null;
    },
  });
}

interface Options {
  readonly parallelism?: Readonly<Record<string, number>>;
  readonly parameters?: Readonly<Record<string, readonly object[]>>;
}

/** Pipeline in which each wire runs from the first output of one operator to the first input of another. */
export function pipelineOf(
  operators: readonly InstalledOperator[],
  wires: readonly (readonly [from: string, to: string])[],
  { parallelism = {}, parameters = {} }: Options = {},
): CanonicalPipeline {
  const nodes = operators.map(({ spec }) => {
    const id = randomUUID();
    const ports = (type: "input" | "output") =>
      (spec[`${type}s`] ?? []).map(({ name }) => ({
        id: randomUUID(),
        port_type: type,
        canonical_operator_id: id,
        portkey: name,
      }));
    return { id, spec, inputs: ports("input"), outputs: ports("output") };
  });
  const node = (name: string) => nodes.find(({ spec }) => spec.label === name)!;
  return parsePipeline({
    id: randomUUID(),
    revision_id: 1,
    operators: nodes.map(({ id, spec, inputs, outputs }) => ({
      ...spec,
      id,
      spec_id: spec.id,
      inputs: inputs.map((port) => port.id),
      outputs: outputs.map((port) => port.id),
      parameters: parameters[spec.label] ?? spec.parameters,
      tags: [],
      parallelism: parallelism[spec.label] ?? null,
    })),
    ports: nodes.flatMap(({ inputs, outputs }) => [...inputs, ...outputs]),
    edges: wires.map(([from, to]) => ({
      input_id: node(from).outputs[0]!.id,
      output_id: node(to).inputs[0]!.id,
    })),
  });
}
