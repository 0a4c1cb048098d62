/**
 * Programs that test/integration/addon-lifetime.test.ts runs in processes of their own, by name: each prints one line of
 * JSON, and a crash or an unexpected end is the test's to see. They need --expose-gc, and to be compiled: Node 20 runs no
 * TypeScript in workers, not even with the help of a loader.
 */
import { setImmediate as nextTurn, setTimeout as sleep } from "node:timers/promises";
import { Worker } from "node:worker_threads";
import type { MessageParts } from "../../../src/native/addon.ts";
import { backends } from "../../../src/native/backends.ts";
import { ComReducer, centerOfMassPartial } from "../../../src/native/kernels.ts";
import { loadAddon } from "../../../src/native/loader.ts";
import type { WorkerReport, WorkerTask } from "./lifetime-worker.ts";
import { largeMessage, randomMessage } from "./messages.ts";
import { sha256 } from "./results.ts";

const gc = globalThis.gc!;
const choice = {
  scanNumber: 4,
  scanShape: [32, 32],
  frameShape: [96, 64],
  framesPerPosition: 1,
  maxEvents: 40,
} as const;
// Two passes over 16 million events on the plain backend: far longer than the pauses below.
const slow = { backend: "scalar", cropTo: [100, 100] } as const;

const programs: Record<string, () => Promise<unknown>> = {
  /**
   * Inputs of the addon itself that only waiting jobs refer to. Through kernels.ts the closures of a call would keep them
   * alive as well.
   */
  async inputsOfWaitingJobs() {
    const addon = loadAddon();
    const reducer = new addon.ComReducer();
    const message = randomMessage({ ...choice, seed: 1 });
    const expected = await addon.centerOfMassPartial(message.meta, message.data, {});
    const size = message.meta.length;
    const large = largeMessage(2000, 8000);
    const hashes: string[] = [];
    for (let round = 0; round < 4; round++) {
      // All threads of libuv's pool are busy while the inputs of the jobs behind them become garbage.
      const busy = Array.from({ length: 6 }, () => centerOfMassPartial(large, slow));
      const waiting = [];
      for (let i = 0; i < 20; i++) {
        waiting.push(addon.centerOfMassPartial(message.meta.slice(), message.data.slice(), {}));
        waiting.push(
          reducer
            .add(expected.meta.view().slice(), expected.data.view().slice(), {})
            .then(([first]) => first!),
        );
        if (i % 5 === 4) gc();
      }
      const churn: Uint8Array[] = [];
      for (let i = 0; i < 40; i++) {
        await nextTurn();
        if (i % 8 === 0) gc();
        churn.push(new Uint8Array(i % 2 === 0 ? size : expected.data.byteLength).fill(0xee));
      }
      for (const { meta, data } of await Promise.all(waiting)) hashes.push(sha256(meta.view(), data.view()));
      await Promise.all(busy);
    }
    return { jobs: hashes.length, different: new Set(hashes).size };
  },

  /** Nothing but the job itself refers to its reducer or the other half of its result. */
  async garbageCollection() {
    const expected = await hashesOf(1);
    let wrong = 0;
    for (let round = 0; round < 30; round++) {
      const calls = Array.from({ length: 8 }, () => hashesOf(1));
      const churn: Uint8Array[] = [];
      while (churn.length < 20) {
        gc();
        // Freed inputs would be overwritten by these.
        churn.push(new Uint8Array(200_000).fill(0xee));
        await nextTurn();
      }
      for (const hashes of await Promise.all(calls)) if (hashes !== expected) wrong++;
    }
    return { wrong };
  },

  async workersAtOnce() {
    const message = randomMessage({ ...choice, seed: 2, framesPerPosition: 4 });
    const { meta, data } = await centerOfMassPartial(message, { cropTo: [20, 10] });
    const expected = sha256(meta, data);
    const reports = await Promise.all(
      Array.from({ length: 6 }, (_, i) => {
        const backend = backends().filter(({ supported }) => supported);
        return work({
          kind: "compute",
          message: i % 2 === 0 ? message : shared(message),
          options: { cropTo: [20, 10], backend: backend[i % backend.length]!.name },
          times: 40,
        });
      }),
    );
    return { expected, hashes: reports.flatMap(({ hashes }) => hashes) };
  },

  async terminateMidJob() {
    const message = shared(largeMessage(2000, 8000));
    const small = randomMessage({ ...choice, seed: 3 });
    const { data } = await centerOfMassPartial(small);
    const expected = sha256(data);
    const codes: number[] = [];
    let wrong = 0;
    for (let round = 0; round < 12; round++) {
      const worker = start({ kind: "compute", message, options: slow, times: 8, atOnce: true });
      await started(worker);
      await sleep(round);
      codes.push(await worker.terminate());
      const after = await centerOfMassPartial(small);
      if (sha256(after.data) !== expected) wrong++;
      gc();
    }
    return { codes, wrong };
  },

  async workerExitMidJob() {
    const message = shared(largeMessage(2000, 8000));
    const codes: number[] = [];
    for (let round = 0; round < 6; round++) {
      const worker = start({ kind: "exit", message, options: slow, afterMs: round });
      codes.push(await new Promise((resolve) => worker.once("exit", resolve)));
    }
    return { codes };
  },

  async workerExitWithSockets() {
    const codes: number[] = [];
    for (let round = 0; round < 6; round++) {
      const worker = start({ kind: "sockets", afterMs: 100 + 50 * round });
      codes.push(await new Promise((resolve) => worker.once("exit", resolve)));
    }
    return { codes };
  },

  /** Ends with code 7 while jobs run and others wait. */
  async exitMidJob() {
    const message = largeMessage(2000, 8000);
    for (let i = 0; i < 8; i++) centerOfMassPartial(message, slow).catch(() => undefined);
    await sleep(5);
    console.log("{}");
    process.exit(7);
  },

  /** Ends with code 8 before the event loop has turned once. */
  async exitAtOnce() {
    const message = randomMessage({ ...choice, seed: 1 });
    const reducer = new ComReducer();
    for (let i = 0; i < 50; i++) centerOfMassPartial(message).catch(() => undefined);
    reducer.flush().catch(() => undefined);
    console.log("{}");
    process.exit(8);
  },

  /** Ends with Node's code 1 for an uncaught exception while jobs run. */
  async throwMidJob() {
    const message = largeMessage(2000, 8000);
    for (let i = 0; i < 8; i++) centerOfMassPartial(message, slow).catch(() => undefined);
    await sleep(5);
    console.log("{}");
    setImmediate(() => {
      throw new Error("uncaught on purpose");
    });
    await sleep(60_000);
  },

  /** Ends by itself when the last job is done. */
  async endWithPendingJobs() {
    const message = randomMessage({ ...choice, seed: 1 });
    let settled = 0;
    const count = () => {
      settled++;
    };
    for (let i = 0; i < 20; i++) centerOfMassPartial(message).then(count, count);
    process.once("exit", () => console.log(JSON.stringify({ settled })));
    return undefined;
  },

  async manyWorkers() {
    const message = randomMessage({ ...choice, seed: 6 });
    const hashes = new Set<string>();
    const task: WorkerTask = { kind: "compute", message, options: {}, times: 2 };
    const rounds = async (count: number) => {
      for (let round = 0; round < count; round++) {
        const reports = await Promise.all([work(task), work(task), work(task)]);
        for (const report of reports) for (const hash of report.hashes) hashes.add(hash);
      }
      gc();
    };
    await rounds(8);
    const before = process.memoryUsage.rss();
    await rounds(24);
    return { hashes: hashes.size, growthMb: (process.memoryUsage.rss() - before) / 2 ** 20 };
  },

  /** Outputs made in a worker, posted and, where Node allows it, transferred, outlive that worker. */
  async resultsOfWorker() {
    const message = randomMessage({ ...choice, seed: 7 });
    const { meta, data } = await centerOfMassPartial(message);
    const expected = sha256(meta, data);
    const kept: { way: string; parts: MessageParts }[] = [];
    const transfers: string[] = [];
    for (const kind of ["post", "transfer"] as const) {
      for (let i = 0; i < 5; i++) {
        const { results, transfer } = await work({ kind, message, options: {}, times: 3 });
        for (const parts of results) kept.push({ way: kind, parts });
        if (transfer !== undefined) transfers.push(transfer);
      }
    }
    for (let i = 0; i < 10; i++) {
      gc();
      await work({
        kind: "compute",
        message: randomMessage({ ...choice, seed: 100 + i }),
        options: {},
        times: 3,
      });
    }
    const wrong = kept.filter(({ parts }) => sha256(parts.meta, parts.data) !== expected);
    return { kept: kept.length, wrong: wrong.length, transfers: [...new Set(transfers)] };
  },

  memoryOfResults: () =>
    growth(async (i) => {
      const message = copies(i);
      await centerOfMassPartial(message, { cropTo: [20, 20] });
    }),

  memoryOfReducer: async () => {
    const reducer = new ComReducer();
    const parts: MessageParts[] = [];
    for (let i = 0; i < 6; i++) {
      parts.push(await centerOfMassPartial(randomMessage({ ...choice, scanNumber: i, seed: i })));
    }
    return await growth(async (i) => {
      const { meta, data } = parts[i % parts.length]!;
      // Scans complete, come anew and push each other out.
      await reducer.add({ meta: meta.slice(), data: data.slice() }, { includeHeaders: i % 2 === 0 });
    });
  },

  memoryOfFailures: () =>
    growth(async (i) => {
      const { meta, data } = copies(i);
      const bad = { meta: meta.subarray(0, meta.length - (i % 2)), data: data.subarray(1) };
      const codes = new Set<string>();
      const note = (error: { code: string }) => codes.add(error.code);
      await centerOfMassPartial(bad).catch(note);
      await centerOfMassPartial({ meta, data }, { signal: AbortSignal.abort() }).catch(note);
      const controller = new AbortController();
      const call = centerOfMassPartial({ meta, data }, { signal: controller.signal }).catch(() => undefined);
      controller.abort();
      await call;
      if (!codes.has(i % 2 === 0 ? "STEMLINE_BATCH_SIZE" : "STEMLINE_BATCH_TRUNCATED"))
        throw new Error([...codes].join());
    }),
};

