import { CommanderError } from "commander";
import { errorText, ParameterError, PipelineError, SpecError, StemlineError, UsageError } from "../errors.ts";
import { exitCodes } from "./exit-codes.ts";
import type { Screen } from "./status-line.ts";

/** Prints an error for a person and returns the exit code it means. Stacks are shown only for debugging. */
export function reportError(error: unknown, stderr: Pick<Screen, "write">, debug: boolean): number {
  if (error instanceof CommanderError) {
    // Commander has printed its message, or the help that was asked for.
    return error.exitCode === 0 ? exitCodes.ok : exitCodes.usage;
  }
  if (error instanceof StemlineError) {
    stderr.write(`error: ${error.message}\n`);
    if (debug) stderr.write(`${error.stack}\n`);
    return isUsage(error) ? exitCodes.usage : exitCodes.failed;
  }
  const message = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
  stderr.write(`error: unexpected ${message}\n`);
  if (!debug) stderr.write("Set STEMLINE_DEBUG=1 to see where it comes from.\n");
  else if (error instanceof Error) stderr.write(`${error.stack}\n`);
  return exitCodes.failed;
}

/** The error as one JSON event. */
export function errorEvent(error: unknown): string {
  const message = errorText(error);
  const code = error instanceof StemlineError ? error.code : null;
  const problems = error instanceof PipelineError ? error.problems : [];
  return JSON.stringify({ event: "error", code, message, problems });
}

function isUsage(error: StemlineError): boolean {
  return [UsageError, PipelineError, ParameterError, SpecError].some((kind) => error instanceof kind);
}
