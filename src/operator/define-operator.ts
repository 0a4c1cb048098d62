import type { BytesMessage } from "../wire/message.ts";
import type { ParameterDeclarations, ParameterValues } from "./parameters.ts";

/** Structured log: fields first, then text. */
export interface Logger {
  debug(fields: object, text: string): void;
  info(fields: object, text: string): void;
  warn(fields: object, text: string): void;
  error(fields: object, text: string): void;
}

/** Rows of a table for people, each with the same members. */
export type TableRows = readonly Readonly<Record<string, unknown>>[];

/** What every hook of an operator gets. */
export interface OperatorContext<P extends ParameterDeclarations> {
  /** Current values, typed from the declarations; read-only, refreshed before each call. */
  readonly parameters: ParameterValues<P>;
  readonly log: Logger;
  /** Aborted when the process gives up on unfinished work. */
  readonly signal: AbortSignal;
  /**
   * Shows a picture, PNG or JPEG, in place of the one before: in a deployed pipeline through interactEM's display, in a
   * local run as a file. Resolves when it is there, or was left out because NATS cannot take it now; rejects with HostError
   * for one that is larger than NATS takes, and with FileError.
   */
  publishImage(image: Uint8Array): Promise<void>;
  /** Shows tables by name in place of those before, like `publishImage`. */
  publishTable(tables: Readonly<Record<string, TableRows>>): Promise<void>;
  /**
   * Whether every reader of every output port accepts messages of this format: only then may they be sent, and otherwise
   * those that every reader takes. False in doubt, and at first. Ask for each message: readers come and go.
   */
  readersAccept(format: string): boolean;
}

/** Work to add to the figures shown for an operator. */
export interface WorkCount {
  /** Frames this call took in or, in a source, gave out. */
  readonly frames?: number;
  /** Frames left out because they could not be used. */
  readonly droppedFrames?: number;
  /** Frames a source is going to send: the total that progress is measured against. */
  readonly expectedFrames?: number;
}

/** What `run` hands to every output port: one message, several in order, or none. */
export type RunResult = BytesMessage | Iterable<BytesMessage> | AsyncIterable<BytesMessage> | null;

export interface RunContext<P extends ParameterDeclarations, S> extends OperatorContext<P> {
  /** Adds to this operator's figures. */
  count(work: WorkCount): void;
  /** What `setup` returned: one per replica. */
  readonly state: S;
  /** Name of the trigger that caused this call, or null for a call with a message. */
  readonly trigger: string | null;
}

/**
 * What an operator is made of. The hooks are methods, whose parameters TypeScript compares loosely, so that every
 * operator is also an `Operator` without type arguments: the form in which hosts and tests hold it.
 */
export interface OperatorDefinition<P extends ParameterDeclarations, S> {
  /** Port names as in operator.json, in order; both default to none. */
  readonly inputs?: readonly string[];
  readonly outputs?: readonly string[];
  /** Formats of messages that an input port takes besides the usual one, by its name and as in operator.json. */
  readonly accepts?: Readonly<Record<string, readonly string[]>>;
  readonly triggers?: readonly string[];
  readonly parameters?: P;
  /** Called once per replica before the first `run`; its result is `state`. */
  setup?(context: OperatorContext<P>): S | Promise<S>;
  /**
   * Called for each input message (`trigger` null), for each trigger (`message` null), and, in an operator with neither
   * inputs nor triggers, again and again until it returns null. Returns what goes to every output port, or null for none.
   * Calls of one replica do not overlap unless operator.json says `parallel_config: embarrassing`.
   */
  run(message: BytesMessage | null, context: RunContext<P, S>): RunResult | Promise<RunResult>;
  /**
   * Called once after the last message of a finite run, before `teardown`; yields what is still to be sent.
   */
  flush?(context: RunContext<P, S>): AsyncIterable<BytesMessage> | Iterable<BytesMessage>;
  teardown?(context: OperatorContext<P> & { readonly state: S }): void | Promise<void>;
}

const brand = Symbol.for("stemline.operator");

/** An operator as `defineOperator` returns it; a run.ts exports one as default. */
export type Operator<
  P extends ParameterDeclarations = ParameterDeclarations,
  S = unknown,
> = OperatorDefinition<P, S> & {
  readonly [brand]: true;
};

/** Declares an operator. Types of `parameters` and `state` follow from the declaration. */
export function defineOperator<const P extends ParameterDeclarations = Record<never, never>, S = undefined>(
  definition: OperatorDefinition<P, S>,
): Operator<P, S> {
  return Object.freeze({ ...definition, [brand]: true as const });
}

/** Formats that an input port of the operator takes besides the usual one. */
export function acceptedFormats({ accepts = {} }: Operator, port: string): readonly string[] {
  return Object.hasOwn(accepts, port) ? accepts[port]! : [];
}

/** True for a value made by `defineOperator`, also by another copy of this package. */
export function isOperator(value: unknown): value is Operator {
  return typeof value === "object" && value !== null && brand in value;
}
