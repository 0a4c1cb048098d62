import { randomUUID } from "node:crypto";
import type { Problem } from "../errors.ts";
import type { OperatorSpec, ParameterSpec, ParameterType } from "../spec/operator-spec.ts";
import { duplicateNames, parameterTypes } from "../spec/operator-spec.ts";
import { parseParameterValue } from "../spec/parameter-value.ts";
import { expectedGot, oneOfList } from "../spec/problems.ts";

/** What somebody says about an operator to be made, each answer in the text form of its flag. */
export interface OperatorAnswers {
  readonly name: string;
  /** Empty for one made of the name. */
  readonly label: string;
  readonly description: string;
  readonly registry: string;
  readonly baseImage: string;
  readonly parallel: string;
  /** `name:type` */
  readonly input: readonly string[];
  readonly output: readonly string[];
  /** `name:type:default`, `name:str-enum:first|second`; the first choice is the default. */
  readonly parameter: readonly string[];
  /** `name` or `name:drain` */
  readonly trigger: readonly string[];
  /** `value` or `value:description` */
  readonly tag: readonly string[];
  /** `package` or `package@range` */
  readonly dependency: readonly string[];
}

export interface OperatorDraft {
  /** Of the folder and of the image. */
  readonly name: string;
  readonly baseImage: string;
  readonly spec: OperatorSpec;
  /** Ranges of npm packages by name. */
  readonly dependencies: Readonly<Record<string, string>>;
}

export const answerDefaults: OperatorAnswers = {
  name: "",
  label: "",
  description: "",
  registry: "ghcr.io/nersc/interactem",
  baseImage: "interactem-operator",
  parallel: "none",
  input: [],
  output: [],
  parameter: [],
  trigger: [],
  tag: [],
  dependency: [],
};

const parallelTypes = ["none", "embarrassing"] as const;
const triggerModes = ["single", "drain"] as const;

/** Reads answers; each problem's path is the flag with the answer, as in `--input in`. */
export function readAnswers(answers: OperatorAnswers): {
  readonly draft: OperatorDraft;
  readonly problems: readonly Problem[];
} {
  const problems: Problem[] = [];
  const check = (flag: string, answer: string, fits: boolean, expected: string) => {
    if (!fits) problems.push({ path: `--${flag}`, message: expectedGot(expected, answer) });
  };
  const readEach = <T>(flag: string, texts: readonly string[], read: (text: string) => T | string): T[] =>
    texts.flatMap((text) => {
      const result = isLine(text) ? read(text) : "expected text without line breaks";
      if (typeof result !== "string") return [result];
      problems.push({ path: `--${flag} ${text}`, message: result });
      return [];
    });

  const { name, label, description, registry, baseImage, parallel } = answers;
  check("name", name, /^[a-z][a-z0-9]*(-[a-z0-9]+)*$/.test(name), "kebab-case as in center-of-mass");
  check("label", label, isLine(label), "text without line breaks");
  check("description", description, isLine(description), "text without line breaks");
  check(
    "registry",
    registry,
    /^[a-z0-9]+([._:-]+[a-z0-9]+)*(\/[a-z0-9]+([._-]+[a-z0-9]+)*)*$/.test(registry),
    `a registry as in ${answerDefaults.registry}`,
  );
  check("base-image", baseImage, /^[a-z0-9][\w./:@-]*$/i.test(baseImage), "the name of an image");
  const parallelType = parallelTypes.find((type) => type === parallel);
  check("parallel", parallel, parallelType !== undefined, oneOfList(parallelTypes));

  const spec = {
    id: randomUUID(),
    image: `${registry}/${name}`,
    label: label || titleOf(name),
    description,
    inputs: readEach("input", answers.input, (text) => readPort(text, "in")),
    outputs: readEach("output", answers.output, (text) => readPort(text, "out")),
    parameters: readEach("parameter", answers.parameter, readParameter),
    tags: readEach("tag", answers.tag, readTag),
    parallel_config: { type: parallelType ?? "none" },
    triggers: readEach("trigger", answers.trigger, readTrigger),
  };
  const dependencies = readEach("dependency", answers.dependency, readDependency);
  for (const { path, message } of duplicateNames({ ...spec, dependencies })) {
    const list = /^\w+/.exec(path)![0];
    problems.push({ path: `--${list.replace(/ies$/, "y").replace(/s$/, "")}`, message });
  }
  return {
    draft: {
      name,
      baseImage,
      spec,
      dependencies: Object.fromEntries(dependencies.map(({ name, range }) => [name, range])),
    },
    problems,
  };
}

