import {
  appendFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, onTestFinished, test } from "vitest";
import { newCommand } from "../../src/cli/new-command.ts";
import { cli, type Result, startCommand } from "./support/command.ts";

const root = fileURLToPath(new URL("../../", import.meta.url));
const terminal = fileURLToPath(new URL("support/terminal.py", import.meta.url));

let folder = "";

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "stemline-authoring-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const start = (command: string, args: readonly string[]) => startCommand(folder, command, args);
const operator = (...args: string[]) => start(process.execPath, [cli, "operator", ...args]).result;
const read = (path: string) => readFileSync(join(folder, path), "utf8");
const expectNoStack = ({ stderr }: Result) => expect(stderr).not.toMatch(/^ +at /m);

describe("operator new", () => {
  test("by flags, then check, validate and a local run, in a folder outside of every package", async () => {
    const made = await operator(
      ...["new", "--name", "frame-gate", "--description", "Lets frames pass.", "--yes"],
      ...["--input", "in:BatchedFrames", "--output", "out:BatchedFrames", "--parallel", "embarrassing"],
      ...["--parameter", "every-nth:int:3", "--parameter", "shape:str-enum:box|disk", "--tag", "gpu"],
      ...["--dependency", "ml-matrix@6.12.1", "--registry", "localhost:5000/mine"],
    );
    expect(made).toMatchObject({ code: 0, stderr: "" });
    expect(made.stdout).toMatch(
      /^operators\/frame-gate: run\.ts, operator\.json, Containerfile, package\.json\.\n/,
    );
    for (const step of ["npm install --prefix", "operator check", "operator dev", "podman build"]) {
      expect(made.stdout).toContain(step);
    }
    expect(read("operators/frame-gate/run.ts")).toContain('"every-nth": integer({ default: 3 }),');
    const check = await operator("check", "operators/frame-gate");
    expect(check).toEqual({ code: 0, stdout: "operators/frame-gate is valid.\n", stderr: "" });
    const run = await operator(
      ...["dev", "operators/frame-gate", "--once", "--input", join(root, "test/golden/batches/all-empty")],
    );
    expect(run).toMatchObject({ code: 0, stderr: "" });
    expect(run.stdout).toMatch(/^Frame Gate: 1 message in, 1 out, .* busy of .*\.\n$/);
  });

  test("says without a terminal which flags are missing", async () => {
    const result = await operator("new", "--label", "L");
    expect(result).toMatchObject({ code: 2, stdout: "" });
    expect(result.stderr).toContain("flags are missing:\n  --name\n  --description\n  --input, --output or");
    expect(existsSync(join(folder, "operators"))).toBe(false);
  });

  const atTerminal = (steps: readonly (readonly [string, string])[], ...args: string[]) =>
    start("/usr/bin/python3", [terminal, JSON.stringify(steps), process.execPath, cli, "operator", ...args])
      .result;

  test("asks at a terminal for what is not given", async () => {
    mkdirSync(join(folder, "ops"));
    writeFileSync(join(folder, "ops/docker-bake.hcl"), 'group "operators" {\n  targets = [\n  ]\n}\n');
    const down = "\u001b[B";
    const { code, stdout } = await atTerminal(
      [
        ["Name", "Bad Name\r"],
        ["expected kebab-case", "\u0015my-gate\r"],
        ["Description", "Lets frames pass.\r"],
        ["Registry", "\r"],
        ["Base image", `${down}\r`],
        ["Parallel", `${down}\r`],
        ["Input port", "in\r"],
        ["expected name:type", ":frames\r"],
        ["Input port", "\r"],
        ["Output port", "out:frames\r"],
        ["Output port", "\r"],
        ["Trigger", "go:drain\r"],
        ["Trigger", "go\r"],
        ["expected different names", "\u0015\r"],
        ["Parameter", "shape\r"],
        ["Type of shape", `${down.repeat(5)}\r`],
        ["Choices of shape", "box|disk\r"],
        ["Parameter", "gain\r"],
        ["Type of gain", `${down.repeat(2)}\r`],
        ["Default of gain", "much\r"],
        ["expected a value of type float", "\u00152.5\r"],
        ["Parameter", "\r"],
        ["Tag", "gpu\r"],
        ["Tag", "\r"],
        ["npm package", "\r"],
        ["Add it to docker-bake.hcl?", "y"],
        ["Write these files?", "y"],
      ],
      ...["new", "--output-dir", "ops", "--label", "Gate"],
    );
    expect(code, stdout).toBe(0);
    expect(stdout).toContain("npx stemline operator check ops/my-gate");
    expect(JSON.parse(read("ops/my-gate/operator.json"))).toMatchObject({
      image: "ghcr.io/nersc/interactem/my-gate",
      label: "Gate",
      description: "Lets frames pass.",
      inputs: [{ name: "in", type: "frames" }],
      outputs: [{ name: "out", type: "frames" }],
      triggers: [{ name: "go", mode: "drain" }],
      parameters: [
        { name: "shape", type: "str-enum", default: "box", options: ["box", "disk"] },
        { name: "gain", type: "float", default: 2.5 },
      ],
      tags: [{ value: "gpu" }],
      parallel_config: { type: "embarrassing" },
    });
    expect(read("ops/docker-bake.hcl")).toContain('inherits = ["on-distiller-streaming"]');
  });

  test.each([
    ["Ctrl-C", [["Label", "\u0003"]]],
    [
      "no",
      [
        ["Label", "\r"],
        ["Write these files?", "n"],
      ],
    ],
  ] as [string, [string, string][]][])("writes nothing when given up with %s", async (_title, steps) => {
    const { code, stdout } = await atTerminal(
      steps,
      ...["new", "--name", "gate", "--description", "d", "--registry", "r", "--base-image", "node"],
      ...["--parallel", "none", "--input", "a:b", "--output", "c:d", "--trigger", "e"],
      ...["--parameter", "f:int:1", "--tag", "g", "--dependency", "h"],
    );
    expect(code, stdout).toBe(130);
    expect(stdout).toContain("Given up; nothing was written.");
    expect(readdirSync(folder)).toEqual([]);
  });
});

