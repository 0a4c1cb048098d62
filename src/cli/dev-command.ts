import { type ChildProcess, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import { UsageError } from "../errors.ts";
import { chainPipeline } from "../local/chain.ts";
import {
  findRecordedMessages,
  helperPort,
  messageRecorder,
  recordedSource,
} from "../local/recorded-messages.ts";
import type { InstalledOperator } from "../local/runner.ts";
import type { OperatorSpec } from "../spec/operator-spec.ts";
import { exitCodes } from "./exit-codes.ts";
import { packageRoot } from "./files.ts";
import { formatOperatorSummary } from "./format.ts";
import { loadOperatorFolder } from "./installed-operators.ts";
import { createReporter } from "./reporter.ts";
import { exitCodeOf, runInterruptibly, type Surroundings } from "./run-command.ts";
import { applyOperatorSettings } from "./settings.ts";
import { watchSources } from "./source-watch.ts";

export interface DevCommandOptions {
  /** Recorded messages or an .h5 file; left out for an operator without inputs. */
  readonly input?: string;
  readonly set: readonly string[];
  readonly out?: string;
  readonly record?: string;
  readonly once?: boolean;
}

/** `stemline operator dev`: runs one operator on recorded data, once or at every change. Returns the exit code. */
export async function devCommand(
  directory: string,
  options: DevCommandOptions,
  surroundings: Surroundings,
): Promise<number> {
  for (const path of [directory, options.input]) {
    if (path === undefined || existsSync(path)) continue;
    throw new UsageError("STEMLINE_CLI_FILE", `Cannot read ${path}: there is no such file or folder`);
  }
  return options.once
    ? runOnce(directory, options, surroundings)
    : runAtEveryChange(directory, options, surroundings);
}

/**
 * Each run is a process of its own: it loads the code as it is now, and one that hangs can be ended. Resolves when the
 * user interrupts, which is how this ends.
 */
async function runAtEveryChange(
  directory: string,
  { out, record }: DevCommandOptions,
  { stderr }: Surroundings,
): Promise<number> {
  const [script, ...args] = process.argv.slice(1);
  let child: ChildProcess | null = null;
  const run = () => {
    child?.kill("SIGKILL");
    const started = spawn(process.execPath, [...process.execArgv, script!, ...args, "--once"], {
      stdio: ["ignore", "inherit", "inherit"],
    });
    child = started;
    started.on("close", (_code, signal) => {
      if (child !== started) return;
      child = null;
      if (signal !== null) stderr.write(`error: the run was ended by ${signal}\n`);
      stderr.write(`Waiting for a change in ${directory}; Ctrl-C ends.\n`);
    });
  };
  const ignored = [out, record].filter((folder) => folder !== undefined);
  const stopWatching = watchSources(directory, ignored, (file) => {
    stderr.write(`\n${file} changed.\n`);
    run();
  });
  run();
  await new Promise<void>((end) => process.once("SIGINT", end).once("SIGTERM", end));
  stopWatching();
  (child as ChildProcess | null)?.kill("SIGKILL");
  child = null;
  return exitCodes.ok;
}

async function runOnce(
  directory: string,
  { input, set, out, record }: DevCommandOptions,
  { stdout, stderr, debug }: Surroundings,
): Promise<number> {
  const loaded = await loadOperatorFolder(directory);
  const source = await sourceFor(directory, loaded.spec, input);
  const recorder = record === undefined ? [] : [messageRecorder(record)];
  // What comes in at several ports is all the same to `run`. The recorder reads a port of its own, so that those of the
  // operator stay unread and go to the output folder.
  const spec: OperatorSpec = {
    ...loaded.spec,
    inputs: (loaded.spec.inputs ?? []).slice(0, 1),
    outputs: [...recorder.map(() => helperPort), ...(loaded.spec.outputs ?? [])],
  };
  const operators = [...source.operators, { ...loaded, spec }, ...recorder];
  const pipeline = chainPipeline(operators.map((operator) => operator.spec));
  const settings = new Map([
    [pipeline.operators[0]!.id, source.settings],
    [pipeline.operators[source.operators.length]!.id, set],
  ]);
  const reporter = createReporter({
    stdout,
    stderr,
    debug,
    json: false,
    info: true,
    sources: resolve(directory),
    format: (summary) => formatOperatorSummary(summary, source.operators.length, out),
  });
  const summary = await runInterruptibly(
    {
      ...pipeline,
      operators: pipeline.operators.map((operator) =>
        applyOperatorSettings(operator, settings.get(operator.id) ?? []),
      ),
    },
    { operators, ...(out !== undefined && { out }) },
    reporter,
  );
  const exitCode = exitCodeOf(summary);
  reporter.end(summary, exitCode);
  return exitCode;
}

interface Source {
  /** One operator that feeds the first input, or none. */
  readonly operators: readonly InstalledOperator[];
  readonly settings: readonly string[];
}

/** Throws UsageError when operator and input do not go together. */
async function sourceFor(directory: string, spec: OperatorSpec, input: string | undefined): Promise<Source> {
  const takes = (spec.inputs ?? []).length > 0;
  if (takes !== (input !== undefined)) {
    throw new UsageError(
      "STEMLINE_CLI_OPTION",
      takes
        ? `--input: expected recorded messages or an .h5 file for the inputs of ${directory}, got nothing`
        : `--input: expected nothing, since ${directory} has no inputs, got ${JSON.stringify(input)}`,
    );
  }
  if (input === undefined) return { operators: [], settings: [] };
  if (!/\.(h5|hdf5)$/i.test(input)) {
    return { operators: [recordedSource(findRecordedMessages(input))], settings: [] };
  }
  const reader = await loadOperatorFolder(join(packageRoot, "operators/distiller-counted-data-reader"));
  const path = resolve(input);
  return { operators: [reader], settings: [`raw_data_dir=${dirname(path)}`, `filename=${basename(path)}`] };
}
