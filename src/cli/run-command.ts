import { UsageError } from "../errors.ts";
import { readFastLane } from "../host/config.ts";
import { type RunOptions, type RunSummary, runPipeline } from "../local/runner.ts";
import {
  type CanonicalPipeline,
  findOperatorSpec,
  parallelismLimits,
  parsePipeline,
  requireValidPipeline,
} from "../spec/pipeline.ts";
import { exitCodes } from "./exit-codes.ts";
import { readJsonFile } from "./files.ts";
import { findOperators, loadOperators } from "./installed-operators.ts";
import { createReporter, type Reporter } from "./reporter.ts";
import { applySettings } from "./settings.ts";
import type { Screen } from "./status-line.ts";

export interface RunCommandOptions {
  readonly set: readonly string[];
  readonly out: string;
  readonly operators?: string;
  readonly json?: boolean;
  readonly parallelism?: number;
}

/** The process around a command, as far as it needs one. */
export interface Surroundings {
  readonly stdout: Screen;
  readonly stderr: Screen;
  readonly debug: boolean;
}

/** `stemline run`: reads, checks and runs a pipeline in this process. Returns the exit code. */
export async function runCommand(
  file: string,
  options: RunCommandOptions,
  { stdout, stderr, debug }: Surroundings,
): Promise<number> {
  const reporter = createReporter({ stdout, stderr, debug, json: options.json ?? false });
  const { folders, skipped } = await findOperators(options.operators);
  for (const reason of skipped) reporter.note(`warning: skipped ${reason}`);
  const specs = folders.map(({ spec }) => spec);
  const read = parsePipeline(await readJsonFile(file));
  const pipeline = withParallelism(applySettings(read, options.set, specs), options.parallelism);
  requireValidPipeline(pipeline, specs);
  const used = new Set(pipeline.operators.map(({ image }) => findOperatorSpec(image, specs)));
  const operators = await loadOperators(folders.filter(({ spec }) => used.has(spec)));

  const summary = await runInterruptibly(pipeline, { operators, out: options.out }, reporter);
  const exitCode = exitCodeOf(summary);
  reporter.end(summary, exitCode);
  return exitCode;
}

/** Runs a pipeline that the user may interrupt: what is in flight is finished, or given up at a second signal. */
export async function runInterruptibly(
  pipeline: CanonicalPipeline,
  options: Pick<RunOptions, "operators" | "out">,
  reporter: Reporter,
): Promise<RunSummary> {
  const drain = new AbortController();
  const abort = new AbortController();
  const stop = () => {
    if (drain.signal.aborted) {
      abort.abort();
      return;
    }
    reporter.note("Interrupted: finishing what is in flight. Interrupt again to give up.");
    drain.abort();
  };
  process.on("SIGINT", stop).on("SIGTERM", stop);
  try {
    return await runPipeline(pipeline, {
      ...options,
      fastLane: readFastLane(process.env),
      drain: drain.signal,
      abort: abort.signal,
      observer: reporter,
    });
  } finally {
    process.off("SIGINT", stop).off("SIGTERM", stop);
  }
}

/** A number of replicas on the command line. */
export function parseParallelism(text: string): number {
  const value = Number(text);
  const { min, max } = parallelismLimits;
  if (Number.isInteger(value) && value >= min && value <= max) return value;
  throw new UsageError(
    "STEMLINE_CLI_OPTION",
    `--parallelism: expected an integer from ${min} to ${max}, got ${JSON.stringify(text)}`,
  );
}

function withParallelism(pipeline: CanonicalPipeline, parallelism: number | undefined): CanonicalPipeline {
  if (parallelism === undefined) return pipeline;
  return { ...pipeline, operators: pipeline.operators.map((operator) => ({ ...operator, parallelism })) };
}

/** A run that lost messages has not failed, but a script must not take its results for complete. */
export function exitCodeOf({ outcome, operators }: RunSummary): number {
  if (outcome === "interrupted" || outcome === "aborted") return exitCodes.interrupted;
  const lost = operators.some(({ failures, discarded }) => failures + discarded > 0);
  return outcome === "failed" || lost ? exitCodes.failed : exitCodes.ok;
}
