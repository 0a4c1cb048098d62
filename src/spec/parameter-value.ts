import { ParameterError } from "../errors.ts";
import { describeValue, isRecord } from "../wire/json.ts";
import { readUuid } from "../wire/uuid.ts";
import { readBoolean, readFloat, readInteger } from "./lax-scalar.ts";
import { type ParameterType, parameterTypes } from "./operator-spec.ts";
import { expectedGot, oneOfList } from "./problems.ts";

/** A parameter's value as an operator sees it. */
export type ParameterValue = string | number | boolean;

/** What must be known of a parameter to read its values; a `ParameterSpec` is one. */
export interface ParameterKind {
  readonly name: string;
  readonly type: ParameterType;
  readonly options?: readonly string[];
}

/**
 * Reads one value as interactEM does: text that spells a number or boolean is taken, numbers are not taken for text.
 *
 * @throws ParameterError that names the parameter, what was expected and what came.
 */
export function parseParameterValue(parameter: ParameterKind, value: unknown): ParameterValue {
  const result = readValue(parameter, value);
  if (result !== undefined) return result;
  throw new ParameterError(
    "STEMLINE_PARAMETER_VALUE",
    `Parameter "${parameter.name}": ${expectedGot(expectation(parameter), value)}`,
  );
}

function readValue({ type, options }: ParameterKind, value: unknown): ParameterValue | undefined {
  switch (type) {
    case "int":
      return readInteger(value);
    case "float":
      return readFloat(value);
    case "bool":
      return readBoolean(value);
    case "str":
    case "mount":
      return typeof value === "string" ? value : undefined;
    case "str-enum":
      return typeof value === "string" && options?.includes(value) ? value : undefined;
  }
}

function expectation({ type, options = [] }: ParameterKind): string {
  switch (type) {
    case "int":
      return "an integer";
    case "float":
      return "a number";
    case "bool":
      return "a boolean";
    case "str":
      return "a string";
    case "mount":
      return "a path";
    case "str-enum":
      return oneOfList(options);
  }
}

/** What a run.ts declares about one of its parameters. */
export interface DeclaredParameter {
  readonly type: ParameterType;
  readonly default?: ParameterValue;
  readonly optional?: boolean;
  readonly options?: readonly string[];
}

/** A parameter in a pipeline: its specification and, where somebody set one, a value. */
export interface PipelineParameter {
  readonly name: string;
  readonly default: unknown;
  readonly value?: unknown;
}

/**
 * Values that an operator's run sees, one for each declared parameter: the pipeline's value, else the pipeline's
 * default, else the declared default, else undefined where the parameter is optional. Parameters of the pipeline that
 * run.ts does not declare are left out; of several with one name the last counts, as in interactEM.
 *
 * @param mounts For each mount parameter the path where the operator finds it; without an entry it is the path that
 *   the pipeline gives.
 * @throws ParameterError if a value does not fit its declared type, or there is none.
 */
export function resolveParameters(
  declarations: Readonly<Record<string, DeclaredParameter>>,
  parameters: readonly PipelineParameter[],
  mounts: Readonly<Record<string, string>> = {},
): Readonly<Record<string, ParameterValue | undefined>> {
  const given = new Map(parameters.map((parameter) => [parameter.name, parameter]));
  return Object.fromEntries(
    Object.entries(declarations).map(([name, declaration]) => {
      const mount = declaration.type === "mount" ? mounts[name] : undefined;
      const set = given.get(name);
      const value = mount ?? set?.value ?? set?.default ?? declaration.default;
      return [name, resolveValue(name, declaration, value)];
    }),
  );
}

function resolveValue(
  name: string,
  declaration: DeclaredParameter,
  value: unknown,
): ParameterValue | undefined {
  if (value !== undefined) return parseParameterValue({ name, ...declaration }, value);
  if (declaration.optional) return undefined;
  throw new ParameterError(
    "STEMLINE_PARAMETER_MISSING",
    `Parameter "${name}": expected ${expectation({ name, ...declaration })} from the pipeline, got nothing, ` +
      "and run.ts declares no default",
  );
}

/** A parameter's new value, ready for the operator. */
export interface ParameterUpdate {
  readonly name: string;
  readonly value: ParameterValue;
}

/**
 * Reads the body of a parameter update. As in interactEM, `type` and `canonical_operator_id` must be valid but need not
 * match, and mount parameters cannot be updated.
 *
 * @param parameters The parameters of the operator, from its specification.
 * @throws ParameterError if the body is malformed, the name unknown, or the value does not fit.
 */
export function parseParameterUpdate(parameters: readonly ParameterKind[], body: unknown): ParameterUpdate {
  if (!isRecord(body)) throw badUpdate("", "an object", body);
  const { canonical_operator_id: operatorId, name, type, value } = body;
  if (readUuid(operatorId) === undefined) throw badUpdate("canonical_operator_id", "a UUID", operatorId);
  if (typeof name !== "string") throw badUpdate("name", "a string", name);
  if (!parameterTypes.some((known) => known === type))
    throw badUpdate("type", oneOfList(parameterTypes), type);
  const parameter = parameters.findLast((known) => known.name === name && known.type !== "mount");
  if (parameter === undefined) {
    const names = parameters.filter((known) => known.type !== "mount").map((known) => known.name);
    throw new ParameterError(
      "STEMLINE_PARAMETER_UNKNOWN",
      `Parameter ${describeValue(name)}: ${
        names.length === 0 ? "the operator has no parameters to update" : `expected ${oneOfList(names)}`
      }`,
    );
  }
  return { name, value: parseParameterValue(parameter, value) };
}

function badUpdate(member: string, expected: string, value: unknown): ParameterError {
  const where = member === "" ? "" : ` ${member}`;
  return new ParameterError(
    "STEMLINE_PARAMETER_UPDATE",
    `Parameter update${where}: ${expectedGot(expected, value)}`,
  );
}
