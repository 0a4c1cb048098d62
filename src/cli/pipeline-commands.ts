import { expandPipeline, parsePipeline, requireValidPipeline } from "../spec/pipeline.ts";
import { readJsonFile } from "./files.ts";
import { plural } from "./format.ts";
import { findOperators } from "./installed-operators.ts";

/** `stemline pipeline validate`: throws PipelineError with every problem, else says what is there. */
export async function validateCommand(file: string, operatorsDirectory: string | undefined): Promise<string> {
  const pipeline = parsePipeline(await readJsonFile(file));
  const { folders } = await findOperators(operatorsDirectory);
  requireValidPipeline(
    pipeline,
    folders.map(({ spec }) => spec),
  );
  return `${file} is valid: ${plural(pipeline.operators.length, "operator")}, ${plural(pipeline.edges.length, "edge")}.`;
}

/** `stemline pipeline expand`: the runtime pipeline as JSON. */
export async function expandCommand(file: string, defaultParallelism: number | undefined): Promise<string> {
  const pipeline = parsePipeline(await readJsonFile(file));
  const runtime = expandPipeline(pipeline, defaultParallelism === undefined ? {} : { defaultParallelism });
  return JSON.stringify(runtime, null, 2);
}
