import { stat } from "node:fs/promises";
import { join } from "node:path";
import { type Problem, SpecError } from "../errors.ts";
import { checkOperator, checkSpecFile } from "../operator/check.ts";
import { checkContainer } from "../operator/check-container.ts";
import { formatProblems } from "../spec/problems.ts";

/**
 * `stemline operator validate`: reads operator.json alone, of folders or by its path. Throws SpecError with every problem
 * of every file.
 */
export async function validateOperators(paths: readonly string[]): Promise<string> {
  return reportEach(paths, async (path) => {
    const isFolder = (await stat(path).catch(() => null))?.isDirectory() ?? false;
    return (await checkSpecFile(isFolder ? join(path, "operator.json") : path)).problems;
  });
}

/**
 * `stemline operator check`: operator.json, run.ts and whether they agree, and what makes an image of them. Throws like
 * `validateOperators`.
 */
export async function checkOperators(directories: readonly string[]): Promise<string> {
  return reportEach(directories, async (directory) => {
    const entry = await stat(directory).catch(() => null);
    if (entry === null) return [{ path: "", message: "there is no such folder" }];
    if (!entry.isDirectory())
      return [{ path: "", message: "expected the folder of an operator, got a file" }];
    const { spec, problems } = await checkOperator(directory);
    return [...problems, ...(await checkContainer(directory, spec))];
  });
}

async function reportEach(
  paths: readonly string[],
  findProblems: (path: string) => Promise<readonly Problem[]>,
): Promise<string> {
  const results: { path: string; problems: readonly Problem[] }[] = [];
  for (const path of paths) results.push({ path, problems: await findProblems(path) });
  const broken = results.filter(({ problems }) => problems.length > 0);
  if (broken.length > 0) {
    const list = broken.map(({ path, problems }) => `${path}:${formatProblems(problems)}`);
    throw new SpecError("STEMLINE_OPERATOR_CHECK", list.join("\n"));
  }
  return results.map(({ path }) => `${path} is valid.`).join("\n");
}
