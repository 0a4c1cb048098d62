import { type SpawnOptions, spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import ts from "typescript";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

const root = fileURLToPath(new URL("../../", import.meta.url));
const addon = process.env.STEMLINE_ADDON || join(root, "build", "Release", "stemline.node");
const program = "test/unit/native/lifetime-child.ts";

let compiled = "";

/** Compiles the program and all that it imports, file by file, so that workers can run it on Node 20. */
beforeAll(() => {
  mkdirSync(join(root, "build-test"), { recursive: true });
  compiled = mkdtempSync(join(root, "build-test", "lifetime-"));
  const files = [program];
  for (const file of files) {
    const source = readFileSync(join(root, file), "utf8");
    const { outputText } = ts.transpileModule(source, {
      compilerOptions: {
        module: ts.ModuleKind.ESNext,
        target: ts.ScriptTarget.ES2023,
        verbatimModuleSyntax: true,
        rewriteRelativeImportExtensions: true,
      },
    });
    const out = join(compiled, file.replace(/\.ts$/, ".js"));
    mkdirSync(dirname(out), { recursive: true });
    writeFileSync(out, outputText);
    for (const [, imported] of `${outputText}${source}`.matchAll(/["'](\.\.?\/[\w./-]+)\.js["']/g)) {
      const next = join(dirname(file), `${imported}.ts`);
      if (!files.includes(next)) files.push(next);
    }
  }
});
afterAll(() => rmSync(compiled, { recursive: true, force: true }));

interface End {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stderr: string;
  readonly report: Record<string, unknown>;
}

function run(name: string, options: SpawnOptions = {}): Promise<End> {
  return new Promise((resolve, reject) => {
    const child = spawn(
      process.execPath,
      ["--expose-gc", join(compiled, program.replace(/\.ts$/, ".js")), name],
      {
        ...options,
        env: { ...process.env, STEMLINE_ADDON: addon, ...options.env },
        stdio: ["ignore", "pipe", "pipe"],
      },
    );
    const text = { stdout: "", stderr: "" };
    child.stdout?.on("data", (chunk) => {
      text.stdout += chunk;
    });
    child.stderr?.on("data", (chunk) => {
      text.stderr += chunk;
    });
    child.once("error", reject);
    child.once("close", (code, signal) => {
      const [line] = text.stdout.split("\n");
      resolve({ code, signal, stderr: text.stderr, report: line ? JSON.parse(line) : {} });
    });
  });
}

/** The report of a program that must end well and silently. */
async function reportOf(name: string): Promise<Record<string, unknown>> {
  const { report, ...end } = await run(name);
  expect(end).toEqual({ code: 0, signal: null, stderr: "" });
  return report;
}

describe("garbage collection", () => {
  it("leaves alone the inputs of waiting jobs", async () => {
    // Two kinds of results, each the same in every job.
    expect(await reportOf("inputsOfWaitingJobs")).toEqual({ jobs: 160, different: 2 });
  });

  it("leaves alone what a running job uses", async () => {
    expect(await reportOf("garbageCollection")).toEqual({ wrong: 0 });
  });
});

describe("the end of a process", () => {
  it("comes with its own exit code while jobs run", async () => {
    expect(await run("exitMidJob")).toEqual({ code: 7, signal: null, stderr: "", report: {} });
  });

  it("comes with its own exit code before any job was started", async () => {
    expect(await run("exitAtOnce")).toEqual({ code: 8, signal: null, stderr: "", report: {} });
  });

  it("by an uncaught exception while jobs run is Node's", async () => {
    const { code, signal, stderr } = await run("throwMidJob");
    expect({ code, signal }).toEqual({ code: 1, signal: null });
    expect(stderr).toContain("uncaught on purpose");
  });

  it("waits for pending jobs otherwise", async () => {
    expect(await reportOf("endWithPendingJobs")).toEqual({ settled: 20 });
  });
});

describe("worker threads", () => {
  it("compute at once and get the same bytes", async () => {
    const { expected, hashes } = await reportOf("workersAtOnce");
    expect(hashes).toEqual(Array(240).fill(expected));
  });

  it("may be terminated while jobs run", async () => {
    expect(await reportOf("terminateMidJob")).toEqual({ codes: Array(12).fill(1), wrong: 0 });
  });

  it("may exit while jobs run", async () => {
    expect(await reportOf("workerExitMidJob")).toEqual({ codes: Array(6).fill(3) });
  });

  it("may exit while messages pass through their sockets", async () => {
    expect(await reportOf("workerExitWithSockets")).toEqual({ codes: Array(6).fill(3) });
  });

  it("leave results behind that outlive them", async () => {
    const { kept, wrong, transfers } = await reportOf("resultsOfWorker");
    expect({ kept, wrong }).toEqual({ kept: 30, wrong: 0 });
    // Memory from outside V8 cannot change hands; Node says so, or copies instead.
    expect([["DataCloneError"], ["transferred"]]).toContainEqual(transfers);
  });

  it("come and go in numbers", async () => {
    const { hashes, growthMb } = await reportOf("manyWorkers");
    expect(hashes).toBe(1);
    // A worker has some 5 MB of its own; 72 that stayed would show.
    expect(growthMb).toBeLessThan(sanitized ? 300 : 60);
  });
});

// A sanitizer keeps freed memory for a while and needs more for its own tables.
const sanitized = process.env.STEMLINE_SANITIZED === "1";

// 3000 calls take and give about 1 MB each: 3 GB, if they kept it. The collector's own ups and downs are below 60 MB.
describe.skipIf(sanitized).each(["memoryOfResults", "memoryOfReducer", "memoryOfFailures"])("%s", (name) => {
  it("does not grow", async () => {
    const { calls, growthMb } = await reportOf(name);
    expect(calls).toBe(3000);
    expect(growthMb).toBeLessThan(60);
  });
});
