// Measures benchmarks of node-cases.ts and prints their samples, one a line. Started by main.ts:
//   node --expose-gc --import tsx test/bench/node-bench.ts FOLDER SECONDS NAME...
import { BenchError } from "./errors.ts";
import type { Samples } from "./figures.ts";
import { workOf } from "./names.ts";
import { nodeCases, type ReadyCase } from "./node-cases.ts";

const leastRounds = 3;

const [folder, seconds, ...names] = process.argv.slice(2);
try {
  for (const work of new Set(names.map(workOf))) await measure(names.filter((name) => workOf(name) === work));
} catch (error) {
  if (!(error instanceof BenchError)) throw error;
  console.error(error.message);
  process.exitCode = 1;
}

/** Checks, then times; benchmarks of the same work take turns, so that noise hits all of them alike. */
async function measure(same: readonly string[]): Promise<void> {
  const cases: { readonly name: string; readonly ready: ReadyCase; readonly times: number[] }[] = [];
  for (const name of same) {
    const ready = await nodeCases.get(name)!.make(folder!);
    await ready.run();
    try {
      ready.check();
    } catch (error) {
      throw new BenchError(`${name}: ${error instanceof Error ? error.message : error}`);
    }
    cases.push({ name, ready, times: [] });
  }
  const end = performance.now() + 1e3 * Number(seconds) * cases.length;
  for (let round = 0; round < leastRounds || performance.now() < end; round++) {
    for (const { ready, times } of cases) {
      // Untimed, as in C++: what ran before left its own data in the caches, and its garbage.
      await ready.run();
      globalThis.gc?.();
      const start = performance.now();
      await ready.run();
      times.push(((performance.now() - start) * 1e-3) / ready.times);
    }
  }
  for (const { name, ready, times } of cases) {
    const { frames, events, bytes } = ready;
    console.log(JSON.stringify({ name, seconds: times, frames, events, bytes } satisfies Samples));
    ready.end?.();
  }
}
