// Counts the instructions of fixed work with callgrind and compares them with baseline.json: repeatable where times are not.
//   npm run count-instructions [-- --record]
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { BenchError } from "../errors.ts";
import { buildNative, output, programPath } from "../native.ts";
import { type Baseline, compare, recordCommand, whyIncomparable } from "./gate.ts";

const usage = `npm run count-instructions [-- --record]
  --record  makes what is counted the new baseline`;

const cases = ["partial/none/10", "partial/own-box/100", "reduce/json"];
/** Those that callgrind can run: it knows no AVX-512. */
const backends = ["avx2", "scalar"];

/** Where the stack begins depends on the size of the environment, and with it how the C library compares strings. */
const environment = { PATH: "/usr/local/bin:/usr/bin:/bin", LD_BIND_NOW: "1" };

const baselineFile = new URL("baseline.json", import.meta.url);

try {
  await main(readSettings());
} catch (error) {
  if (!(error instanceof BenchError)) throw error;
  console.error(error.message);
  process.exitCode = 1;
}

async function main({ record }: { readonly record: boolean }): Promise<void> {
  const valgrind = valgrindVersion();
  if (process.arch !== "x64" || valgrind === undefined) {
    const why = process.arch === "x64" ? "valgrind is missing (make tools)" : "the baseline is of x64";
    return skip(why);
  }
  await buildNative("stemline_instructions");
  const counts: Record<string, number> = {};
  let compiler = "";
  for (const name of cases) {
    for (const backend of backends) {
      const counted = await count(name, backend);
      counts[`${name}/${backend}`] = counted.instructions;
      compiler = counted.compiler;
    }
  }
  if (record) {
    const baseline: Baseline = { compiler, valgrind, counts };
    writeFileSync(baselineFile, `${JSON.stringify(baseline, null, 2)}\n`);
    console.log(`Recorded ${Object.keys(counts).length} counts.`);
    return;
  }
  const baseline = JSON.parse(readFileSync(baselineFile, "utf8")) as Baseline;
  const why = whyIncomparable(baseline, { compiler, valgrind });
  if (why !== "") return skip(why);
  const { lines, failed, recordable } = compare(baseline, counts);
  for (const line of lines) console.log(line);
  if (failed) throw new BenchError(`More instructions than before. If that is meant: ${recordCommand}`);
  if (recordable) console.log(`Fewer instructions than before. To hold it: ${recordCommand}`);
}

/** Counts differ between compilers; a machine with another one cannot tell. */
function skip(why: string): void {
  console.error(`SKIPPED instruction counts: ${why}`);
  if (process.env.CI === "true") process.exitCode = 1;
}

/** Callgrind shows programs the same CPU everywhere, so that the C library chooses the same routines. */
async function count(name: string, backend: string): Promise<{ instructions: number; compiler: string }> {
  const folder = mkdtempSync(join(tmpdir(), "stemline-callgrind-"));
  try {
    const file = join(folder, "callgrind.out");
    const tool = ["--tool=callgrind", "--toggle-collect=measured_call", `--callgrind-out-file=${file}`];
    const program = programPath("stemline_instructions");
    const counting = ["--quiet", ...tool, program, name, backend];
    const compiler = await output("valgrind", counting, environment);
    const [, instructions] = /^totals: (\d+)$/m.exec(readFileSync(file, "utf8")) ?? [];
    if (instructions === undefined || instructions === "0")
      throw new BenchError(`callgrind counted nothing of ${name}`);
    return { instructions: Number(instructions), compiler: compiler.trim() };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Undefined if there is none. */
function valgrindVersion(): string | undefined {
  const { status, stdout } = spawnSync("valgrind", ["--version"], { encoding: "utf8" });
  return status === 0 ? stdout.trim().replace(/^valgrind-/, "") : undefined;
}

function readSettings(): { record: boolean } {
  try {
    return parseArgs({ options: { record: { type: "boolean", default: false } } }).values;
  } catch (error) {
    console.error(`${error instanceof Error ? error.message : error}\n${usage}`);
    process.exit(2);
  }
}
