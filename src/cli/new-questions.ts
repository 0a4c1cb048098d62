import { existsSync } from "node:fs";
import { join } from "node:path";
import { type CANCEL_SYMBOL, confirm, intro, isCancel, note, outro, select, text } from "@clack/prompts";
import { answerDefaults, type OperatorAnswers, readAnswers } from "../operator/operator-draft.ts";
import { type ParameterType, parameterTypes } from "../spec/operator-spec.ts";
import type { NewPlan } from "./new-command.ts";

/** Thrown where the user gives up. */
class GivenUp extends Error {}

/** Asks at the terminal for all that is not given; null if the user gives up. */
export async function askForPlan(
  given: Partial<OperatorAnswers>,
  outputDir: string,
  bake: boolean,
): Promise<NewPlan | null> {
  intro("A new operator");
  try {
    const answers = await askForAnswers(given, outputDir);
    const asksForBake = !bake && existsSync(join(outputDir, "docker-bake.hcl"));
    const plan = { answers, bake: bake || (asksForBake && (await agree("Add it to docker-bake.hcl?"))) };
    note(summaryOf(answers), join(outputDir, answers.name));
    if (!(await agree("Write these files?"))) throw new GivenUp();
    outro("Written.");
    return plan;
  } catch (error) {
    if (!(error instanceof GivenUp)) throw error;
    outro("Given up; nothing was written.");
    return null;
  }
}

async function askForAnswers(given: Partial<OperatorAnswers>, outputDir: string): Promise<OperatorAnswers> {
  let answers: OperatorAnswers = { ...answerDefaults, name: "operator", ...given };
  /** What is wrong with an answer beside those so far. */
  const faultOf = (flag: string, change: Partial<OperatorAnswers>): string | undefined => {
    const { problems } = readAnswers({ ...answers, ...change });
    return problems.find(({ path }) => path.startsWith(`--${flag}`))?.message;
  };
  const keep = <K extends keyof OperatorAnswers>(key: K, answer: OperatorAnswers[K]) => {
    answers = { ...answers, [key]: answer };
  };
  const askText = async (key: TextKey, flag: string, message: string, byDefault: string) => {
    if (given[key] !== undefined) return;
    const validate = (answer = "") => faultOf(flag, { [key]: answer || byDefault });
    keep(key, await ask(text({ message, placeholder: byDefault, defaultValue: byDefault, validate })));
  };
  const askList = async (key: ListKey, message: string, example: string) => {
    while (given[key] === undefined) {
      const validate = (answer = "") =>
        answer === "" ? undefined : faultOf(key, { [key]: [...answers[key], answer] });
      const placeholder = `${example}; empty: no more`;
      const answer = await ask(text({ message, placeholder, defaultValue: "", validate }));
      if (answer === "") return;
      keep(key, [...answers[key], answer]);
    }
  };

  if (given.name === undefined) {
    const validate = (name = "") =>
      faultOf("name", { name }) ??
      (existsSync(join(outputDir, name)) ? `${join(outputDir, name)} exists already` : undefined);
    keep("name", await ask(text({ message: "Name", placeholder: "in kebab-case", validate })));
  }
  await askText("label", "label", "Label, for people", readAnswers(answers).draft.spec.label);
  await askText("description", "description", "Description", "");
  await askText("registry", "registry", "Registry of images", answerDefaults.registry);
  if (given.baseImage === undefined) {
    const options = [
      { value: "interactem-operator", hint: "the operator host" },
      { value: "distiller-streaming", hint: "and the kernels of stemline/distiller" },
      { value: "", label: "another" },
    ];
    const image = await ask(select({ message: "Base image", options }));
    if (image === "") await askText("baseImage", "base-image", "Which", "");
    else keep("baseImage", image);
  }
  if (given.parallel === undefined) {
    const options = [
      { value: "none", hint: "one replica" },
      { value: "embarrassing", hint: "replicas share the messages" },
    ];
    keep("parallel", await ask(select({ message: "Parallel", options })));
  }
  await askList("input", "Input port", "name:type as in frames:BatchedFrames");
  await askList("output", "Output port", "name:type as in image:image");
  await askList("trigger", "Trigger", "name, or name:drain to run until there is nothing left");
  while (given.parameter === undefined) {
    const parameter = await askForParameter((text) =>
      faultOf("parameter", { parameter: [...answers.parameter, text] }),
    );
    if (parameter === null) break;
    keep("parameter", [...answers.parameter, parameter]);
  }
  await askList("tag", "Tag", "value or value:description");
  await askList("dependency", "npm package", "package or package@range");
  return answers;
}

type TextKey = "label" | "description" | "registry" | "baseImage";
type ListKey = "input" | "output" | "trigger" | "tag" | "dependency";

const defaultExamples: Readonly<Record<ParameterType, string>> = {
  str: "",
  int: "1",
  float: "1.0",
  bool: "false",
  mount: "~/data",
  "str-enum": "first|second",
};

/** A parameter in the form of its flag, or null for none. */
async function askForParameter(faultOf: (text: string) => string | undefined): Promise<string | null> {
  const name = await ask(
    text({
      message: "Parameter",
      placeholder: "name; empty: no more",
      defaultValue: "",
      validate: (name = "") => (name === "" ? undefined : faultOf(`${name}:str:`)),
    }),
  );
  if (name === "") return null;
  const options = parameterTypes.map((value) => ({ value }));
  const type = await ask(select<ParameterType>({ message: `Type of ${name}`, options }));
  const byDefault = defaultExamples[type];
  const value = await ask(
    text({
      message: type === "str-enum" ? `Choices of ${name}, the default first` : `Default of ${name}`,
      placeholder: byDefault,
      defaultValue: byDefault,
      validate: (answer = "") => faultOf(`${name}:${type}:${answer || byDefault}`),
    }),
  );
  return `${name}:${type}:${value}`;
}

function summaryOf(answers: OperatorAnswers): string {
  const rows = Object.entries(answers).filter(([, answer]) => answer.length > 0);
  return rows
    .map(([key, answer]) => `${key}: ${Array.isArray(answer) ? answer.join(", ") : answer}`)
    .join("\n");
}

async function agree(message: string): Promise<boolean> {
  return ask(confirm({ message }));
}

async function ask<T>(question: Promise<T | typeof CANCEL_SYMBOL>): Promise<T> {
  const answer = await question;
  if (isCancel(answer)) throw new GivenUp();
  return answer;
}
