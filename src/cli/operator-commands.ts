import { join } from "node:path";
import { type Problem, SpecError } from "../errors.ts";
import { checkOperator } from "../operator/check.ts";
import { readOperatorSpec } from "../spec/operator-spec.ts";
import { formatProblems } from "../spec/problems.ts";
import { readJsonFile } from "./files.ts";

/** `stemline operator validate`: reads operator.json alone. Throws SpecError with every problem of every folder. */
export async function validateOperators(directories: readonly string[]): Promise<string> {
  return reportFolders(directories, async (directory) => {
    const { problems } = readOperatorSpec(await readJsonFile(join(directory, "operator.json")));
    return problems;
  });
}

/** `stemline operator check`: operator.json, run.ts, and whether they agree. Throws like `validateOperators`. */
export async function checkOperators(directories: readonly string[]): Promise<string> {
  return reportFolders(directories, async (directory) => (await checkOperator(directory)).problems);
}

async function reportFolders(
  directories: readonly string[],
  findProblems: (directory: string) => Promise<readonly Problem[]>,
): Promise<string> {
  const results: { directory: string; problems: readonly Problem[] }[] = [];
  for (const directory of directories) results.push({ directory, problems: await findProblems(directory) });
  const broken = results.filter(({ problems }) => problems.length > 0);
  if (broken.length > 0) {
    const list = broken.map(({ directory, problems }) => `${directory}:${formatProblems(problems)}`);
    throw new SpecError("STEMLINE_OPERATOR_CHECK", list.join("\n"));
  }
  return results.map(({ directory }) => `${directory} is valid.`).join("\n");
}
