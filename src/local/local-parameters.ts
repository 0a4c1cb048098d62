import { existsSync } from "node:fs";
import { homedir } from "node:os";
import { join, resolve } from "node:path";
import { PipelineError, type Problem, StemlineError } from "../errors.ts";
import type { Operator } from "../operator/define-operator.ts";
import { type ParameterValue, resolveParameters } from "../spec/parameter-value.ts";
import type { CanonicalPipeline } from "../spec/pipeline.ts";
import { formatProblems } from "../spec/problems.ts";

export type LocalParameters = Readonly<Record<string, ParameterValue | undefined>>;

/**
 * Values that each operator of a pipeline sees in this process, by canonical operator id. A mount is a folder of this
 * machine: `~` is the user's home, a relative path starts at the working directory.
 *
 * @throws PipelineError `STEMLINE_PIPELINE_PARAMETERS` with every value that does not fit and every mount not there.
 */
export function localParameters(
  pipeline: CanonicalPipeline,
  operators: ReadonlyMap<string, Operator>,
): ReadonlyMap<string, LocalParameters> {
  const problems: Problem[] = [];
  const values = new Map<string, LocalParameters>();
  pipeline.operators.forEach(({ id, label, parameters }, index) => {
    const declarations = operators.get(id)!.parameters ?? {};
    const place = `operators[${index}].parameters`;
    try {
      const resolved = { ...resolveParameters(declarations, parameters ?? []) };
      for (const [name, { type }] of Object.entries(declarations)) {
        const value = resolved[name];
        if (type !== "mount" || typeof value !== "string") continue;
        const path = hostPath(value);
        resolved[name] = path;
        if (existsSync(path)) continue;
        problems.push({ path: `${place}.${name}`, message: `"${label}": ${path} does not exist` });
      }
      values.set(id, Object.freeze(resolved));
    } catch (error) {
      if (!(error instanceof StemlineError)) throw error;
      problems.push({ path: place, message: `"${label}": ${error.message}` });
    }
  });
  if (problems.length === 0) return values;
  throw new PipelineError(
    "STEMLINE_PIPELINE_PARAMETERS",
    `The pipeline cannot run with these parameters:${formatProblems(problems)}`,
    problems,
  );
}

function hostPath(path: string): string {
  return resolve(path === "~" || path.startsWith("~/") ? join(homedir(), path.slice(1)) : path);
}
