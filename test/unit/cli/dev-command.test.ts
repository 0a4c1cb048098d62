import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { beforeEach, describe, expect, onTestFinished, test } from "vitest";
import { type DevCommandOptions, devCommand } from "../../../src/cli/dev-command.ts";
import { newCommand } from "../../../src/cli/new-command.ts";
import { watchSources } from "../../../src/cli/source-watch.ts";
import { StemlineError } from "../../../src/errors.ts";
import { checkContainer } from "../../../src/operator/check-container.ts";
import type { OperatorAnswers } from "../../../src/operator/operator-draft.ts";

const golden = fileURLToPath(new URL("../../golden/", import.meta.url));

let folder = "";

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "stemline-dev-"));
  onTestFinished(() => rmSync(folder, { recursive: true }));
});

async function makeOperator(name: string, flags: Partial<OperatorAnswers>) {
  await newCommand({ name, yes: true, outputDir: folder, ...flags }, false);
  return join(folder, name);
}

/** Runs once in this process. */
async function dev(directory: string, options: Partial<DevCommandOptions>) {
  const text = { stdout: "", stderr: "" };
  const screen = (name: "stdout" | "stderr") => ({
    write: (chunk: string) => {
      text[name] += chunk;
      return true;
    },
  });
  const surroundings = { stdout: screen("stdout"), stderr: screen("stderr"), debug: false };
  const code = await devCommand(directory, { set: [], once: true, ...options }, surroundings);
  return { code, ...text };
}

