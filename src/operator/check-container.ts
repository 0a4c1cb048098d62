import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { basename, dirname, join, posix, resolve, sep } from "node:path";
import { errorText, type Problem } from "../errors.ts";
import type { OperatorSpec } from "../spec/operator-spec.ts";
import { imageName } from "../spec/pipeline.ts";
import { expectedGot, oneOfList } from "../spec/problems.ts";
import { type BakeBlock, bakeParents, lineAt, readBakeFile, taggedName } from "./bake-file.ts";
import {
  copiesOf,
  globPattern,
  type Instruction,
  putsFile,
  readContainerfile,
  stagesOf,
} from "./containerfile.ts";

/**
 * Checks what makes an image of an operator's folder: its Containerfile and, where the folder beside it has one, the
 * docker-bake.hcl. Never throws for what is wrong in the folder; all problems are reported at once.
 *
 * @param spec What operator.json says, or null where it cannot be read.
 */
export async function checkContainer(directory: string, spec: OperatorSpec | null): Promise<Problem[]> {
  const packages = existsSync(join(directory, "package.json"));
  const containerfile = await readFile(join(directory, "Containerfile"), "utf8").catch(() => null);
  const bakeFile = join(dirname(resolve(directory)), "docker-bake.hcl");
  const instructions = containerfile === null ? [] : await readContainerfile(containerfile);
  const problems =
    containerfile === null
      ? [{ path: "Containerfile", message: "there is no such file" }]
      : containerfileProblems(directory, instructions, packages);
  const last = stagesOf(instructions).at(-1);
  const baseImage = last?.baseImage ?? null;
  if (baseImage === "interactem-operator" && (await importsDistiller(directory))) {
    const message =
      "expected FROM distiller-streaming, since run.ts imports stemline/distiller, got interactem-operator";
    problems.push({ path: `Containerfile: line ${last!.from.line}`, message });
  }
  if (!existsSync(bakeFile)) return problems;
  return [...problems, ...(await bakeProblems(bakeFile, { directory, spec, baseImage, packages }))];
}

