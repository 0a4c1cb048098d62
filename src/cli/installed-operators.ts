import { existsSync } from "node:fs";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { SpecError, UsageError } from "../errors.ts";
import type { InstalledOperator } from "../local/runner.ts";
import { checkOperator, checkSpecFile } from "../operator/check.ts";
import { reasonOf } from "../operator/file-reason.ts";
import type { OperatorSpec } from "../spec/operator-spec.ts";
import { formatProblems } from "../spec/problems.ts";
import { packageRoot } from "./files.ts";

/** A folder with an operator.json that could be read; its run.ts has not been looked at. */
export interface OperatorFolder {
  readonly directory: string;
  readonly spec: OperatorSpec;
}

export interface FoundOperators {
  readonly folders: readonly OperatorFolder[];
  /** Folders whose operator.json is broken, and why. */
  readonly skipped: readonly string[];
}

/**
 * The operators of `directory`, which is a folder of operator folders or one operator's own, before those that come
 * with the package.
 *
 * @throws UsageError `STEMLINE_CLI_OPERATORS` when `directory` cannot be read.
 */
export async function findOperators(directory: string | undefined): Promise<FoundOperators> {
  const roots = [directory, join(packageRoot, "operators")].filter((root) => root !== undefined);
  const candidates = (await Promise.all(roots.map(operatorFolders))).flat();
  const folders: OperatorFolder[] = [];
  const skipped: string[] = [];
  for (const candidate of candidates) {
    const result = await readSpec(candidate);
    if (typeof result === "string") skipped.push(result);
    else folders.push({ directory: candidate, spec: result });
  }
  return { folders, skipped };
}

async function operatorFolders(root: string): Promise<string[]> {
  if (existsSync(join(root, "operator.json"))) return [root];
  const entries = await readdir(root, { withFileTypes: true }).catch((cause: unknown) => {
    throw new UsageError("STEMLINE_CLI_OPERATORS", `Cannot read operators from ${root}: ${reasonOf(cause)}`, {
      cause,
    });
  });
  return entries
    .map(({ name }) => join(root, name))
    .filter((folder) => existsSync(join(folder, "operator.json")))
    .sort();
}

async function readSpec(directory: string): Promise<OperatorSpec | string> {
  const file = join(directory, "operator.json");
  const { spec, problems } = await checkSpecFile(file);
  return spec ?? `${file} is not valid:${formatProblems(problems)}`;
}

/**
 * Loads the operator of one folder.
 *
 * @throws SpecError `STEMLINE_OPERATOR_CHECK` with every problem.
 */
export async function loadOperatorFolder(directory: string): Promise<InstalledOperator> {
  const { spec, operator, problems } = await checkOperator(directory);
  if (problems.length === 0) return { spec: spec!, operator: operator! };
  throw new SpecError("STEMLINE_OPERATOR_CHECK", `${directory}:${formatProblems(problems)}`);
}

/**
 * Loads the run.ts of each folder and checks it against its operator.json.
 *
 * @throws SpecError `STEMLINE_OPERATOR_CHECK` with every problem of every folder.
 */
export async function loadOperators(folders: readonly OperatorFolder[]): Promise<InstalledOperator[]> {
  const checks = await Promise.all(
    folders.map(async (folder) => ({ ...folder, ...(await checkOperator(folder.directory)) })),
  );
  const broken = checks.filter(({ problems }) => problems.length > 0);
  if (broken.length > 0) {
    const list = broken.map(({ directory, problems }) => `${directory}:${formatProblems(problems)}`);
    throw new SpecError("STEMLINE_OPERATOR_CHECK", `Operators cannot be used:\n${list.join("\n")}`);
  }
  return checks.map(({ operator }, index) => ({ spec: folders[index]!.spec, operator: operator! }));
}