async function failure(result: Promise<unknown>): Promise<Pick<StemlineError, "code" | "message">> {
  const error = await result.then(
    () => null,
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(StemlineError);
  const { code, message } = error as StemlineError;
  return { code, message };
}

/** Recorded messages whose meta, an object, has these numbers, in folders that sort as the numbers do. */
function record(...numbers: number[]): string {
  const messages = join(folder, "messages");
  for (const number of numbers) {
    const message = join(messages, `m${number}`);
    mkdirSync(message, { recursive: true });
    writeFileSync(join(message, "part0.json"), JSON.stringify({ subject: "bytes", meta: { number } }));
    writeFileSync(join(message, "part1.bin"), `data ${number}`);
  }
  return messages;
}

const headerOf = (path: string) => JSON.parse(readFileSync(join(folder, path, "part0.json"), "utf8"));

describe("a new operator", () => {
  const parameter = ["crop:int:3", "crop-by:float:inf", "title:str:x", "fill:bool:yes", "shape:str-enum:a|b"];
  const both = { input: ["in:a", "second:b"], output: ["out:a", "more:b"] };

  test.each([
    { title: "passes messages on", flags: both, in: 3, out: 3 },
    {
      title: "passes messages on, with triggers",
      flags: { ...both, trigger: ["go:drain"], parameter },
      in: 3,
      out: 3,
    },
    { title: "takes messages", flags: { input: ["in:a"], parameter }, in: 3, out: 0 },
    { title: "makes messages", flags: { output: ["out:a"], parameter }, in: 0, out: 10 },
    {
      title: "makes messages at a trigger",
      flags: { output: ["out:a"], trigger: ["go"], parameter },
      in: 0,
      out: 1,
    },
    {
      title: "makes messages at each trigger",
      flags: { output: ["out:a"], trigger: ["go:drain", "stop", "read:drain"] },
      in: 0,
      // The trigger in between gets the first of ten, so that the last one gets the others.
      out: 10 + 1 + 9,
    },
    { title: "only runs triggers", flags: { trigger: ["go:drain", "stop"], parameter }, in: 0, out: 0 },
    { title: "has no ports", flags: { parameter }, in: 0, out: 0 },
  ])("$title", async ({ flags, in: taken, out }) => {
    const directory = await makeOperator("fresh", flags);
    const input = "input" in flags ? { input: record(10, 9, 100) } : {};
    const { code, stdout, stderr } = await dev(directory, { ...input, record: join(folder, "sent") });
    expect(stderr).not.toMatch(/warning|error/);
    expect(stdout).toMatch(
      new RegExp(`^Fresh: ${taken} messages in, ${out} out, .* ms busy of .* m?s\\.\\n$`),
    );
    expect(code).toBe(0);
  });

  test("is found to lack a Containerfile by the check, and runs without", async () => {
    const directory = await makeOperator("bare", { output: ["out:a"] });
    rmSync(join(directory, "Containerfile"));
    expect(await checkContainer(directory, null)).toEqual([
      { path: "Containerfile", message: "there is no such file" },
    ]);
    expect(await dev(directory, {})).toMatchObject({ code: 0, stderr: "" });
  });
});

describe("recorded messages", () => {
  test("run in the order of their names; what is sent can be recorded and is input again", async () => {
    const directory = await makeOperator("pass", { input: ["in:a"], output: ["out:a"] });
    const input = record(10, 2, 1);
    const sent = join(folder, "sent");
    expect(await dev(directory, { input, record: sent, out: join(folder, "results") })).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/^Pass: 3 messages in, 3 out, .*\n6 files in .*results\.\n$/),
    });
    expect(readdirSync(sent)).toEqual(["000001", "000002", "000003"]);
    expect(headerOf("sent/000003")).toEqual({ subject: "bytes", meta: { number: 10 }, tracking: null });
    expect(readFileSync(join(sent, "000003/part1.bin"), "utf8")).toBe("data 10");

    // Fewer messages later leave none of the earlier ones.
    const one = join(sent, "000002/part0.json");
    expect(await dev(directory, { input: one, record: join(folder, "again") })).toMatchObject({ code: 0 });
    expect(headerOf("again/000001").meta).toEqual({ number: 2 });
    mkdirSync(join(sent, "000009"));
    await dev(directory, { input: join(folder, "again"), record: sent });
    // What is no recorded message stays.
    expect(readdirSync(sent)).toEqual(["000001", "000009"]);
  });

  test("of the Python peer are taken as they are, in three parts", async () => {
    const directory = await makeOperator("pass", { input: ["in:a"], output: ["out:a"] });
    const input = join(golden, "batches/dtype-uint16-pow2");
    expect(await dev(directory, { input, record: join(folder, "sent") })).toMatchObject({ code: 0 });
    for (const [part, copy] of [
      ["part1.msgpack", "part1.bin"],
      ["part2.bin", "part2.bin"],
    ] as const) {
      expect(readFileSync(join(folder, "sent/000001", copy))).toEqual(readFileSync(join(input, part)));
    }
  });

  test("that are broken are lost messages", async () => {
    const directory = await makeOperator("pass", { input: ["in:a"], output: ["out:a"] });
    const input = record(1, 2, 3, 4);
    writeFileSync(join(input, "m1/part0.json"), "{}");
    rmSync(join(input, "m2/part1.bin"));
    rmSync(join(input, "m3/part1.bin"));
    mkdirSync(join(input, "m3/part1.bin"));
    const { code, stdout, stderr } = await dev(directory, { input });
    expect(code).toBe(1);
    expect(stderr.split("\n")).toEqual([
      expect.stringMatching(/^warning: recorded-messages: Message header: subject: /),
      `warning: recorded-messages: ${join(input, "m2")}: expected 2 or 3 message parts, got 1`,
      `warning: recorded-messages: Cannot read ${join(input, "m3/part1.bin")}: it is a folder`,
      "",
    ]);
    expect(stdout).toMatch(
      /^Pass: 1 message in, 1 out, .*\nrecorded-messages: 3 calls failed; first error: /,
    );
  });
});

