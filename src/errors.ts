/**
 * Base of every error that stemline raises on purpose. `code` is stable and documented in docs/errors.md;
 * `message` names what was wrong, what was expected and what came.
 */
export class StemlineError extends Error {
  /** Stable identifier, `STEMLINE_...`; see docs/errors.md. */
  readonly code: string;

  constructor(code: string, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = new.target.name;
    this.code = code;
  }
}

/** Bytes of a message do not follow the wire format: header, BatchedFrames, COMPartial, npz. */
export class WireError extends StemlineError {}

/** An operator.json or a run.ts that breaks the operator contract, or the two disagree. */
export class SpecError extends StemlineError {}

/** A parameter's value has the wrong type, is out of range, or its name is unknown. */
export class ParameterError extends StemlineError {}

/** A pipeline JSON that cannot be run; `problems` holds every problem with its place. */
export class PipelineError extends StemlineError {
  readonly problems: readonly Problem[];

  constructor(code: string, message: string, problems: readonly Problem[] = [], options?: ErrorOptions) {
    super(code, message, options);
    this.problems = problems;
  }
}

/** One thing wrong in a document, and where: a path such as `operators[1].parallelism`. */
export interface Problem {
  readonly path: string;
  readonly message: string;
}

/** A data file that is missing, truncated, or not of the expected layout. */
export class FileError extends StemlineError {}

/** The native addon could not be loaded, or a backend that was asked for is not there. */
export class NativeError extends StemlineError {}

/** A command line that cannot be carried out as written. */
export class UsageError extends StemlineError {}

/** The process of a deployed operator cannot start, or something outside of it failed. */
export class HostError extends StemlineError {}

/** What an error says, whatever it is that was thrown. Never throws. */
export function errorText(error: unknown): string {
  try {
    return String(error instanceof Error ? error.message : error);
  } catch {
    return "an error that cannot be shown as text";
  }
}
