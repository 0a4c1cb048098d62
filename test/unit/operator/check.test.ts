import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { checkOperator } from "../../../src/operator/check.ts";
import { importStemline, operatorFolder } from "./operator-folder.ts";

const port = (name: string) => ({ name, label: name, description: "", type: "bytes" });
const parameter = (name: string, type: string, value: unknown, rest: object = {}) => ({
  name,
  label: name,
  description: "",
  type,
  default: value,
  required: false,
  ...rest,
});

const soundSpec = {
  id: "70dd71a7-5ebf-4515-8bf9-941d1284328c",
  label: "L",
  description: "D",
  image: "example/img:1",
  inputs: [port("first"), port("second")],
  outputs: [port("out")],
  triggers: [{ name: "go", label: "Go" }],
  parameters: [
    parameter("crop", "int", "255"),
    parameter("gain", "float", "nan"),
    parameter("title", "str", "x"),
    parameter("fill", "bool", "yes"),
    parameter("data", "mount", "~/data"),
    parameter("shape", "str-enum", "box", { options: ["box", "disk"] }),
  ],
};

const soundRun = `{
  inputs: ["first", "second"],
  outputs: ["out"],
  triggers: ["go"],
  parameters: {
    crop: stemline.integer({ default: 255 }),
    gain: stemline.float({ default: NaN }),
    title: stemline.string({ optional: true }),
    fill: stemline.boolean({ default: true }),
    data: stemline.mount(),
    shape: stemline.oneOf(["box", "disk"], { default: "box" }),
  },
  run: () => null,
}`;

function check(spec: unknown, definition: string) {
  return checkOperator(
    operatorFolder({
      "operator.json": JSON.stringify(spec),
      "run.ts": `${importStemline}export default stemline.defineOperator(${definition});\n`,
    }),
  );
}

describe("checkOperator", () => {
  it("finds nothing wrong with a sound operator", async () => {
    const { spec, operator, problems } = await check(soundSpec, soundRun);
    expect(problems).toEqual([]);
    expect(spec?.parameters?.map((found) => found.default)).toEqual([
      255,
      Number.NaN,
      "x",
      true,
      "~/data",
      "box",
    ]);
    expect(operator?.inputs).toEqual(["first", "second"]);
  });

  it("takes absent lists for empty ones", async () => {
    const { id, label, description, image } = soundSpec;
    const { problems } = await check({ id, label, description, image }, "{ run: () => null }");
    expect(problems).toEqual([]);
  });

  it.each([
    {
      title: "inputs in another order",
      run: soundRun.replace('"first", "second"', '"second", "first"'),
      problem: {
        path: "run.ts: inputs",
        message: 'expected ["first", "second"] as in operator.json, got ["second", "first"]',
      },
    },
    {
      title: "a missing output",
      run: soundRun.replace('outputs: ["out"],', ""),
      problem: { path: "run.ts: outputs", message: 'expected ["out"] as in operator.json, got []' },
    },
    {
      title: "another trigger",
      run: soundRun.replace('"go"', '"stop"'),
      problem: { path: "run.ts: triggers", message: 'expected ["go"] as in operator.json, got ["stop"]' },
    },
    {
      title: "an undeclared parameter",
      run: soundRun.replace("data: stemline.mount(),", ""),
      problem: { path: "run.ts: parameters.data", message: "declared in operator.json but not here" },
    },
    {
      title: "a parameter that operator.json lacks",
      run: soundRun.replace("data:", "sigma: stemline.float(), data:"),
      problem: { path: "operator.json: parameters", message: 'lacks "sigma", which run.ts declares' },
    },
    {
      title: "another type",
      run: soundRun.replace("stemline.mount()", "stemline.string()"),
      problem: {
        path: "run.ts: parameters.data",
        message: 'expected type "mount" as in operator.json, got "str"',
      },
    },
    {
      title: "another default",
      run: soundRun.replace("default: 255", "default: 256"),
      problem: {
        path: "run.ts: parameters.crop.default",
        message: "expected 255 as in operator.json, got 256",
      },
    },
    {
      title: "choices in another order",
      run: soundRun.replace('["box", "disk"]', '["disk", "box"]'),
      problem: {
        path: "run.ts: parameters.shape.options",
        message: 'expected ["box", "disk"] as in operator.json, got ["disk", "box"]',
      },
    },
    {
      title: "a format that operator.json does not have",
      run: soundRun.replace("run:", 'accepts: { first: ["a-1"] }, run:'),
      problem: { path: "run.ts: accepts.first", message: 'expected [] as in operator.json, got ["a-1"]' },
    },
    {
      title: "a format at a port that there is not",
      run: soundRun.replace("run:", 'accepts: { third: ["a-1"] }, run:'),
      problem: {
        path: "run.ts: accepts.third",
        message: 'expected the name of an input port, got "third"',
      },
    },
  ])("reports $title", async ({ run, problem }) => {
    const { problems } = await check(soundSpec, run);
    expect(problems).toEqual([problem]);
  });

  it("compares the formats that an input port accepts", async () => {
    const inputs = [{ ...port("first"), accepts: ["a-1", "b-1"] }, port("second")];
    const missing = await check({ ...soundSpec, inputs }, soundRun);
    expect(missing.problems).toEqual([
      { path: "run.ts: accepts.first", message: 'expected ["a-1", "b-1"] as in operator.json, got []' },
    ]);
    const run = soundRun.replace("run:", 'accepts: { first: ["a-1", "b-1"] }, run:');
    expect((await check({ ...soundSpec, inputs }, run)).problems).toEqual([]);
  });

  it("reports a parameter that operator.json has twice", async () => {
    const parameters = [...soundSpec.parameters, parameter("crop", "float", 1)];
    const { problems } = await check({ ...soundSpec, parameters }, soundRun);
    expect(problems).toEqual([
      { path: "operator.json: parameters[6].name", message: 'expected different names, got "crop" again' },
    ]);
  });

  it("reports all problems at once", async () => {
    const run = soundRun.replace('"go"', '"stop"').replace("default: 255", "default: 256");
    const { problems } = await check({ ...soundSpec, inputs: [] }, run);
    expect(problems.map(({ path }) => path)).toEqual([
      "run.ts: inputs",
      "run.ts: triggers",
      "run.ts: parameters.crop.default",
    ]);
  });

  it("reports a bad operator.json and a bad run.ts together", async () => {
    const directory = operatorFolder({ "operator.json": '{"id":"x"}', "run.ts": "throw new Error('boom');" });
    const { spec, operator, problems } = await checkOperator(directory);
    expect({ spec, operator }).toEqual({ spec: null, operator: null });
    expect(problems).toEqual([
      { path: "operator.json: id", message: 'expected a UUID, got "x"' },
      ...["label", "description", "image"].map((member) => ({
        path: `operator.json: ${member}`,
        message: "expected a string, got nothing",
      })),
      { path: "run.ts", message: `${join(directory, "run.ts")}: cannot be evaluated: Error: boom` },
    ]);
  });

  it.each([
    { title: "is missing", files: {}, message: /no such file/ },
    { title: "is no JSON", files: { "operator.json": "{" }, message: /JSON/ },
  ])("reports an operator.json that $title", async ({ files, message }) => {
    const run = `${importStemline}export default stemline.defineOperator({ run: () => null });\n`;
    const { spec, operator, problems } = await checkOperator(operatorFolder({ "run.ts": run, ...files }));
    expect(spec).toBeNull();
    expect(operator).not.toBeNull();
    expect(problems).toEqual([{ path: "operator.json", message: expect.stringMatching(message) }]);
  });
});
