/** What operator authors use: `import { defineOperator } from "stemline"`. */
export * from "./errors.ts";
export {
  defineOperator,
  isOperator,
  type Logger,
  type Operator,
  type OperatorContext,
  type OperatorDefinition,
  type RunContext,
  type RunResult,
  type TableRows,
  type WorkCount,
} from "./operator/define-operator.ts";
export {
  boolean,
  type ChoiceDeclaration,
  float,
  integer,
  mount,
  oneOf,
  type ParameterDeclaration,
  type ParameterDeclarations,
  type ParameterValues,
  string,
} from "./operator/parameters.ts";
export { type OperatorSpec, type ParameterSpec, parseOperatorSpec } from "./spec/operator-spec.ts";
export type { ParameterValue } from "./spec/parameter-value.ts";
export {
  type BytesMessage,
  bytesMessage,
  type MessageHeader,
  messageFrom,
  type Tracking,
  type TrackingEntry,
} from "./wire/message.ts";
