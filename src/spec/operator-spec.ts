import { z } from "zod";
import { type Problem, SpecError } from "../errors.ts";
import { isRecord } from "../wire/json.ts";
import { readUuid } from "../wire/uuid.ts";
import { readBoolean, readFloat, readInteger } from "./lax-scalar.ts";
import { describeIssue, expectedGot, formatProblems, oneOfList, problemsOf } from "./problems.ts";

/**
 * The operator.json of interactEM, in its lax reading: `"255"` is an integer, `"yes"` a boolean, unknown keys are
 * dropped, absent lists are null.
 */

function scalar<T>(expected: string, read: (value: unknown) => T | undefined) {
  return z.unknown().transform((value, context): T => {
    const result = read(value);
    if (result !== undefined) return result;
    context.addIssue({ code: "custom", message: expectedGot(expected, value) });
    return z.NEVER;
  });
}

/** UUID in any spelling, read to lower case with hyphens. */
export const uuidSchema = scalar("a UUID", readUuid);

const portSchema = z.object({
  name: z.string(),
  label: z.string(),
  description: z.string(),
  /** What travels through the port, for people: `BatchedFrames`, `image`. */
  type: z.string(),
});

const inputSchema = portSchema.extend({
  /** Formats of messages that it takes besides the usual one. Our own member, which interactEM drops. */
  accepts: z.array(z.string()).optional(),
});

const parameterHead = { name: z.string(), label: z.string(), description: z.string() };
const required = scalar("a boolean", readBoolean);

/** One parameter with its default. */
export const parameterSpecSchema = z.discriminatedUnion("type", [
  z.object({ ...parameterHead, type: z.literal("str"), default: z.string(), required }),
  z.object({ ...parameterHead, type: z.literal("mount"), default: z.string(), required }),
  z.object({
    ...parameterHead,
    type: z.literal("int"),
    default: scalar("an integer", readInteger),
    required,
  }),
  z.object({ ...parameterHead, type: z.literal("float"), default: scalar("a number", readFloat), required }),
  z.object({
    ...parameterHead,
    type: z.literal("bool"),
    default: scalar("a boolean", readBoolean),
    required,
  }),
  z
    .object({
      ...parameterHead,
      type: z.literal("str-enum"),
      default: z.string(),
      required,
      options: z.array(z.string()),
    })
    .superRefine((parameter, context) => {
      if (parameter.options.includes(parameter.default)) return;
      const message = expectedGot(oneOfList(parameter.options), parameter.default);
      context.addIssue({ code: "custom", path: ["default"], message });
    }),
]);

const tagSchema = z.object({ value: z.string(), description: z.string().nullable().default(null) });

const triggerSchema = z.object({
  name: z.string(),
  label: z.string(),
  description: z.string().nullable().default(null),
  /** `single` runs the operator once, `drain` until it returns nothing. */
  mode: z.enum(["single", "drain"]).default("single"),
});

export const operatorSpecSchema = z.object({
  id: uuidSchema,
  label: z.string(),
  description: z.string(),
  /** Name of the container image. */
  image: z.string(),
  inputs: z.array(inputSchema).nullable().default(null),
  outputs: z.array(portSchema).nullable().default(null),
  parameters: z.array(parameterSpecSchema).nullable().default(null),
  tags: z.array(tagSchema).nullable().default(null),
  /** `embarrassing` lets replicas share the messages, and runs of one replica overlap. */
  parallel_config: z
    .object({ type: z.enum(["none", "embarrassing"]).default("none") })
    .nullable()
    .default(null),
  triggers: z.array(triggerSchema).nullable().default(null),
});

export type OperatorSpec = z.infer<typeof operatorSpecSchema>;
export type PortSpec = z.infer<typeof portSchema>;
export type InputSpec = z.infer<typeof inputSchema>;
export type ParameterSpec = z.infer<typeof parameterSpecSchema>;
export type ParameterType = ParameterSpec["type"];
export type TriggerSpec = z.infer<typeof triggerSchema>;

export const parameterTypes = [
  "str",
  "int",
  "float",
  "bool",
  "mount",
  "str-enum",
] as const satisfies readonly ParameterType[];

/** A read specification, or everything that is wrong with it. */
export type OperatorSpecResult =
  | { readonly spec: OperatorSpec; readonly problems: readonly [] }
  | { readonly spec: null; readonly problems: readonly Problem[] };

/** Reads the parsed JSON of an operator.json and collects every problem with its place. */
export function readOperatorSpec(value: unknown): OperatorSpecResult {
  const result = operatorSpecSchema.safeParse(value, { error: describeIssue });
  return result.success
    ? { spec: result.data, problems: [] }
    : { spec: null, problems: problemsOf(result.error) };
}

/**
 * Reads the parsed JSON of an operator.json; the result is a copy.
 *
 * @throws SpecError that lists every problem with its place.
 */
export function parseOperatorSpec(value: unknown): OperatorSpec {
  const { spec, problems } = readOperatorSpec(value);
  if (spec !== null) return spec;
  throw new SpecError(
    "STEMLINE_SPEC_INVALID",
    `The operator specification is not valid:${formatProblems(problems)}`,
  );
}

/**
 * Names that the parsed JSON of an operator.json, valid or not, has twice among its ports of one kind, parameters or
 * triggers. interactEM's schema takes them, and nobody could say which is meant.
 */
export function duplicateNames(value: unknown): Problem[] {
  if (!isRecord(value)) return [];
  return Object.entries(value).flatMap(([member, list]) => {
    const names = Array.isArray(list) ? list.map((item) => (isRecord(item) ? item.name : undefined)) : [];
    return names.flatMap((name, index) =>
      typeof name === "string" && names.indexOf(name) < index
        ? [{ path: `${member}[${index}].name`, message: `${expectedGot("different names", name)} again` }]
        : [],
    );
  });
}