/** `crop-to_x` to `Crop To X`. */
function titleOf(name: string): string {
  const words = name.split(/[-_]+/).filter((word) => word !== "");
  return words.map((word) => word[0]!.toUpperCase() + word.slice(1)).join(" ");
}

function isLine(text: string): boolean {
  return !/[\p{Cc}\u2028\u2029]/u.test(text);
}

/** Names travel as parts of NATS subjects, so that they have no dots; `__proto__` is no member of an object literal. */
const namePattern = /^(?!__proto__$)[A-Za-z_][\w-]{0,59}$/;
const nameExpected = "a name of up to 60 letters, digits, _ and - that starts with a letter or _";

function readNamed<T>(name: string, expectedForm: string | null, read: () => T | string): T | string {
  if (expectedForm !== null) return `expected ${expectedForm}`;
  return namePattern.test(name) ? read() : expectedGot(nameExpected, name);
}

function readPort(text: string, direction: "in" | "out") {
  const [name = "", ...rest] = text.split(":");
  const type = rest.join(":").trim();
  return readNamed(name, type === "" ? "name:type as in frames:BatchedFrames" : null, () => ({
    name,
    label: titleOf(name),
    type,
    description: `Messages of type ${type} that ${direction === "in" ? "come in" : "go out"}.`,
  }));
}

function readParameter(text: string): ParameterSpec | string {
  const [, name, type, value] = /^([^:]*):([^:]*):(.*)$/.exec(text) ?? [];
  const form = value === undefined ? "name:type:default as in crop:int:128" : null;
  return readNamed(name ?? "", form, () => {
    const known = parameterTypes.find((candidate) => candidate === type);
    return known === undefined
      ? `type: ${expectedGot(oneOfList(parameterTypes), type)}`
      : withDefault(name!, known, value!);
  });
}

function withDefault(name: string, type: ParameterType, value: string): ParameterSpec | string {
  const head = { name, label: titleOf(name), description: `${titleOf(name)}.`, required: false };
  if (type === "str-enum") {
    const options = value.split("|");
    if (options.includes("") || new Set(options).size < options.length) {
      return `choices: ${expectedGot("different ones as in box|disk", value)}`;
    }
    return { ...head, type, default: options[0]!, options };
  }
  try {
    const read = parseParameterValue({ name, type }, value);
    if (type === "int" && !Number.isSafeInteger(read)) {
      return `default: ${expectedGot("an integer of at most 2^53 - 1", value)}`;
    }
    // Adding 0 turns -0 into 0, which JSON does not tell apart.
    const normal = typeof read === "number" ? read + 0 : read;
    // The value was read as the parameter's own type, which the compiler cannot follow across the union.
    return { ...head, type, default: normal } as ParameterSpec;
  } catch {
    return `default: ${expectedGot(`a value of type ${type}`, value)}`;
  }
}

function readTrigger(text: string) {
  const [name = "", modeText = "single", ...rest] = text.split(":");
  const mode = triggerModes.find((candidate) => candidate === modeText);
  const form = mode === undefined || rest.length > 0 ? "name or name:drain as in read_now:drain" : null;
  return readNamed(name, form, () => ({
    name,
    label: titleOf(name),
    description: `${titleOf(name)}.`,
    mode: mode!,
  }));
}

function readTag(text: string) {
  const [value = "", ...rest] = text.split(":");
  if (value.trim() === "") return "expected value or value:description as in gpu";
  return { value, description: rest.length === 0 ? null : rest.join(":") };
}

function readDependency(text: string) {
  const [, name, range = "*"] =
    /^((?:@[a-z0-9~-][\w.~-]*\/)?[a-z0-9~-][\w.~-]*)(?:@(\S+))?$/i.exec(text) ?? [];
  return name === undefined ? "expected package or package@range as in ml-matrix@6.12.1" : { name, range };
}