let sample: MessageParts | undefined;

/** The same message in memory of its own. */
function copies(_i: number): MessageParts {
  sample ??= randomMessage({ ...choice, seed: 9 });
  return { meta: sample.meta.slice(), data: sample.data.slice() };
}

/** Memory of the process after a warm-up and after some thousand more calls. */
async function growth(call: (i: number) => Promise<void>): Promise<{ calls: number; growthMb: number }> {
  const calls = 3000;
  for (let i = 0; i < 600; i++) await call(i);
  gc();
  const before = process.memoryUsage.rss();
  for (let i = 0; i < calls; i++) await call(i);
  gc();
  return { calls, growthMb: (process.memoryUsage.rss() - before) / 2 ** 20 };
}

async function hashesOf(seed: number): Promise<string> {
  const partial = centerOfMassPartial(randomMessage({ ...choice, seed }), { cropTo: [20, 20] });
  const { meta, data } = await partial;
  const [com] = await new ComReducer().add({ meta, data }, { includeHeaders: true });
  // The rest of the results is garbage from here on.
  const { data: comData } = com!;
  await nextTurn();
  gc();
  return sha256(data, comData);
}

function shared({ meta, data }: MessageParts): MessageParts {
  const copy = (bytes: Uint8Array) => {
    const out = new Uint8Array(new SharedArrayBuffer(bytes.length));
    out.set(bytes);
    return out;
  };
  return { meta: copy(meta), data: copy(data) };
}

function start(workerData: WorkerTask): Worker {
  return new Worker(new URL("./lifetime-worker.js", import.meta.url), { workerData });
}

function started(worker: Worker): Promise<void> {
  return new Promise((resolve, reject) => {
    worker.once("message", () => resolve());
    worker.once("error", reject);
  });
}

/** Runs a task to the worker's end. */
function work(task: WorkerTask): Promise<WorkerReport> {
  return new Promise((resolve, reject) => {
    const worker = start(task);
    let report: WorkerReport | undefined;
    worker.on("message", (message: WorkerReport | "started") => {
      if (message !== "started") report = message;
    });
    worker.once("error", reject);
    worker.once("exit", (code) => {
      if (report !== undefined && code === 0) resolve(report);
      else reject(new Error(`worker ended with code ${code}`));
    });
  });
}

const [name] = process.argv.slice(2);
const result = await programs[name!]!();
if (result !== undefined) console.log(JSON.stringify(result));
