import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { applySettings } from "../../../src/cli/settings.ts";
import { parsePipeline } from "../../../src/spec/pipeline.ts";

const pipeline = parsePipeline(
  JSON.parse(
    readFileSync(new URL("../../golden/pipeline/com-4op-parallel3/canonical.json", import.meta.url), "utf8"),
  ),
);
const partial = pipeline.operators[1]!;
const dotted = {
  ...pipeline,
  operators: pipeline.operators.with(1, {
    ...partial,
    parameters: [...partial.parameters!, { ...partial.parameters![0]!, name: "crop.to.z" } as never],
  }),
};

const valueAfter = (setting: string, name: string) =>
  applySettings(dotted, [setting], []).operators[1]!.parameters!.find((parameter) => parameter.name === name)
    ?.default;

test.each([
  ["com-partial.crop_to_x=3", "crop_to_x"],
  ["COM partial.crop_to_x=3", "crop_to_x"],
  ["example.org/center-of-mass-partial.crop_to_x=3", "crop_to_x"],
  ["example.org/center-of-mass-partial:1.crop_to_x=3", "crop_to_x"],
  ["center-of-mass-partial.crop.to.z=3", "crop.to.z"],
  ["example.org/center-of-mass-partial.crop.to.z=3", "crop.to.z"],
])("%s", (setting, name) => {
  expect(valueAfter(setting, name)).toBe(3);
});

test("a value may hold dots and equals signs", () => {
  const { operators } = applySettings(pipeline, ["source.filename=a.b=c.h5"], []);
  expect(operators[0]!.parameters!.find(({ name }) => name === "filename")?.default).toBe("a.b=c.h5");
});

test("the last of several settings of one parameter counts", () => {
  const { operators } = applySettings(pipeline, ["com-reduce.emit_every=1", "com-reduce.emit_every=2"], []);
  expect(operators[2]!.parameters!.map((parameter) => parameter.default)).toEqual([2]);
});

test.each([
  ["crop_to_x=3", "expected operator.parameter=value"],
  ["com-partial.crop_to_x", "expected operator.parameter=value"],
  [
    "other.crop_to_x=3",
    'the pipeline has no operator "other"; it has source, com-partial, com-reduce, com-plot',
  ],
  ["com-partial.crop=3", '"COM partial" has no parameter "crop"; it has crop_to_x, '],
  ["com-partial.crop_to_x=", 'Parameter "crop_to_x": expected an integer, got ""'],
])("%s is refused", (setting, reason) => {
  expect(() => applySettings(pipeline, [setting], [])).toThrow(
    `Cannot apply --set:\n  ${setting}: ${reason}`,
  );
});
