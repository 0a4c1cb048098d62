import { describe, expect, expectTypeOf, it } from "vitest";
import { defineOperator, isOperator, type Operator } from "../../../src/operator/define-operator.ts";
import { boolean, integer, oneOf } from "../../../src/operator/parameters.ts";
import { type BytesMessage, bytesMessage } from "../../../src/wire/message.ts";
import { quietContext } from "./context.ts";

describe("defineOperator", () => {
  it("types parameters and state in every hook", async () => {
    interface Values {
      readonly crop: number | undefined;
      readonly shape: "box" | "disk";
      readonly fill: boolean;
    }
    const operator = defineOperator({
      inputs: ["in"],
      outputs: ["out"],
      parameters: {
        crop: integer({ optional: true }),
        shape: oneOf(["box", "disk"], { default: "box" }),
        fill: boolean({ default: false }),
      },
      setup: async ({ parameters }) => {
        expectTypeOf(parameters).toEqualTypeOf<Values>();
        return { seen: 0 };
      },
      run: (message, { parameters, state, trigger }) => {
        expectTypeOf(message).toEqualTypeOf<BytesMessage | null>();
        expectTypeOf(parameters).toEqualTypeOf<Values>();
        expectTypeOf(state).toEqualTypeOf<{ seen: number }>();
        expectTypeOf(trigger).toEqualTypeOf<string | null>();
        state.seen += 1;
        return message;
      },
      *flush({ parameters, state }) {
        expectTypeOf(parameters).toEqualTypeOf<Values>();
        yield bytesMessage({ seen: state.seen }, new Uint8Array());
      },
      teardown: ({ parameters, state }) => {
        expectTypeOf(parameters).toEqualTypeOf<Values>();
        expectTypeOf(state).toEqualTypeOf<{ seen: number }>();
      },
    });

    const parameters = { crop: undefined, shape: "box", fill: false } as const;
    const context = { ...quietContext(), parameters, state: { seen: 0 }, trigger: null, count: () => {} };
    const message = bytesMessage({}, new Uint8Array());
    expect(await operator.run(message, context)).toBe(message);
    const flushed: BytesMessage[] = [];
    for await (const last of operator.flush?.(context) ?? []) flushed.push(last);
    expect(flushed).toEqual([bytesMessage({ seen: 1 }, new Uint8Array())]);
  });

  it("knows no parameters and no state unless declared", () => {
    defineOperator({
      run: (_, { parameters, state }) => {
        expectTypeOf(state).toEqualTypeOf<undefined>();
        // @ts-expect-error: not declared.
        parameters.crop;
        return null;
      },
    });
    expect.assertions(0);
  });

  it("refuses a wrong use of a parameter at compile time", () => {
    defineOperator({
      parameters: { crop: integer({ optional: true }), shape: oneOf(["box", "disk"]) },
      run: (_, { parameters }) => {
        // @ts-expect-error: may be undefined.
        parameters.crop.toFixed();
        // @ts-expect-error: no such choice.
        if (parameters.shape === "ring") return null;
        // @ts-expect-error: read-only.
        parameters.shape = "box";
        return null;
      },
    });
    expect.assertions(0);
  });

  it("gives an operator that hosts can hold without its types", () => {
    const operator = defineOperator({
      parameters: { crop: integer() },
      setup: () => ({ seen: 0 }),
      run: (_, { state }) => bytesMessage({ seen: state.seen }, new Uint8Array()),
    });
    const held: Operator = operator;
    expect(held).toBe(operator);
  });

  it("cannot be changed afterwards", () => {
    const operator = defineOperator({ run: () => null });
    expect(Object.isFrozen(operator)).toBe(true);
  });
});

describe("isOperator", () => {
  it("tells an operator from what looks like one", () => {
    const definition = { run: () => null };
    expect(isOperator(defineOperator(definition))).toBe(true);
    expect(isOperator(definition)).toBe(false);
    expect(isOperator(null)).toBe(false);
    expect(isOperator(() => null)).toBe(false);
  });

  it("knows the operator of another copy of the package", () => {
    expect(isOperator({ [Symbol.for("stemline.operator")]: true })).toBe(true);
  });
});
