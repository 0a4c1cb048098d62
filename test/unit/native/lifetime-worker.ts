/** The worker thread of lifetime-child.ts. */
import { parentPort, workerData } from "node:worker_threads";
import type { MessageParts } from "../../../src/native/addon.ts";
import { type CenterOfMassPartialOptions, centerOfMassPartial } from "../../../src/native/kernels.ts";
import { sha256 } from "./results.ts";

interface Work {
  readonly message: MessageParts;
  readonly options: CenterOfMassPartialOptions;
}

export type WorkerTask =
  /** Computes `times` times, one after another or all at once, and reports hashes. */
  | (Work & { readonly kind: "compute"; readonly times: number; readonly atOnce?: boolean })
  /** Computes `times` times and sends the results. */
  | (Work & { readonly kind: "post" | "transfer"; readonly times: number })
  /** Ends the thread while a job runs. */
  | (Work & { readonly kind: "exit"; readonly afterMs: number });

export interface WorkerReport {
  readonly hashes: readonly string[];
  readonly results: readonly MessageParts[];
  /** What came of transferring the results' memory: `transferred`, or the name of the error. */
  readonly transfer?: string;
}

const task: WorkerTask = workerData;
const port = parentPort!;
const compute = () => centerOfMassPartial(task.message, task.options);

if (task.kind === "exit") {
  for (let i = 0; i < 6; i++) compute().catch(() => undefined);
  setTimeout(() => process.exit(3), task.afterMs);
} else if (task.kind === "compute" && task.atOnce === true) {
  const calls = Array.from({ length: task.times }, compute);
  port.postMessage("started");
  await Promise.all(calls);
} else {
  const results: MessageParts[] = [];
  for (let i = 0; i < task.times; i++) {
    const { meta, data } = await compute();
    results.push({ meta, data });
  }
  const hashes = results.map(({ meta, data }) => sha256(meta, data));
  if (task.kind === "compute") {
    port.postMessage({ hashes, results: [] } satisfies WorkerReport);
  } else if (task.kind === "post") {
    port.postMessage({ hashes, results } satisfies WorkerReport);
  } else {
    const buffers = results.flatMap(({ meta, data }) => [
      meta.buffer as ArrayBuffer,
      data.buffer as ArrayBuffer,
    ]);
    try {
      port.postMessage({ hashes, results, transfer: "transferred" } satisfies WorkerReport, buffers);
    } catch (error) {
      const transfer = error instanceof Error ? error.name : String(error);
      port.postMessage({ hashes, results, transfer } satisfies WorkerReport);
    }
  }
}
