import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect } from "vitest";
import { findOperators, loadOperators } from "../../../src/cli/installed-operators.ts";
import { applySettings } from "../../../src/cli/settings.ts";
import { readNpz } from "../../../src/distiller/npz.ts";
import { simulate } from "../../../src/distiller/simulate.ts";
import { runPipeline } from "../../../src/local/runner.ts";
import { type CanonicalPipeline, expandPipeline, parsePipeline } from "../../../src/spec/pipeline.ts";
import { type Deployment, deploy, type LogLine, type OperatorProcess } from "./deployment.ts";
import type { Backend } from "./interactem-backend.ts";
import type { NatsServer } from "./nats-server.ts";
import { fixture, operator } from "./single-operator.ts";

/** The chain of processes from its source to its sink; labels are those of the demo's pipeline. */
export const chain: readonly { readonly label: string; readonly runFile: string }[] = [
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

export interface DeployedDemo {
  readonly deployment: Deployment;
  /** Where the collector at its end leaves what it received; to be told in COLLECTOR_FOLDER. */
  readonly collected: string;
  /** Those of each label, in the order of the chain. */
  readonly processes: OperatorProcess[][];
}

/** The demo's pipeline over a small scan, with a collector at its end, and the result of a run in one process. */
export interface Demo {
  /** Deploys the pipeline without starting anything; it ends with `use`. */
  withDeployment(use: (deployed: DeployedDemo) => Promise<void>): Promise<void>;
  /** Has the source read the file. */
  readNow(deployment: Deployment): Promise<void>;
  /** Ends every process, source first, and checks that each message arrived everywhere and the array is the local one. */
  expectLocalResult(deployed: DeployedDemo): Promise<void>;
  close(): void;
}

export async function prepareDemo(server: NatsServer, backend: Backend, replicas: number): Promise<Demo> {
  const folder = mkdtempSync(join(tmpdir(), "stemline-demo-"));
  const scan = { scanShape: [48, 64] as [number, number], dose: 40, seed: 11, framesPerPosition: 2 };
  await simulate({ path: join(folder, "scan.h5"), ...scan });
  const local = await runLocally(folder, replicas);
  return {
    async withDeployment(use) {
      const pipeline = expandPipeline(await demoPipeline(folder, replicas, ["Center of Mass rtheta"]));
      const deployment = deploy(server, backend, pipeline, { mounts: { raw_data_dir: folder } });
      try {
        const collected = mkdtempSync(join(folder, "collected-"));
        await use({ deployment, collected, processes: chain.map(() => []) });
      } finally {
        await deployment.close();
      }
    },
    async readNow(deployment) {
      const reader = deployment.view(chain[0]!.label).operator;
      const reply = await backend.requestTrigger(reader.canonical_id, "read_now");
      expect(JSON.parse(reply)).toEqual({ status: "ok", message: "Trigger accepted" });
    },
    expectLocalResult: (deployed) => expectResult(deployed, local),
    close: () => rmSync(folder, { recursive: true, force: true }),
  };
}

/** The demo's pipeline without the operators that `drop` names, and with the test's file and replicas. */
async function demoPipeline(
  folder: string,
  replicas: number,
  drop: readonly string[],
): Promise<CanonicalPipeline> {
  const demo = parsePipeline(
    JSON.parse(
      readFileSync(fileURLToPath(new URL("../../../pipelines/center-of-mass.json", import.meta.url)), "utf8"),
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

async function runLocally(folder: string, replicas: number): Promise<LocalRun> {
  const { folders } = await findOperators(undefined);
  const out = mkdtempSync(join(folder, "local-"));
  const pipeline = await demoPipeline(folder, replicas, ["Center of Mass xy", "Center of Mass rtheta"]);
  const summary = await runPipeline(pipeline, { operators: await loadOperators(folders), out });
  expect(summary).toMatchObject({ outcome: "finished", files: [expect.stringMatching(/\.npz$/)] });
  const source = summary.operators.find(({ label }) => label === chain[0]!.label)!;
  return { com: comOf(readFileSync(summary.files[0]!)), messages: source.messagesOut };
}

function comOf(archive: Uint8Array): Float32Array {
  return readNpz(archive).com!.data as Float32Array;
}

async function expectResult({ processes, collected }: DeployedDemo, local: LocalRun): Promise<void> {
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
