/**
 * Parameter declarations of a run.ts: one builder call for each parameter, named as in operator.json.
 *
 * The value an operator sees is the one that the pipeline holds. Where a pipeline leaves the parameter out, it is
 * `default`, or undefined with `optional: true`, or else the operator does not start.
 */
export interface ParameterDeclaration<T> {
  readonly type: "str" | "int" | "float" | "bool" | "mount" | "str-enum";
  /** Must equal the default in operator.json, which `stemline operator check` verifies. */
  readonly default?: T;
  readonly optional?: boolean;
  /** The choices of a `str-enum`, in the order of operator.json. */
  readonly options?: readonly string[];
}

export type ParameterDeclarations = Readonly<Record<string, ParameterDeclaration<unknown>>>;

/** `{ crop: integer(), shape: oneOf(["box", "disk"]) }` gives `{ crop: number; shape: "box" | "disk" }`. */
export type ParameterValues<P extends ParameterDeclarations> = {
  readonly [K in keyof P]: P[K] extends ParameterDeclaration<infer T> ? T : never;
};
