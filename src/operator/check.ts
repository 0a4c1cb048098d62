import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { type Problem, StemlineError } from "../errors.ts";
import { parseJsonText } from "../spec/json-text.ts";
import {
  duplicateNames,
  type InputSpec,
  type OperatorSpec,
  type ParameterSpec,
  readOperatorSpec,
} from "../spec/operator-spec.ts";
import { describeValue } from "../wire/json.ts";
import { acceptedFormats, type Operator } from "./define-operator.ts";
import { reasonOf } from "./file-reason.ts";
import { loadOperator } from "./load-operator.ts";
import type { ParameterDeclaration, ParameterDeclarations } from "./parameters.ts";

/** What `checkOperator` found. `spec` and `operator` are null where they could not be read. */
export interface OperatorCheck {
  readonly spec: OperatorSpec | null;
  readonly operator: Operator | null;
  /** Empty when the operator is sound. Each path starts with the file: `run.ts: parameters.crop_to_x`. */
  readonly problems: readonly Problem[];
}

/**
 * Checks the folder of an operator: operator.json is valid, run.ts loads, and the two agree in ports, triggers and
 * parameters. Never throws for what is wrong in the folder; all problems are reported at once.
 */
export async function checkOperator(directory: string): Promise<OperatorCheck> {
  const [specCheck, operatorCheck] = await Promise.all([
    checkSpecFile(join(directory, "operator.json")),
    readRun(join(directory, "run.ts")),
  ]);
  const { spec } = specCheck;
  const { operator } = operatorCheck;
  const disagreements = spec === null || operator === null ? [] : compare(spec, operator);
  const specProblems = specCheck.problems.map(({ path, message }) => ({ path: inSpec(path), message }));
  return { spec, operator, problems: [...specProblems, ...operatorCheck.problems, ...disagreements] };
}

/** Reads an operator.json. Never throws for what is wrong with it; a path is a place in the file. */
export async function checkSpecFile(file: string): Promise<Pick<OperatorCheck, "spec" | "problems">> {
  let value: unknown;
  try {
    value = parseJsonText(await readFile(file, "utf8"));
  } catch (error) {
    const reason = error instanceof SyntaxError ? `is not JSON: ${error.message}` : reasonOf(error);
    return { spec: null, problems: [{ path: "", message: reason }] };
  }
  const { spec, problems } = readOperatorSpec(value);
  return { spec, problems: [...problems, ...duplicateNames(value)] };
}

async function readRun(file: string): Promise<Pick<OperatorCheck, "operator" | "problems">> {
  try {
    return { operator: await loadOperator(file), problems: [] };
  } catch (error) {
    if (!(error instanceof StemlineError)) throw error;
    return { operator: null, problems: [{ path: "run.ts", message: error.message }] };
  }
}

function compare(spec: OperatorSpec, operator: Operator): Problem[] {
  return [
    ...compareNames("inputs", spec.inputs, operator.inputs),
    ...compareAccepted(spec.inputs ?? [], operator),
    ...compareNames("outputs", spec.outputs, operator.outputs),
    ...compareNames("triggers", spec.triggers, operator.triggers),
    ...compareParameters(spec.parameters ?? [], operator.parameters ?? {}),
  ];
}

function compareNames(
  member: "inputs" | "outputs" | "triggers",
  specified: readonly { readonly name: string }[] | null,
  declared: readonly string[] = [],
): Problem[] {
  const names = (specified ?? []).map(({ name }) => name);
  return sameList(names, declared)
    ? []
    : [{ path: inRun(member), message: expectedList(names, declared, "operator.json") }];
}

function compareAccepted(inputs: readonly InputSpec[], operator: Operator): Problem[] {
  const names = Object.keys(operator.accepts ?? {});
  const unknown = names.filter((port) => !inputs.some(({ name }) => name === port));
  return [
    ...unknown.map((port) => ({
      path: inRun(`accepts.${port}`),
      message: `expected the name of an input port, got ${describeValue(port)}`,
    })),
    ...inputs.flatMap(({ name, accepts = [] }) => {
      const formats = acceptedFormats(operator, name);
      if (sameList(accepts, formats)) return [];
      return [{ path: inRun(`accepts.${name}`), message: expectedList(accepts, formats, "operator.json") }];
    }),
  ];
}

function compareParameters(specified: readonly ParameterSpec[], declared: ParameterDeclarations): Problem[] {
  const problems: Problem[] = [];
  const names = specified.map(({ name }) => name);
  for (const [index, parameter] of specified.entries()) {
    const { name } = parameter;
    // Said already.
    if (names.indexOf(name) < index) continue;
    const declaration = Object.hasOwn(declared, name) ? declared[name] : undefined;
    problems.push(
      ...(declaration === undefined
        ? [{ path: inRun(`parameters.${name}`), message: "declared in operator.json but not here" }]
        : compareParameter(parameter, declaration)),
    );
  }
  for (const name of Object.keys(declared).filter((name) => !names.includes(name))) {
    problems.push({
      path: inSpec("parameters"),
      message: `lacks ${describeValue(name)}, which run.ts declares`,
    });
  }
  return problems;
}

function compareParameter(parameter: ParameterSpec, declaration: ParameterDeclaration): Problem[] {
  const path = inRun(`parameters.${parameter.name}`);
  if (declaration.type !== parameter.type) {
    const message = `expected type ${describeValue(parameter.type)} as in operator.json, got ${describeValue(declaration.type)}`;
    return [{ path, message }];
  }
  const problems: Problem[] = [];
  const declaredOptions = declaration.options ?? [];
  if (parameter.type === "str-enum" && !sameList(parameter.options, declaredOptions)) {
    const message = expectedList(parameter.options, declaredOptions, "operator.json");
    problems.push({ path: `${path}.options`, message });
  }
  if (declaration.default !== undefined && !Object.is(declaration.default, parameter.default)) {
    const message = `expected ${describeValue(parameter.default)} as in operator.json, got ${describeValue(declaration.default)}`;
    problems.push({ path: `${path}.default`, message });
  }
  return problems;
}

function sameList(left: readonly string[], right: readonly string[]): boolean {
  return left.length === right.length && left.every((value, index) => value === right[index]);
}

function expectedList(expected: readonly string[], got: readonly string[], source: string): string {
  return `expected ${list(expected)} as in ${source}, got ${list(got)}`;
}

function list(names: readonly string[]): string {
  return `[${names.map(describeValue).join(", ")}]`;
}

function inSpec(path: string): string {
  return path === "" ? "operator.json" : `operator.json: ${path}`;
}

function inRun(path: string): string {
  return `run.ts: ${path}`;
}
