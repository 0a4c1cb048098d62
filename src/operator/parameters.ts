import type { DeclaredParameter } from "../spec/parameter-value.ts";

interface ValueTypes {
  readonly str: string;
  readonly mount: string;
  readonly int: number;
  readonly float: number;
  readonly bool: boolean;
  readonly "str-enum": string;
}

/**
 * Parameter declarations of a run.ts: one builder call for each parameter, named as in operator.json.
 *
 * The value an operator sees is the one that the pipeline holds. Where a pipeline leaves the parameter out, it is
 * `default`, or undefined with `optional: true`, or else the operator does not start.
 */
export interface ParameterDeclaration<
  Type extends keyof ValueTypes = keyof ValueTypes,
  Optional extends boolean = boolean,
> extends DeclaredParameter {
  readonly type: Type;
  /** Must equal the default in operator.json, which `stemline operator check` verifies. */
  readonly default?: ValueTypes[Type];
  readonly optional?: Optional;
}

/** Declaration of a parameter with a closed list of choices, `str-enum` in operator.json. */
export interface ChoiceDeclaration<Choice extends string, Optional extends boolean>
  extends ParameterDeclaration<"str-enum", Optional> {
  readonly default?: Choice;
  /** In the order of operator.json. */
  readonly options: readonly Choice[];
}

export type ParameterDeclarations = Readonly<Record<string, ParameterDeclaration>>;

/** `{ crop: integer(), shape: oneOf(["box", "disk"]) }` gives `{ crop: number; shape: "box" | "disk" }`. */
export type ParameterValues<P extends ParameterDeclarations> = {
  readonly [K in keyof P]: ValueOf<P[K]> | (true extends P[K]["optional"] ? undefined : never);
};

type ValueOf<D extends ParameterDeclaration> = D extends { readonly options: readonly (infer Choice)[] }
  ? Choice
  : ValueTypes[D["type"]];

interface OptionalSettings {
  readonly optional: true;
}

interface Settings<Value> {
  readonly default?: Value;
}

function builder<const Type extends Exclude<keyof ValueTypes, "str-enum">>(type: Type) {
  function declare(settings: OptionalSettings): ParameterDeclaration<Type, true>;
  function declare(settings?: Settings<ValueTypes[Type]>): ParameterDeclaration<Type, false>;
  function declare(
    settings?: OptionalSettings | Settings<ValueTypes[Type]>,
  ): ParameterDeclaration<Type, boolean> {
    return { type, ...settings };
  }
  return declare;
}

/** Declares an `int`: a whole number. */
export const integer = builder("int");

/** Declares a `float`: a number, also NaN and infinite ones. */
export const float = builder("float");

/** Declares a `str`. */
export const string = builder("str");

/** Declares a `bool`. */
export const boolean = builder("bool");

/** Declares a `mount`: a file or folder outside the container; the value is the path where the operator finds it. */
export const mount = builder("mount");

/** Declares a `str-enum`: one of the given choices. */
export function oneOf<const Choice extends string>(
  options: readonly Choice[],
  settings: OptionalSettings,
): ChoiceDeclaration<Choice, true>;
export function oneOf<const Choice extends string>(
  options: readonly Choice[],
  settings?: Settings<NoInfer<Choice>>,
): ChoiceDeclaration<Choice, false>;
export function oneOf<const Choice extends string>(
  options: readonly Choice[],
  settings?: OptionalSettings | Settings<NoInfer<Choice>>,
): ChoiceDeclaration<Choice, boolean> {
  return { type: "str-enum", options, ...settings };
}