describe("operator check and validate", () => {
  test("list the problems of all files, with places", async () => {
    mkdirSync(join(folder, "a"));
    writeFileSync(join(folder, "a/operator.json"), '{\n  "id": 1,\n  "label" 2\n}\n');
    writeFileSync(
      join(folder, "b.json"),
      '{ "inputs": [{ "name": "in" }, { "name": "in" }], "triggers": 3 }',
    );
    const result = await operator("validate", "a", "b.json", "none.json");
    expect(result).toMatchObject({ code: 2, stdout: "" });
    const expected = [
      /^error: a:$/,
      /^ {2}is not JSON: line 3, column 11: expected ":", got "2"$/,
      /^b\.json:$/,
      /^ {2}id: expected a UUID, got nothing$/,
      /^ {2}inputs\[0\]\.label: expected a string, got nothing$/,
      /^ {2}triggers: expected a list, got 3$/,
      /^ {2}inputs\[1\]\.name: expected different names, got "in" again$/,
      /^none\.json:$/,
      /^ {2}there is no such file or folder$/,
    ];
    const lines = result.stderr.split("\n");
    for (const pattern of expected) expect(lines).toContainEqual(expect.stringMatching(pattern));
  });
});

describe("operator dev", () => {
  /** A copy of an operator that adds one to a number, on three recorded messages. */
  async function makeAdder(): Promise<void> {
    await newCommand(
      {
        name: "adder",
        input: ["in:n"],
        output: ["out:n"],
        parameter: ["by:int:1"],
        outputDir: join(folder, "operators"),
        yes: true,
      },
      false,
    );
    writeFileSync(
      join(folder, "operators/adder/run.ts"),
      `import { bytesMessage, defineOperator, integer } from "stemline";
import { add } from "./add.ts";

export default defineOperator({
  inputs: ["in"],
  outputs: ["out"],
  parameters: { by: integer({ default: 1 }) },
  run(message, { parameters, log }) {
    const { n } = message!.header.meta as { n: number };
    const sum = add(n, parameters.by);
    log.info({ sum }, "added");
    return bytesMessage({ n: sum }, message!.data);
  },
});
`,
    );
    writeAdd("return a + b;");
    for (const n of [2, 10, 1]) {
      const message = join(folder, `messages/m${n}`);
      mkdirSync(message, { recursive: true });
      writeFileSync(
        join(message, "part0.json"),
        JSON.stringify({ subject: "bytes", meta: { n }, tracking: null }),
      );
      writeFileSync(join(message, "part1.bin"), "data");
    }
  }
  const writeAdd = (body: string) =>
    writeFileSync(
      join(folder, "operators/adder/add.ts"),
      `export function add(a: number, b: number): number {\n  ${body}\n}\n`,
    );
  const once = (...args: string[]) =>
    operator("dev", "operators/adder", "--input", "messages", "--once", ...args);

  test("--once exits with 1 for lost messages and with 2 for what cannot be run, without a stack", async () => {
    await makeAdder();
    writeAdd('if (a === 2) throw new RangeError("no two"); return a + b;');
    const lost = await once();
    expect(lost).toMatchObject({
      code: 1,
      // Node 20, where tsx wraps add.ts, knows the line of run.ts that called it.
      stderr: expect.stringMatching(/^warning: Adder: no two \((add|run)\.ts:\d+:\d+\)$/m),
    });
    expect(lost.stdout).toMatch(
      /^Adder: 3 messages in, 2 out, .*\nAdder: 1 call failed; first error: no two\n$/,
    );
    expectNoStack(lost);
    writeAdd("return a +;");
    const broken = await once();
    expect(broken).toMatchObject({ code: 2, stdout: "" });
    expect(broken.stderr).toContain("error: operators/adder:\n  run.ts: ");
    expectNoStack(broken);
  });

  test("--once reads a counted file", async () => {
    await start(process.execPath, [cli, "simulate", "scan.h5", "--scan", "8x6", "--dose", "20"]).result;
    const partial = join(root, "operators/center-of-mass-partial");
    const result = await operator("dev", partial, "--input", "scan.h5", "--once", "--record", "partials");
    expect(result).toMatchObject({ code: 0, stderr: "" });
    expect(result.stdout).toMatch(/^Partial Center of Mass: 1 message in, 1 out, 48 frames, /);
    expect(readdirSync(join(folder, "partials/000001"))).toEqual(["part0.json", "part1.bin", "part2.bin"]);
  });

  test("runs again when a file changes, whatever the run before did, and ends with 0", async () => {
    await makeAdder();
    cpSync(join(folder, "messages/m1"), join(folder, "one/m1"), { recursive: true });
    const child = start(process.execPath, [
      ...[cli, "operator", "dev", "operators/adder", "--input", "one", "--out", "operators/adder/out"],
    ]);
    onTestFinished(() => void child.kill("SIGKILL"));
    let from = 0;
    const says = async (text: string) => {
      while (!child.text.stderr.includes(text, from)) await sleep(10);
      from = child.text.stderr.indexOf(text, from) + text.length;
    };
    await says('added {"sum":2}');
    await says("Waiting for a change in operators/adder; Ctrl-C ends.");

    writeAdd("return a * 100 + b;");
    await says("add.ts changed.");
    await says('added {"sum":101}');
    await says("Waiting");
    appendFileSync(join(folder, "operators/adder/run.ts"), "syntax error here(\n");
    await says("run.ts changed.");
    await says("cannot be evaluated");
    await says("Waiting");
    const run = read("operators/adder/run.ts").replace("syntax error here(\n", "");
    writeFileSync(join(folder, "operators/adder/run.ts"), `${run}for (;;);\n`);
    await says("run.ts changed.");
    await sleep(300);
    writeFileSync(join(folder, "operators/adder/run.ts"), run);
    await says('added {"sum":101}');
    await says("Waiting");
    const json = read("operators/adder/operator.json");
    writeFileSync(
      join(folder, "operators/adder/operator.json"),
      json.replace('"default": 1', '"default": 2'),
    );
    await says("operator.json changed.");
    await says("run.ts: parameters.by.default: expected 2 as in operator.json, got 1");
    await says("Waiting");

    const written = child.text.stderr.match(/changed\./g)!.length;
    writeFileSync(join(folder, "operators/adder/README.md"), "no module");
    writeFileSync(join(folder, "operators/adder/out/results.json"), "{}");
    await sleep(400);
    expect(child.text.stderr.match(/changed\./g)).toHaveLength(written);
    child.kill("SIGINT");
    const result = await child.result;
    expect(result.code).toBe(0);
    expect(result.stdout.match(/^Adder: 1 message in, 1 out, /gm)).toHaveLength(3);
    expectNoStack(result);
  });
});
