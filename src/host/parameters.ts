import { join } from "node:path";
import { ParameterError } from "../errors.ts";
import type { Operator } from "../operator/define-operator.ts";
import type { RuntimeOperator } from "../spec/expand-pipeline.ts";
import {
  type ParameterKind,
  type ParameterValue,
  parseParameterUpdate,
  parseParameterValue,
  resolveParameters,
} from "../spec/parameter-value.ts";
import { parseJsonBytes } from "../wire/json.ts";

/** Values by name; undefined where an optional parameter has none. */
export type ParameterSnapshot = Readonly<Record<string, ParameterValue | undefined>>;

/**
 * Parameters of a deployed operator: those that its run.ts declares, as `run` sees them, and those that its pipeline has,
 * as others are told of them.
 */
export class HostParameters {
  readonly #operator: RuntimeOperator;
  readonly #declarations: NonNullable<Operator["parameters"]>;
  readonly #kinds: readonly ParameterKind[];
  readonly #published: Map<string, ParameterValue>;
  #current: ParameterSnapshot;

  /**
   * @param mountFolder Folder in which the agent mounts what mount parameters name.
   * @throws ParameterError if a value of the pipeline does not fit, or one that run.ts needs is missing.
   */
  constructor(operator: RuntimeOperator, { parameters = {} }: Operator, mountFolder: string) {
    const given = operator.parameters ?? [];
    this.#operator = operator;
    this.#declarations = parameters;
    this.#kinds = given;
    const mounts = given.filter(({ type }) => type === "mount");
    this.#current = resolveParameters(
      parameters,
      given,
      Object.fromEntries(mounts.map(({ name }) => [name, join(mountFolder, name)])),
    );
    this.#published = new Map(
      given
        .filter(({ type }) => type !== "mount")
        .map((parameter) => [
          parameter.name,
          parseParameterValue(parameter, parameter.value ?? parameter.default),
        ]),
    );
  }

  /** What `run` sees now. */
  get current(): ParameterSnapshot {
    return this.#current;
  }

  /** Names of the parameters that others may change. */
  get names(): readonly string[] {
    return [...this.#published.keys()];
  }

  /** The message that tells others the value of a parameter. */
  acknowledgement(name: string): string {
    const type = this.#kinds.findLast((kind) => kind.name === name)?.type;
    const value = this.#published.get(name);
    return JSON.stringify({ canonical_operator_id: this.#operator.canonical_id, name, type, value });
  }

  /**
   * Takes an update over and returns the name of its parameter.
   *
   * @throws ParameterError if the update is malformed, its name unknown, or its value does not fit; nothing changes then.
   */
  update(body: Uint8Array): string {
    const { name, value } = parseParameterUpdate(this.#kinds, parseJson(body));
    const declaration = Object.hasOwn(this.#declarations, name) ? this.#declarations[name] : undefined;
    if (declaration !== undefined) {
      const seen = parseParameterValue({ name, ...declaration }, value);
      this.#current = Object.freeze({ ...this.#current, [name]: seen });
    }
    this.#published.set(name, value);
    return name;
  }
}

function parseJson(body: Uint8Array): unknown {
  try {
    return parseJsonBytes(body);
  } catch (cause) {
    throw new ParameterError("STEMLINE_PARAMETER_UPDATE", "Parameter update: expected JSON text in UTF-8", {
      cause,
    });
  }
}
