import type { z } from "zod";
import type { Problem } from "../errors.ts";
import { describeValue } from "../wire/json.ts";

/** Writes a place in a document: `parameters[0].default`. The document itself is the empty text. */
export function formatPath(path: readonly PropertyKey[]): string {
  return path.reduce<string>((text, step) => {
    if (typeof step === "number") return `${text}[${step}]`;
    return text === "" ? String(step) : `${text}.${String(step)}`;
  }, "");
}

/** One line for each problem, indented, for the end of an error message. */
export function formatProblems(problems: readonly Problem[]): string {
  return problems.map(({ path, message }) => `\n  ${path === "" ? "" : `${path}: `}${message}`).join("");
}

/** What zod found, as problems with places; pass `describeIssue` to the parse so that the texts fit. */
export function problemsOf(error: z.ZodError): Problem[] {
  return error.issues.map(({ path, message }) => ({ path: formatPath(path), message }));
}

const typeNames: Readonly<Record<string, string>> = {
  array: "a list",
  boolean: "a boolean",
  int: "an integer",
  number: "a number",
  object: "an object",
  string: "a string",
};

/** Error map for zod: every text says what was expected and what came. */
export function describeIssue(issue: z.core.$ZodRawIssue): string | undefined {
  switch (issue.code) {
    case "invalid_type":
      return expectedGot(typeNames[issue.expected] ?? issue.expected, issue.input);
    case "invalid_value":
      return expectedGot(oneOfList(issue.values), issue.input);
    case "invalid_union": {
      const { discriminator, options, input } = issue;
      if (typeof discriminator !== "string" || !Array.isArray(options)) return undefined;
      return expectedGot(oneOfList(options), Object(input)[discriminator]);
    }
    default:
      return undefined;
  }
}

/** `expected an integer, got "abc"`. */
export function expectedGot(expected: string, value: unknown): string {
  return `expected ${expected}, got ${describeValue(value)}`;
}

/** `one of "a", "b"`. */
export function oneOfList(values: readonly unknown[]): string {
  return `one of ${values.map(describeValue).join(", ")}`;
}
