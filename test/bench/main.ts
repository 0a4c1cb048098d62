// `npm run bench`: speed of the native core, through Node, in plain JavaScript and with NumPy, beside the machine's limits. See
// docs/benchmarks.md.
import { spawnSync } from "node:child_process";
import { closeSync, mkdtempSync, openSync, rmSync, writeFileSync } from "node:fs";
import { loadavg, tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { StemlineError } from "../../src/errors.ts";
import { defaultBackend } from "../../src/native/backends.ts";
import { BenchError } from "./errors.ts";
import { type Figure, figuresOf, joinRounds, noisySpread, type Samples } from "./figures.ts";
import { hostNames } from "./host/cases.ts";
import { choose, operationOf } from "./names.ts";
import { buildNative, type Facts, nativeNames, output, root, runNative, writeInputs } from "./native.ts";
import { nodeCases } from "./node-cases.ts";
import { findPython, numpyInputs, type Python, writeReplies } from "./numpy.ts";
import { type MachineRecord, reportPage } from "./report.ts";
import { figureTables, plainText, targetTable } from "./tables.ts";
import { verdicts } from "./targets.ts";

const usage = `npm run bench -- [--filter REGEX] [--all] [--seconds S] [--json] [--report FILE.html]
  --filter REGEX  only benchmarks whose name matches, what they are compared with, and the machine's limits
  --all           also other shapes (shape/...) and operator processes (host/...)
  --seconds S     measuring time of each figure, default 0.2
  --json          a line for the machine, then one for each figure
  --report FILE   writes a page with plots and tables`;

/** Of what runs in one process; more are spread over rounds in which each process takes its turn. */
const repetitions = 9;
const rounds = 3;

const settings = readSettings();
process.stdout.on("error", ({ code }: NodeJS.ErrnoException) => process.exit(code === "EPIPE" ? 141 : 1));
try {
  await main();
} catch (error) {
  if (!(error instanceof BenchError || error instanceof StemlineError)) throw error;
  console.error(error.message);
  process.exitCode = 1;
}

async function main(): Promise<void> {
  const loadBefore = loadavg()[0]!;
  // Also tells of a missing addon before anything is measured.
  const backend = defaultBackend();
  await buildNative("stemline_bench", "stemline_bench_inputs");
  const python = findPython();
  const sources = {
    native: nativeNames(),
    node: [...nodeCases.keys()],
    numpy: "why" in python ? [] : [...numpyInputs.keys()],
    host: hostNames,
  };
  const all = Object.values(sources).flat();
  const chosen = choose(all, settings.filter, settings.all);
  if (!chosen.some((name) => settings.filter?.test(name) ?? true))
    throw new BenchError(`--filter: no benchmark matches ${settings.filter}`);
  const of = (source: keyof typeof sources, names: readonly string[]) =>
    names.filter((name) => sources[source].includes(name));

  const folder = mkdtempSync(join(tmpdir(), "stemline-bench-"));
  const samples: Samples[] = [];
  const hostFigures: Figure[] = [];
  let facts: Facts | undefined;
  try {
    await makeInputs(folder, of("node", chosen), of("numpy", chosen));
    for (const section of sectionsOf(chosen)) {
      console.error(`measuring ${section.title}: ${section.names.length} figures`);
      const [native, node, numpy] = [
        of("native", section.names),
        of("node", section.names),
        of("numpy", section.names),
      ];
      const processes = [native, node, numpy].filter(({ length }) => length > 0).length;
      const turns = processes > 1 ? rounds : 1;
      const seconds = settings.seconds / turns;
      for (let turn = 0; turn < turns; turn++) {
        if (native.length > 0) {
          const run = await runNative(native, { repetitions: repetitions / turns, seconds });
          facts ??= run.facts;
          samples.push(...run.samples);
        }
        if (node.length > 0) samples.push(...(await runNode(node, folder, seconds)));
        if (numpy.length > 0) samples.push(...(await runPython(python, numpy, folder, seconds)));
      }
      const host = of("host", section.names);
      if (host.length > 0) hostFigures.push(...(await runHost(host)));
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
  const measured = [...figuresOf(joinRounds(samples)), ...hostFigures];
  const figures = all.flatMap((name) => measured.find((figure) => figure.name === name) ?? []);
  const machine = machineRecord({ facts: facts!, backend, python, figures, loadBefore });

  if (settings.json) {
    console.log(JSON.stringify({ machine }));
    for (const figure of figures) console.log(JSON.stringify(figure));
  } else {
    for (const [name, value] of Object.entries(machine)) console.log(`${name.padEnd(13)} ${value}`);
    for (const table of [...figureTables(figures), targetTable(verdicts(figures))])
      console.log(`\n${plainText(table)}`);
  }
  if (settings.report !== undefined)
    writeFileSync(settings.report, reportPage(machine, figures, verdicts(figures)));
  warnOfNoise(figures);
}

interface Section {
  readonly title: string;
  readonly names: readonly string[];
}

/** What is measured together: the limits first, and no more at a time than memory holds and ratios need. */
function sectionsOf(names: readonly string[]): Section[] {
  const titleOf = (name: string) => {
    const operation = operationOf(name);
    if (operation === "com") return `com/.../${name.split("/").at(-1)}`;
    return ["decode", "encode", "npz", "crc"].includes(operation) ? "decode, encode, npz, crc" : operation;
  };
  const titles = new Set(["limit", ...names.map(titleOf)]);
  return [...titles].map((title) => ({ title, names: names.filter((name) => titleOf(name) === title) }));
}

async function makeInputs(folder: string, node: readonly string[], numpy: readonly string[]): Promise<void> {
  const forNumpy = numpy.map((name) => numpyInputs.get(name)!);
  const keys = new Set([...node.flatMap((name) => nodeCases.get(name)!.inputs), ...forNumpy]);
  await writeInputs([...keys], folder);
  await writeReplies(folder, [...new Set(forNumpy)]);
}

async function runNode(names: readonly string[], folder: string, seconds: number): Promise<Samples[]> {
  const script = ["--expose-gc", "--import", "tsx", "test/bench/node-bench.ts"];
  return jsonLines(await output(process.execPath, [...script, folder, String(seconds), ...names]));
}

async function runPython(
  python: Python,
  names: readonly string[],
  folder: string,
  seconds: number,
): Promise<Samples[]> {
  if ("why" in python) throw new BenchError(python.why);
  return jsonLines(
    await output(python.command, ["test/bench/numpy_reference.py", folder, String(seconds), ...names]),
  );
}

/** `names` are of whole cases: with each, the same with nothing between. */
async function runHost(names: readonly string[]): Promise<Figure[]> {
  const script = [
    "--import",
    "tsx",
    "test/bench/host/bench.ts",
    "--json",
    "--filter",
    `^(${names.join("|")})$`,
  ];
  return jsonLines(await output(process.execPath, script));
}

function jsonLines<Line>(text: string): Line[] {
  return text
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as Line);
}

function machineRecord({
  facts,
  backend,
  python,
  figures,
  loadBefore,
}: {
  readonly facts: Facts;
  readonly backend: string;
  readonly python: Python;
  readonly figures: readonly Figure[];
  readonly loadBefore: number;
}): MachineRecord {
  const clock = figures.find(({ name }) => name === "limit/clock")!.eventsPerSecond!;
  return {
    date: new Date().toISOString(),
    commit: commitText(),
    ...facts,
    loadAverage: `${loadBefore.toFixed(2)} before, ${loadavg()[0]!.toFixed(2)} after`,
    clock: `${(clock * 1e-9).toFixed(2)} GHz`,
    node: process.version,
    backend,
    numpy: "why" in python ? `left out: ${python.why}` : python.version,
    noisy: `${figures.filter(isNoisy).length} of ${figures.length} figures`,
  };
}

function commitText(): string {
  const git = (...args: string[]) => spawnSync("git", args, { cwd: root, encoding: "utf8" });
  const { status, stdout } = git("rev-parse", "--short", "HEAD");
  if (status !== 0) return "unknown";
  const changes = git("status", "--porcelain", "native", "src").stdout;
  return stdout.trim() + (changes === "" ? "" : ", with changes");
}

function isNoisy({ spread }: Figure): boolean {
  return spread > noisySpread;
}

function warnOfNoise(figures: readonly Figure[]): void {
  const noisy = figures.filter(isNoisy);
  if (noisy.length === 0) return;
  console.error(
    `Noisy: the median of ${noisy.length} of ${figures.length} figures is more than 10 % above the best (marked !). ` +
      "Close other work and run again.",
  );
}

function readSettings() {
  try {
    const { values } = parseArgs({
      options: {
        filter: { type: "string" },
        all: { type: "boolean", default: false },
        seconds: { type: "string", default: "0.2" },
        json: { type: "boolean", default: false },
        report: { type: "string" },
        help: { type: "boolean", default: false },
      },
    });
    if (values.help) {
      console.log(usage);
      process.exit(0);
    }
    const seconds = Number(values.seconds);
    if (!(seconds > 0)) throw new Error(`--seconds: expected a number above 0, got "${values.seconds}"`);
    // A page that cannot be written is told of before everything is measured.
    if (values.report !== undefined) closeSync(openSync(values.report, "a"));
    const filter = values.filter === undefined ? null : new RegExp(values.filter);
    return { ...values, seconds, filter };
  } catch (error) {
    console.error(`${error instanceof Error ? error.message : error}\n${usage}`);
    process.exit(2);
  }
}
