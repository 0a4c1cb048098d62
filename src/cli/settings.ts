import { StemlineError, UsageError } from "../errors.ts";
import type { OperatorSpec } from "../spec/operator-spec.ts";
import { parseParameterValue } from "../spec/parameter-value.ts";
import {
  type CanonicalOperator,
  type CanonicalPipeline,
  findOperatorSpec,
  imageName,
  imageRepository,
  operatorSlugs,
} from "../spec/pipeline.ts";

/**
 * Applies `operator.parameter=value` settings to a pipeline. The operator is named by its slug, id, label or image.
 *
 * @throws UsageError `STEMLINE_CLI_SET` with every setting that cannot be applied.
 */
export function applySettings(
  pipeline: CanonicalPipeline,
  settings: readonly string[],
  specs: readonly OperatorSpec[],
): CanonicalPipeline {
  const problems: string[] = [];
  const operators = new Map(pipeline.operators.map((operator) => [operator.id, operator]));
  for (const setting of settings) {
    const changed = applySetting(pipeline, operators, setting, specs);
    if (typeof changed === "string") problems.push(`${setting}: ${changed}`);
    else operators.set(changed.id, changed);
  }
  if (problems.length > 0) throw refused(problems);
  return { ...pipeline, operators: pipeline.operators.map(({ id }) => operators.get(id)!) };
}

/** Applies `parameter=value` settings to one operator, whose own parameters these are. Throws like `applySettings`. */
export function applyOperatorSettings(
  operator: CanonicalOperator,
  settings: readonly string[],
): CanonicalOperator {
  const problems: string[] = [];
  let changed = operator;
  for (const setting of settings) {
    const [, name, value] = /^([^=]+)=(.*)$/s.exec(setting) ?? [];
    const result = name === undefined ? "expected parameter=value" : withParameter(changed, name, value!, []);
    if (typeof result === "string") problems.push(`${setting}: ${result}`);
    else changed = result;
  }
  if (problems.length > 0) throw refused(problems);
  return changed;
}

function refused(problems: readonly string[]): UsageError {
  const list = problems.map((text) => `\n  ${text}`).join("");
  return new UsageError("STEMLINE_CLI_SET", `Cannot apply --set:${list}`);
}

/** The changed operator, or why there is none. */
function applySetting(
  pipeline: CanonicalPipeline,
  operators: ReadonlyMap<string, CanonicalOperator>,
  setting: string,
  specs: readonly OperatorSpec[],
): CanonicalOperator | string {
  const equals = setting.indexOf("=");
  const key = setting.slice(0, equals);
  const value = setting.slice(equals + 1);
  const dots = [...key.matchAll(/\./g)].map(({ index }) => index).reverse();
  if (equals < 0 || dots.length === 0) return "expected operator.parameter=value";
  // Images have dots in their names, and so have some parameters: the split that names something is the one meant.
  const splits = dots.map((dot) => {
    const found = findOperator(pipeline, key.slice(0, dot));
    if (typeof found === "string") return { found: false, result: found };
    return { found: true, result: withParameter(operators.get(found.id)!, key.slice(dot + 1), value, specs) };
  });
  const best =
    splits.find(({ result }) => typeof result !== "string") ??
    splits.find(({ found }) => found) ??
    splits[0]!;
  return best.result;
}

/** The operator, or why the name does not say which. */
function findOperator(pipeline: CanonicalPipeline, name: string): CanonicalOperator | string {
  const slugs = operatorSlugs(pipeline);
  const { operators } = pipeline;
  const bySlug = operators.find(({ id }) => slugs.get(id) === name || id === name.toLowerCase());
  if (bySlug !== undefined) return bySlug;
  const matches = operators.filter(({ label, image }) =>
    [label, image, imageRepository(image), imageName(image)].includes(name),
  );
  if (matches.length === 1) return matches[0]!;
  const candidates = (matches.length > 1 ? matches : operators).map(({ id }) => slugs.get(id)!).join(", ");
  return matches.length > 1
    ? `"${name}" is the name of several operators; write one of ${candidates}`
    : `the pipeline has no operator "${name}"; it has ${candidates}`;
}

/** The operator with the parameter's value, or why it cannot have it. */
function withParameter(
  operator: CanonicalOperator,
  name: string,
  value: string,
  specs: readonly OperatorSpec[],
): CanonicalOperator | string {
  const present = operator.parameters ?? [];
  const known = findOperatorSpec(operator.image, specs)?.parameters ?? present;
  const parameter = known.find((candidate) => candidate.name === name);
  if (parameter === undefined) {
    const names =
      known.length === 0 ? "it has none" : `it has ${known.map((entry) => entry.name).join(", ")}`;
    return `"${operator.label}" has no parameter "${name}"; ${names}`;
  }
  try {
    // The value was read as the parameter's own type, which the compiler cannot follow across the union.
    const changed = { ...parameter, default: parseParameterValue(parameter, value) } as typeof parameter;
    const others = present.filter((entry) => entry.name !== name);
    return { ...operator, parameters: [...others, changed] };
  } catch (error) {
    if (error instanceof StemlineError) return error.message;
    throw error;
  }
}
