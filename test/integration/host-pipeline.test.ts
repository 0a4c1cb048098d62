import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, test } from "vitest";
import { findOperators, loadOperators } from "../../src/cli/installed-operators.ts";
import { applySettings } from "../../src/cli/settings.ts";
import { readNpz } from "../../src/distiller/npz.ts";
import { simulate } from "../../src/distiller/simulate.ts";
import { runPipeline } from "../../src/local/runner.ts";
import { type CanonicalPipeline, expandPipeline, parsePipeline } from "../../src/spec/pipeline.ts";
import { type Deployment, deploy, type LogLine, type OperatorProcess } from "./support/deployment.ts";
import { type Backend, startBackend } from "./support/interactem-backend.ts";
import { type NatsServer, startNatsServer } from "./support/nats-server.ts";
import { fixture, operator } from "./support/single-operator.ts";

const folder = mkdtempSync(join(tmpdir(), "stemline-host-"));
const replicas = 3;

/** The chain of processes from its source to its sink; labels are those of the demo's pipeline. */
const chain: readonly { readonly label: string; readonly runFile: string }[] = [
  { label: "Counted Data Reader", runFile: operator("distiller-counted-data-reader") },
  { label: "Partial Center of Mass", runFile: operator("center-of-mass-partial") },
  { label: "Reduce Center of Mass", runFile: operator("center-of-mass-reduce") },
  { label: "Center of Mass xy", runFile: fixture("collector") },
];

/** What a run of the same operators in one process gives. */
interface LocalRun {
  readonly com: Float32Array;
  /** Messages that its source sent. */
  readonly messages: number;
}

let server: NatsServer;
let backend: Backend;
let local: LocalRun;
beforeAll(async () => {
  server = await startNatsServer();
  backend = await startBackend(server);
  const scan = { scanShape: [48, 64] as [number, number], dose: 40, seed: 11, framesPerPosition: 2 };
  await simulate({ path: join(folder, "scan.h5"), ...scan });
  local = await runLocally();
});
afterAll(async () => {
  await backend.close();
  await server.close();
  rmSync(folder, { recursive: true, force: true });
});

/** The demo's pipeline without the operators that `drop` names, and with the test's file and replicas. */
async function demoPipeline(drop: readonly string[]): Promise<CanonicalPipeline> {
  const demo = parsePipeline(
    JSON.parse(
      readFileSync(fileURLToPath(new URL("../../pipelines/center-of-mass.json", import.meta.url)), "utf8"),
    ),
  );
  const operators = demo.operators.filter(({ label }) => !drop.includes(label));
  const kept = new Set(operators.map(({ id }) => id));
  const ports = demo.ports.filter((port) => kept.has(port.canonical_operator_id));
  const ids = new Set(ports.map(({ id }) => id));
  const { folders } = await findOperators(undefined);
  return applySettings(
    {
      ...demo,
      operators: operators.map((entry) => ({ ...entry, parallelism: replicas })),
      ports,
      edges: demo.edges.filter((edge) => ids.has(edge.output_id)),
    },
    [
      `distiller-counted-data-reader.raw_data_dir=${folder}`,
      "distiller-counted-data-reader.filename=scan.h5",
      "distiller-counted-data-reader.batch_size_mb=0.01",
      "center-of-mass-reduce.emit_every=0",
    ],
    folders.map(({ spec }) => spec),
  );
}

async function runLocally(): Promise<LocalRun> {
  const { folders } = await findOperators(undefined);
  const out = mkdtempSync(join(folder, "local-"));
  const pipeline = await demoPipeline(["Center of Mass xy", "Center of Mass rtheta"]);
  const summary = await runPipeline(pipeline, { operators: await loadOperators(folders), out });
  expect(summary).toMatchObject({ outcome: "finished", files: [expect.stringMatching(/\.npz$/)] });
  const source = summary.operators.find(({ label }) => label === chain[0]!.label)!;
  return { com: comOf(readFileSync(summary.files[0]!)), messages: source.messagesOut };
}

function comOf(archive: Uint8Array): Float32Array {
  return readNpz(archive).com!.data as Float32Array;
}

