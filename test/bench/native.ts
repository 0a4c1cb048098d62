import { execFile, spawn, spawnSync } from "node:child_process";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { BenchError } from "./errors.ts";
import type { Samples } from "./figures.ts";

export const root = fileURLToPath(new URL("../../", import.meta.url));
const folder = "build-bench";
const run = promisify(execFile);
type Program = "stemline_bench" | "stemline_bench_inputs" | "stemline_instructions";

/** What Google Benchmark writes as JSON, as far as we read it. */
interface Report {
  readonly context: Readonly<Record<string, unknown>>;
  readonly benchmarks: readonly {
    readonly name: string;
    readonly run_type: "iteration" | "aggregate";
    readonly real_time: number;
    readonly time_unit: "ns";
    readonly frames?: number;
    readonly events?: number;
    readonly bytes?: number;
  }[];
}

/** Facts that the native program tells of the machine and of itself. */
const factNames = [
  ...["cpu", "cores", "caches", "system", "hugePages", "loadAverage"],
  ...["compiler", "build", "flags", "backends", "streamReadBy"],
] as const;
export type Facts = Readonly<Record<(typeof factNames)[number], string>>;

/** Builds programs for release. Others may want to build in the same folder at the same time. */
export async function buildNative(...programs: readonly Program[]): Promise<void> {
  mkdirSync(join(root, folder), { recursive: true });
  for (const step of [
    ["-S", ".", "-B", folder, "-DCMAKE_BUILD_TYPE=Release"],
    ["--build", folder, "--parallel", "2", "--target", ...programs],
  ]) {
    const { stdout } = await run("flock", [folder, "cmake", ...step], { cwd: root }).catch((error) => {
      throw new BenchError(
        `cmake ${step.join(" ")} failed:\n${error.stdout ?? ""}${error.stderr ?? error.message}`,
      );
    });
    if (stdout.includes("Google Benchmark is missing") && programs.includes("stemline_bench"))
      throw new BenchError(
        "Google Benchmark is missing: make tools, or as root apt-get install libbenchmark-dev",
      );
  }
}

export function programPath(program: Program): string {
  return `${folder}/test/bench/native/${program}`;
}

export function nativeNames(): string[] {
  const list = ["--benchmark_list_tests"];
  const { stdout } = spawnSync(programPath("stemline_bench"), list, { cwd: root, encoding: "utf8" });
  return stdout.trim().split("\n");
}

/** Writes the messages of these keys into a folder. */
export async function writeInputs(keys: readonly string[], into: string): Promise<void> {
  if (keys.length > 0) await output(programPath("stemline_bench_inputs"), [into, ...keys]);
}

/** Repetitions of different benchmarks follow each other in random order. */
export async function runNative(
  names: readonly string[],
  { repetitions, seconds }: { readonly repetitions: number; readonly seconds: number },
): Promise<{ readonly facts: Facts; readonly samples: Samples[] }> {
  const text = await output(programPath("stemline_bench"), [
    `--benchmark_filter=^(${names.map(escapeRegExp).join("|")})$`,
    "--benchmark_format=json",
    "--benchmark_enable_random_interleaving=true",
    `--benchmark_repetitions=${repetitions}`,
    `--benchmark_min_time=${seconds / repetitions}`,
  ]);
  const { context, benchmarks } = JSON.parse(text) as Report;
  const facts = Object.fromEntries(factNames.map((name) => [name, String(context[name])])) as Facts;
  const samples = benchmarks
    .filter((run) => run.run_type === "iteration")
    .map(({ name, real_time, frames = 0, events = 0, bytes = 0 }) => ({
      ...{ name, seconds: [real_time * 1e-9], frames, events, bytes },
    }));
  return { facts, samples };
}

/** Standard output of a program that has to end well. */
export function output(
  command: string,
  args: readonly string[],
  env: NodeJS.ProcessEnv = process.env,
): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { cwd: root, env, stdio: ["ignore", "pipe", "pipe"] });
    let out = "";
    let complaints = "";
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      out += text;
    });
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      complaints += text;
    });
    child.on("error", (error) => reject(new BenchError(`${command} could not be started: ${error.message}`)));
    child.on("close", (code, signal) => {
      if (code === 0) resolve(out);
      else reject(new BenchError(`${command} ended with ${signal ?? code}: ${complaints.trim()}`));
    });
  });
}

function escapeRegExp(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
}
