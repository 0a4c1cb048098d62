import { expect, test } from "vitest";
import { readTriggerRequest, triggerReply } from "../../../src/wire/trigger.ts";
import { readGolden } from "./golden.ts";

const { value_json_examples: examples } = readGolden<{ value_json_examples: Record<string, string> }>(
  "kv/address-and-values.json",
);

test("reads the request that interactEM writes", () => {
  expect(readTriggerRequest(Buffer.from(examples.TriggerInvocationRequest!))).toBe("go");
});

test.each([
  ['{"trigger":"läuft 🚀","more":1}', "läuft 🚀"],
  ['{"trigger":""}', ""],
])("takes %s", (text, name) => {
  expect(readTriggerRequest(Buffer.from(text))).toBe(name);
});

test.each(["", "go", "null", '"go"', "[]", "{}", '{"trigger":null}', '{"trigger":1}', '{"trigger":["go"]}'])(
  "refuses %j",
  (text) => {
    expect(readTriggerRequest(Buffer.from(text))).toBeNull();
  },
);

test("refuses text that is not UTF-8", () => {
  expect(readTriggerRequest(Buffer.from('{"trigger":"\xff"}', "latin1"))).toBeNull();
});

test("the reply equals interactEM's, byte for byte", () => {
  expect(triggerReply("ok", "Trigger accepted")).toBe(examples.TriggerInvocationResponse);
  expect(triggerReply("error", 'no "x"')).toBe('{"status":"error","message":"no \\"x\\""}');
});