describe("what cannot be run", () => {
  test("input that is not there, does not fit or is missing", async () => {
    const taker = await makeOperator("taker", { input: ["in:a"] });
    const source = await makeOperator("source", { output: ["out:a"] });
    expect(await failure(dev(join(folder, "none"), {}))).toEqual({
      code: "STEMLINE_CLI_FILE",
      message: `Cannot read ${join(folder, "none")}: there is no such file or folder`,
    });
    expect((await failure(dev(taker, { input: "none.h5" }))).code).toBe("STEMLINE_CLI_FILE");
    expect(await failure(dev(taker, {}))).toEqual({
      code: "STEMLINE_CLI_OPTION",
      message: `--input: expected recorded messages or an .h5 file for the inputs of ${taker}, got nothing`,
    });
    expect(await failure(dev(source, { input: folder }))).toEqual({
      code: "STEMLINE_CLI_OPTION",
      message: `--input: expected nothing, since ${source} has no inputs, got "${folder}"`,
    });
    expect(await failure(dev(taker, { input: taker }))).toEqual({
      code: "STEMLINE_RECORDED_INPUT",
      message: `${taker}: expected an .h5 file, or a folder with part0.json or with folders that have one, got neither`,
    });
  });

  test("settings that do not fit", async () => {
    const source = await makeOperator("source", { output: ["out:a"], parameter: ["by:int:1"] });
    expect(await failure(dev(source, { set: ["by=x", "to=1", "by"] }))).toEqual({
      code: "STEMLINE_CLI_SET",
      message: [
        "Cannot apply --set:",
        '  by=x: Parameter "by": expected an integer, got "x"',
        '  to=1: "Source" has no parameter "to"; it has by',
        "  by: expected parameter=value",
      ].join("\n"),
    });
    await dev(source, { set: ["by=3", "by=4"], record: join(folder, "sent") });
    expect(headerOf("sent/000001").meta).toEqual({ number: 1, parameters: { by: 4 } });
  });

  test("files that disagree", async () => {
    const source = await makeOperator("source", { output: ["out:a"] });
    const run = readFileSync(join(source, "run.ts"), "utf8");
    writeFileSync(join(source, "run.ts"), run.replace('["out"]', '["in"]'));
    const { code, message } = await failure(dev(source, {}));
    expect(code).toBe("STEMLINE_OPERATOR_CHECK");
    expect(message).toContain('run.ts: outputs: expected ["out"] as in operator.json, got ["in"]');
  });
});

describe("watchSources", () => {
  /** Names of changed files; `next` resolves at the next one. */
  function watched(ignored: readonly string[] = []) {
    const names: string[] = [];
    let wake = () => {};
    const stop = watchSources(folder, ignored, (name) => {
      names.push(name);
      wake();
    });
    onTestFinished(stop);
    const next = () =>
      new Promise<void>((resolve) => {
        wake = resolve;
      });
    return { names, next };
  }

  test("names modules and JSON files that change, also in folders that come later", async () => {
    writeFileSync(join(folder, "run.ts"), "1");
    mkdirSync(join(folder, "node_modules/x"), { recursive: true });
    mkdirSync(join(folder, "out"));
    const { names, next } = watched([join(folder, "out")]);
    writeFileSync(join(folder, "notes.md"), "");
    writeFileSync(join(folder, ".hidden.ts"), "");
    writeFileSync(join(folder, "node_modules/x/index.js"), "");
    writeFileSync(join(folder, "out/result.json"), "");
    mkdirSync(join(folder, "helpers"));
    // Time for the folder to be seen; nothing that counts has changed.
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect(names).toEqual([]);
    for (const change of [
      () => writeFileSync(join(folder, "run.ts"), "22"),
      () => writeFileSync(join(folder, "helpers/sum.ts"), ""),
      () => cpSync(join(folder, "run.ts"), join(folder, "helpers/sum.ts")),
      () => rmSync(join(folder, "helpers"), { recursive: true }),
      () => writeFileSync(join(folder, "operator.json"), "{}"),
    ]) {
      const changed = next();
      change();
      await changed;
    }
    expect(names).toEqual(["run.ts", "helpers/sum.ts", "helpers/sum.ts", "helpers/sum.ts", "operator.json"]);
  });
});