interface Deployed {
  readonly deployment: Deployment;
  readonly collected: string;
  /** Those of each label, in the order of the chain. */
  readonly processes: OperatorProcess[][];
}

async function withDeployment(use: (deployed: Deployed) => Promise<void>): Promise<void> {
  const pipeline = expandPipeline(await demoPipeline(["Center of Mass rtheta"]));
  const deployment = deploy(server, backend, pipeline, { mounts: { raw_data_dir: folder } });
  try {
    const collected = mkdtempSync(join(folder, "collected-"));
    await use({ deployment, collected, processes: chain.map(() => []) });
  } finally {
    await deployment.close();
  }
}

async function readNow(deployment: Deployment): Promise<void> {
  const reader = deployment.view(chain[0]!.label).operator;
  const reply = await backend.requestTrigger(reader.canonical_id, "read_now");
  expect(JSON.parse(reply)).toEqual({ status: "ok", message: "Trigger accepted" });
}

/** Ends every process, source first, and checks that each message arrived everywhere and the array is the local one. */
async function expectLocalResult({ processes, collected }: Deployed): Promise<void> {
  await processes[3]![0]!.logged("collected");
  const ends: { readonly code: number | null; readonly counts: LogLine }[][] = [];
  for (const replicasOfOne of processes) {
    ends.push(await Promise.all(replicasOfOne.map((process) => process.stop())));
  }
  const nothingLost = { rejected: 0, failed: 0, discarded: 0, unsentAtMost: 0 };
  for (const { code, counts } of ends.flat()) {
    expect(code).toBe(0);
    expect(counts).toMatchObject(nothingLost);
  }
  const total = (index: number, which: "received" | "sent") =>
    ends[index]!.reduce((sum, { counts }) => sum + (counts[which] as number), 0);
  expect(ends.map((_, index) => [total(index, "received"), total(index, "sent")])).toEqual([
    [0, local.messages],
    [local.messages, local.messages],
    [local.messages, 1],
    [1, 0],
  ]);
  expect(readdirSync(collected).sort()).toEqual(["0.data", "0.meta"]);
  expect(comOf(readFileSync(join(collected, "0.data")))).toEqual(local.com);
  expect(JSON.parse(readFileSync(join(collected, "0.meta"), "utf8"))).toMatchObject({ scan_shape: [48, 64] });
}

test("started at once, as an agent does, the processes give the array of the local run and lose nothing", async () => {
  await withDeployment(async (deployed) => {
    const { deployment, collected, processes } = deployed;
    const starts = chain.flatMap(({ label, runFile }, index) =>
      deployment.views(label).map(async (view) => {
        processes[index]!.push(await deployment.start(view, runFile, { COLLECTOR_FOLDER: collected }));
      }),
    );
    await Promise.all(starts);
    expect(processes.map(({ length }) => length)).toEqual([1, replicas, 1, 1]);
    await Promise.all(processes.flat().map((process) => process.status("running")));
    // So that the messages are shared among all replicas.
    await Promise.all(
      processes
        .slice(1)
        .flat()
        .map((process) => process.logged("connected")),
    );
    await readNow(deployment);
    await expectLocalResult(deployed);
    for (const { logs } of processes[1]!)
      expect(logs.findLast(({ msg }) => msg === "stopped")!.received).toBeGreaterThan(0);
  });
});

test("started from the sink on, with pipelines that come late and a trigger at once, they do so, too", async () => {
  await withDeployment(async (deployed) => {
    const { deployment, collected, processes } = deployed;
    for (const [index, { label, runFile }] of [...chain.entries()].reverse()) {
      for (const view of deployment.views(label)) {
        const process = deployment.startUnpublished(view, runFile, { COLLECTOR_FOLDER: collected });
        processes[index]!.push(process);
        await process.logged("Connected to NATS");
        await deployment.publish(view);
        // The next one upstream is not even started before this one waits for it.
        if (index > 0) await process.logged("waiting for the addresses of upstream ports");
      }
    }
    await processes[0]![0]!.status("running");
    await readNow(deployment);
    await expectLocalResult(deployed);
  });
});
