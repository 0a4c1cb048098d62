import type { OperatorContext } from "../../../src/operator/define-operator.ts";

/** The part of a hook's context that most tests do not look at. */
export function quietContext(): Omit<OperatorContext<Record<never, never>>, "parameters"> {
  return {
    log: { debug() {}, info() {}, warn() {}, error() {} },
    signal: new AbortController().signal,
    async publishImage() {},
    async publishTable() {},
    readersAccept: () => false,
  };
}
