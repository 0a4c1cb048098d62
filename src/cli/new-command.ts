import { existsSync } from "node:fs";
import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { FileError, StemlineError, UsageError } from "../errors.ts";
import { addBakeTarget } from "../operator/bake-file.ts";
import { reasonOf } from "../operator/file-reason.ts";
import {
  answerDefaults,
  type OperatorAnswers,
  type OperatorDraft,
  readAnswers,
} from "../operator/operator-draft.ts";
import { scaffold } from "../operator/scaffold.ts";
import { formatProblems } from "../spec/problems.ts";

/** Flags of `stemline operator new`. */
export interface NewCommandOptions extends Partial<OperatorAnswers> {
  readonly outputDir: string;
  readonly bake?: boolean;
  readonly yes?: boolean;
}

export interface NewPlan {
  readonly answers: OperatorAnswers;
  /** Whether the target goes into docker-bake.hcl too. */
  readonly bake: boolean;
}

/**
 * `stemline operator new`: makes the folder of an operator from flags and, at a terminal, from answers to questions.
 * Returns what to tell the user, or null if the user gave up; then nothing was written.
 *
 * Throws UsageError, and FileError when a file cannot be written.
 */
export async function newCommand(options: NewCommandOptions, terminal: boolean): Promise<string | null> {
  const { outputDir, bake = false, yes = false, ...given } = options;
  const asks = terminal && !yes;
  if (!asks) requireFlags(given, yes);
  // What was given is looked at before anything is asked.
  requireAnswers({ ...answerDefaults, name: "operator", ...given });
  if (given.name !== undefined && existsSync(join(outputDir, given.name))) {
    throw existsAlready(join(outputDir, given.name));
  }
  let plan: NewPlan | null = { answers: { ...answerDefaults, ...given }, bake };
  if (asks) {
    const { askForPlan } = await import("./new-questions.ts");
    plan = await askForPlan(given, outputDir, bake);
  }
  if (plan === null) return null;
  const draft = requireAnswers(plan.answers);
  const directory = join(outputDir, draft.name);
  await writeOperator(directory, draft, plan.bake ? await bakeEdit(outputDir, draft) : null);
  return nextSteps(directory, draft, plan.bake ? join(outputDir, "docker-bake.hcl") : null);
}

function requireFlags({ name, description, input, output, trigger }: Partial<OperatorAnswers>, yes: boolean) {
  const missing = [
    name === undefined && "--name",
    !yes && description === undefined && "--description",
    !yes && (input ?? output ?? trigger) === undefined && "--input, --output or --trigger",
  ].filter((flag) => flag !== false);
  if (missing.length === 0) return;
  const hint = yes ? "" : "\nWith --yes, what is not given takes its default; only --name is needed.";
  throw new UsageError(
    "STEMLINE_NEW_FLAGS",
    `Nothing can be asked ${yes ? "with --yes" : "without a terminal"}, and flags are missing:${missing.map((flag) => `\n  ${flag}`).join("")}${hint}`,
  );
}

function requireAnswers(answers: OperatorAnswers): OperatorDraft {
  const { draft, problems } = readAnswers(answers);
  if (problems.length === 0) return draft;
  throw new UsageError(
    "STEMLINE_NEW_ANSWERS",
    `The operator cannot be made as described:${formatProblems(problems)}`,
  );
}

function existsAlready(directory: string): UsageError {
  return new UsageError("STEMLINE_NEW_EXISTS", `${directory} exists already; nothing was written`);
}

interface FileEdit {
  readonly path: string;
  readonly text: string;
}

async function bakeEdit(
  outputDir: string,
  { name, baseImage, dependencies }: OperatorDraft,
): Promise<FileEdit> {
  const path = join(outputDir, "docker-bake.hcl");
  const before = await readFile(path, "utf8").catch((cause: unknown) => {
    throw new UsageError("STEMLINE_BAKE_FILE", `Cannot read ${path}: ${reasonOf(cause)}`, { cause });
  });
  const packages = Object.keys(dependencies).length > 0;
  const context = `${basename(resolve(outputDir))}/${name}`;
  try {
    return { path, text: addBakeTarget(before, { name, context, baseImage, packages }) };
  } catch (error) {
    if (!(error instanceof StemlineError)) throw error;
    throw new UsageError(error.code, `${path}: ${error.message}`);
  }
}

/** All files or none. */
async function writeOperator(directory: string, draft: OperatorDraft, bake: FileEdit | null): Promise<void> {
  let path = directory;
  let made = false;
  try {
    await mkdir(join(directory, ".."), { recursive: true });
    await mkdir(directory);
    made = true;
    for (const [name, text] of Object.entries(scaffold(draft))) {
      path = join(directory, name);
      await writeFile(path, text);
    }
    if (bake !== null) {
      path = bake.path;
      await writeFile(path, bake.text);
    }
  } catch (cause) {
    if (made) await rm(directory, { recursive: true, force: true });
    if (!made && (cause as NodeJS.ErrnoException).code === "EEXIST") {
      throw existsAlready(directory);
    }
    throw new FileError("STEMLINE_FILE_WRITE", `Cannot write ${path}: ${reasonOf(cause)}`, { cause });
  }
}

function nextSteps(directory: string, draft: OperatorDraft, bakeFile: string | null): string {
  const { name, spec, dependencies } = draft;
  const packages = Object.keys(dependencies).length > 0;
  const input = (spec.inputs ?? []).length > 0 ? " --input FILE" : "";
  const cache = packages ? ` --build-context npm-cache="$(npm config get cache)"` : "";
  const build =
    bakeFile === null
      ? `podman build --format docker${cache} --tag ${spec.image} ${directory}`
      : `${join(dirname(bakeFile), "bake.sh")} --build-base --push-local --pull-local --target ${name}`;
  const steps = [
    ...(packages ? [["install", `npm install --prefix ${directory}`]] : []),
    ["check", `npx stemline operator check ${directory}`],
    ["run here", `npx stemline operator dev ${directory}${input}`],
    ["build", build],
  ];
  const width = Math.max(...steps.map(([what]) => what!.length));
  return [
    `${directory}: ${Object.keys(scaffold(draft)).join(", ")}.`,
    ...(bakeFile === null ? [] : [`${bakeFile}: target "${name}".`]),
    "Next:",
    ...steps.map(([what, command]) => `  ${what!.padEnd(width)}  ${command}`),
  ].join("\n");
}