async function importsDistiller(directory: string): Promise<boolean> {
  const text = await readFile(join(directory, "run.ts"), "utf8").catch(() => "");
  return /^(import|export)\b[^;]*["']stemline\/distiller["']/m.test(text);
}

const keywords = new Set(
  (
    "ADD ARG CMD COPY ENTRYPOINT ENV EXPOSE FROM HEALTHCHECK LABEL MAINTAINER ONBUILD RUN SHELL STOPSIGNAL USER " +
    "VOLUME WORKDIR"
  ).split(" "),
);

function containerfileProblems(
  directory: string,
  instructions: readonly Instruction[],
  packages: boolean,
): Problem[] {
  const problem = (line: number | null, message: string): Problem => ({
    path: line === null ? "Containerfile" : `Containerfile: line ${line}`,
    message,
  });
  const unknown = instructions
    .filter(({ keyword }) => !keywords.has(keyword))
    .map(({ line, keyword }) => problem(line, expectedGot("an instruction such as FROM or COPY", keyword)));
  const first = instructions.find(({ keyword }) => keyword !== "ARG");
  const stages = stagesOf(instructions);
  const last = stages.at(-1);
  if (last === undefined) {
    return [...unknown, problem(null, "expected FROM with a base image, got none")];
  }
  const problems = [...unknown];
  if (first !== undefined && first.keyword !== "FROM" && keywords.has(first.keyword)) {
    problems.push(problem(first.line, expectedGot("FROM as first instruction", first.keyword)));
  }
  for (const { from, baseImage } of stages) {
    if (baseImage === "") problems.push(problem(from.line, "FROM: expected a base image, got nothing"));
  }

  const copies = copiesOf(last.instructions);
  if (!copies.some((copy) => putsFile(copy, "run.ts", "/app/run.ts"))) {
    const attempt = copies.find(({ sources }) => sources.includes("run.ts"));
    const message =
      attempt === undefined
        ? "expected COPY run.ts /app/run.ts in the last stage, got none"
        : `run.ts: ${expectedGot("/app/run.ts as its place in the image", attempt.target)}`;
    problems.push(problem(attempt?.line ?? null, message));
  }
  const all = stages.flatMap((stage) => copiesOf(stage.instructions));
  for (const { sources, line } of all) {
    for (const source of sources.filter((source) => !/[*?[$]|^\w+:\/\/|^<</.test(source))) {
      if (existsSync(join(directory, source))) continue;
      problems.push(problem(line, `copies ${source}, which is not in the folder`));
    }
  }
  if (!packages) return problems;
  const copied = all.some(({ sources }) =>
    sources.some((source) => source === "." || source === "./" || globPattern(source).test("package.json")),
  );
  const installs = instructions.some(({ keyword, words }) => keyword === "RUN" && words.includes("npm"));
  if (!copied) problems.push(problem(null, "expected a COPY of package.json, which stands beside run.ts"));
  else if (!installs)
    problems.push(problem(null, "expected a RUN of npm that installs what package.json names"));
  return problems;
}

interface Built {
  readonly directory: string;
  readonly spec: OperatorSpec | null;
  /** Null where the Containerfile does not say. */
  readonly baseImage: string | null;
  readonly packages: boolean;
}

async function bakeProblems(bakeFile: string, built: Built): Promise<Problem[]> {
  const name = basename(resolve(built.directory));
  try {
    const text = await readFile(bakeFile, "utf8");
    const blocks = readBakeFile(text);
    const group = blocks.find(({ type, label }) => type === "group" && label === "operators");
    const members = group?.attributes.get("targets")?.texts ?? [];
    const listed = members.some(({ value }) => value === name);
    const target = blocks.find(({ type, label }) => type === "target" && label === name);
    return [
      ...(listed ? [] : [{ path: "docker-bake.hcl", message: `group "operators" lacks "${name}"` }]),
      ...(target === undefined
        ? [{ path: "docker-bake.hcl", message: `lacks target "${name}"` }]
        : targetProblems(text, target, built)),
    ];
  } catch (error) {
    return [{ path: "docker-bake.hcl", message: errorText(error) }];
  }
}

function targetProblems(
  text: string,
  target: BakeBlock,
  { directory, spec, baseImage, packages }: Built,
): Problem[] {
  const problems: Problem[] = [];
  const report = (member: string, message: string) => {
    const line = lineAt(text, target.attributes.get(member)?.start ?? target.start);
    problems.push({ path: `docker-bake.hcl: line ${line}`, message: `${member}: ${message}` });
  };
  const texts = (member: string) => target.attributes.get(member)?.texts.map(({ value }) => value) ?? [];

  const folder = resolve(directory);
  const [context] = texts("context");
  // The context is seen from where docker is started, which is a folder above.
  if (context === undefined || !folder.endsWith(`${sep}${posix.join(context).replace(/^\/|\/$/g, "")}`)) {
    const parent = basename(dirname(folder));
    report("context", expectedGot(`this folder as in "${parent}/${basename(folder)}"`, context));
  }

  if (spec !== null) {
    const expected = imageName(spec.image);
    const tags = texts("tags");
    const wrong = tags.find((tag) => taggedName(tag) !== expected);
    if (tags.length === 0 || wrong !== undefined) {
      report("tags", expectedGot(`image name "${expected}" as in operator.json`, wrong));
    }
  }

  if (baseImage !== null) {
    const parents = texts("inherits");
    const needed = bakeParents(baseImage, packages);
    const other = parents.find((parent) => parent.startsWith("on-") && !needed.includes(parent));
    for (const parent of needed.filter((parent) => !parents.includes(parent))) {
      const reason =
        parent === "npm-cache" ? "for package.json" : `for the Containerfile's FROM ${baseImage}`;
      const got = parents.length === 0 ? "nothing" : oneOfList(parents).replace("one of ", "");
      report("inherits", `expected "${parent}" ${reason}, got ${got}`);
    }
    if (other !== undefined && needed.every((parent) => parents.includes(parent))) {
      report("inherits", `expected no "${other}" for the Containerfile's FROM ${baseImage}`);
    }
  }
  return problems;
}
