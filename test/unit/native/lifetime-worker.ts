/** The worker thread of lifetime-child.ts. */
import { parentPort, workerData } from "node:worker_threads";
import { ZmqSocket } from "../../../src/host/zmq-socket.ts";
import type { MessageParts } from "../../../src/native/addon.ts";
import { type CenterOfMassPartialOptions, centerOfMassPartial } from "../../../src/native/kernels.ts";
import { viewOf } from "../../../src/wire/bytes.ts";
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
  /** Ends the thread while messages pass through its sockets. */
  | { readonly kind: "sockets"; readonly afterMs: number }
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

if (task.kind === "sockets") await sendAround(task.afterMs);
else await computeFor(task);

/** Messages of 1 MB through a pair of sockets until the end, half of them looked at. */
async function sendAround(afterMs: number): Promise<void> {
  const output = new ZmqSocket("tcp://127.0.0.1:*", { pulls: false, highWaterMark: 2, ipv6: false }, {});
  const input = new ZmqSocket(output.endpoint, { pulls: true, highWaterMark: 2, ipv6: false }, {});
  setTimeout(() => process.exit(3), afterMs);
  const data = new Uint8Array(1e6);
  void (async () => {
    for (;;) await output.send([data, data]);
  })();
  for (let count = 0; ; count += 1) {
    const parts = await input.receive();
    if (count % 2 === 0) viewOf(parts![0]!);
  }
}

async function computeFor(task: Exclude<WorkerTask, { readonly kind: "sockets" }>): Promise<void> {
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
}
