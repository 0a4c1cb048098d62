import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { beforeAll, expect, onTestFinished, test } from "vitest";
import type { Pull, Push } from "zeromq";
import { ComReducer } from "../../src/distiller/com-reducer.ts";
import { chainPipeline } from "../../src/local/chain.ts";
import type { MessageParts } from "../../src/native/addon.ts";
import { centerOfMassPartial, comPartialPositions } from "../../src/native/kernels.ts";
import { type OperatorSpec, parseOperatorSpec } from "../../src/spec/operator-spec.ts";
import { expandPipeline } from "../../src/spec/pipeline.ts";
import { encodeMessage } from "../../src/wire/header.ts";
import { bytesMessage } from "../../src/wire/message.ts";
import { batchMessage, randomFrames } from "../unit/native/messages.ts";
import { type Deployment, deploy, type OperatorProcess, until } from "./support/deployment.ts";
import type { Backend } from "./support/interactem-backend.ts";
import type { NatsServer } from "./support/nats-server.ts";
import { sharedNats } from "./support/shared-nats.ts";
import { metric, operator } from "./support/single-operator.ts";

let server: NatsServer;
let backend: Backend;
beforeAll(async () => {
  ({ server, backend } = await sharedNats());
});

const replicas = 2;
const scan = { scanNumber: 5, scanShape: [40, 50], frameShape: [300, 280] } as const;
const frames = randomFrames({ ...scan, seed: 3, framesPerPosition: 2, maxEvents: 12 });
/** A whole scan; all frames of a position are in one batch, since the order of headers is that of arrival. */
const batches = Array.from({ length: 12 }, (_, part) =>
  batchMessage(
    scan,
    frames.filter(({ position }) => position % 12 === part),
  ),
);
/** A batch of a scan that is never complete. */
const single = batchMessage({ ...scan, scanNumber: 99 }, frames.slice(0, 1));
const isClassic = (meta: Uint8Array) => Buffer.from(meta).toString().startsWith('{"scan_number":');
const isLane = (meta: Uint8Array) =>
  Buffer.from(meta).toString().startsWith(`{"format":"${comPartialPositions}"`);

function specOf(name: string, values: Readonly<Record<string, unknown>> = {}): OperatorSpec {
  const path = fileURLToPath(new URL(`../../operators/${name}/operator.json`, import.meta.url));
  const spec = parseOperatorSpec(JSON.parse(readFileSync(path, "utf8")));
  const parameters = spec.parameters!.map((parameter) => ({
    ...parameter,
    default: values[parameter.name] ?? parameter.default,
  }));
  return { ...spec, parameters } as OperatorSpec;
}

/** What the same batches come to in the form that has the whole scan. */
async function classicResult(): Promise<MessageParts> {
  const reducer = new ComReducer();
  for (const batch of batches) {
    const options = { cropTo: [255, 255], initCenter: [255, 255] } as const;
    const partial = await centerOfMassPartial(batch, options);
    const [emission] = await reducer.add(partial, { emitEvery: 0, includeHeaders: true });
    if (emission !== undefined) return emission;
  }
  throw new Error("the scan is not complete");
}

interface Rig {
  readonly deployment: Deployment;
  readonly source: Push;
  /** Canonical id of the port `com_partial`, and the input ports that read it. */
  readonly readers: { readonly reduce: string; readonly foreign: string };
  start(name: "partial" | "reduce", env?: NodeJS.ProcessEnv): Promise<OperatorProcess[]>;
  send(message: MessageParts): Promise<void>;
  /** Sends batches until all these processes have said last that the fast lane is in this state. */
  laneBecomes(partials: readonly OperatorProcess[], state: string): Promise<void>;
}

/** Source, two partials, reduce and sink; with `foreign` another operator reads what the partials send. */
async function rig({ foreign = false } = {}): Promise<Rig> {
  const outside = (name: string, ports: Partial<OperatorSpec>): OperatorSpec => ({
    ...specOf("center-of-mass-plot"),
    label: name,
    image: `example.org/${name}`,
    inputs: null,
    outputs: null,
    parameters: null,
    ...ports,
  });
  const port = { name: "port", label: "Port", description: "", type: "any" };
  const chain = chainPipeline([
    outside("source", { outputs: [port] }),
    { ...specOf("center-of-mass-partial"), label: "partial" },
    { ...specOf("center-of-mass-reduce", { emit_every: 0, include_headers: true }), label: "reduce" },
    outside("sink", { inputs: [port] }),
  ]);
  const more = chainPipeline([outside("foreign", { inputs: [port] })]);
  const added = foreign ? more : { operators: [], ports: [] };
  const comPartial = chain.ports.find(({ portkey }) => portkey === "com_partial")!;
  const edges = added.ports.map(({ id }) => ({ input_id: comPartial.id, output_id: id }));
  const pipeline = expandPipeline({
    ...chain,
    operators: [...chain.operators, ...added.operators].map((entry) =>
      entry.label === "partial" ? { ...entry, parallelism: replicas } : entry,
    ),
    ports: [...chain.ports, ...added.ports],
    edges: [...chain.edges, ...edges],
  });
  const deployment = deploy(server, backend, pipeline);
  onTestFinished(() => deployment.close());
  const source = await deployment.bindOutput(deployment.view("source").outputs[0]!.id);
  const send = (message: MessageParts) =>
    source.send(encodeMessage(bytesMessage(message.meta, message.data)) as Uint8Array[]);
  return {
    deployment,
    source,
    readers: {
      reduce: deployment.view("reduce").inputs[0]!.id,
      foreign: foreign ? deployment.view("foreign").inputs[0]!.id : "",
    },
    async start(name, env = {}) {
      const processes = await Promise.all(
        deployment.views(name).map((view) =>
          deployment.start(view, operator(`center-of-mass-${name}`), {
            STEMLINE_METRICS_PORT: "0",
            ...env,
          }),
        ),
      );
      await Promise.all(processes.map((process) => process.logged("operator is running")));
      return processes;
    },
    send,
    async laneBecomes(partials, state) {
      const text = state === "on" ? "fast lane on" : `fast lane off: ${state}`;
      const last = ({ logs }: OperatorProcess) =>
        logs.findLast(({ msg }) => msg.startsWith("fast lane"))?.msg;
      await until(
        `the fast lane to become ${state}`,
        async () => {
          if (partials.every((process) => last(process) === text)) return true;
          await send(single);
          await sleep(50);
          return null;
        },
        () => `it is ${partials.map(last).join(", ")}`,
      );
    },
  };
}

/** Takes what comes, for ever. */
function collect(socket: Pull): Uint8Array[][] {
  const messages: Uint8Array[][] = [];
  void (async () => {
    for await (const parts of socket) messages.push(parts);
  })().catch(() => {});
  return messages;
}

/** The next messages of a collection, once there are so many more than before. */
async function next(messages: Uint8Array[][], count: number): Promise<Uint8Array[][]> {
  const before = messages.length;
  await until(`${count} messages`, () => (messages.length >= before + count ? true : null));
  return messages.slice(before);
}

const sum = async (processes: readonly OperatorProcess[], name: string) =>
  (await Promise.all(processes.map((process) => metric(process, name)))).reduce((a, b) => a + b, 0);

test("between our own operators the positions of each batch travel, and the result is that of the whole scans", async () => {
  const { deployment, readers, start, send, laneBecomes } = await rig();
  const [partials, [reduce]] = await Promise.all([start("partial"), start("reduce")]);
  const results = collect(await deployment.connectInput(deployment.view("sink").inputs[0]!.id));
  await laneBecomes(partials, "on");
  const value = JSON.parse((await backend.read("stat", `port.${readers.reduce}`))!);
  expect(value.accepts).toEqual([comPartialPositions]);
  for (const process of partials) {
    expect(await metric(process, "stemline_fast_lane_info", { state: "on" })).toBe(1);
    expect(await metric(process, "stemline_fast_lane_info")).toBe(1);
  }

  const before = await sum(partials, "stemline_bytes_sent_total");
  for (const batch of batches) await send(batch);
  await until("the result", () => (results.length > 0 ? true : null));
  const [, meta, data] = results[0]!;
  const expected = await classicResult();
  expect(Buffer.from(meta!).equals(expected.meta)).toBe(true);
  expect(Buffer.from(data!).equals(expected.data)).toBe(true);
  const bytes = (await sum(partials, "stemline_bytes_sent_total")) - before;
  // 36 bytes a frame at most, and a meta of less than 1,000 bytes a message.
  expect(bytes).toBeLessThan(36 * frames.length + 1000 * batches.length);

  for (const process of [...partials, reduce!]) {
    const { code, counts } = await process.stop();
    expect(code).toBe(0);
    expect(counts).toMatchObject({ rejected: 0, failed: 0, discarded: 0, unsentAtMost: 0 });
  }
});

test("a reader that does not say that it accepts them gets whole scans, and so does everyone else", async () => {
  const { deployment, readers, start, send, laneBecomes } = await rig({ foreign: true });
  const [partials] = await Promise.all([start("partial"), start("reduce")]);
  const results = collect(await deployment.connectInput(deployment.view("sink").inputs[0]!.id));
  const foreign = collect(await deployment.connectInput(readers.foreign));
  const value = { id: readers.foreign, canonical_id: readers.foreign, uri: null, status: "idle" };
  let accepts: readonly string[] | undefined;
  const put = () => backend.put("stat", `port.${readers.foreign}`, JSON.stringify({ ...value, accepts }));
  // Until it has put its key nobody knows what it is.
  await laneBecomes(partials, "unknown reader");
  await put();
  const timer = setInterval(() => void put().catch(() => {}), 300);
  onTestFinished(() => clearInterval(timer));
  await laneBecomes(partials, "not accepted");

  foreign.length = 0;
  for (const batch of batches) await send(batch);
  await until("the result", () => (results.length > 0 ? true : null));
  const [, meta, data] = results[0]!;
  const expected = await classicResult();
  expect(Buffer.from(meta!).equals(expected.meta)).toBe(true);
  expect(Buffer.from(data!).equals(expected.data)).toBe(true);
  await until("all partial results", () => (foreign.length >= batches.length ? true : null));
  expect(foreign.every(([, partialMeta]) => isClassic(partialMeta!))).toBe(true);

  // Another process takes its place, and again.
  accepts = [comPartialPositions];
  await laneBecomes(partials, "on");
  await send(single);
  const [lane] = await next(foreign, 1).then((messages) => messages.slice(-1));
  expect(isLane(lane![1]!)).toBe(true);
  accepts = undefined;
  await put();
  await laneBecomes(partials, "not accepted");
  const off = next(foreign, 2 * replicas);
  for (let i = 0; i < 2 * replicas; i += 1) await send(single);
  expect((await off).slice(-replicas).every(([, partialMeta]) => isClassic(partialMeta!))).toBe(true);
});

test("a reader that ends, or is killed, turns it off until it is back", async () => {
  const { deployment, readers, start, laneBecomes } = await rig();
  const [partials, [first]] = await Promise.all([start("partial"), start("reduce")]);
  collect(await deployment.connectInput(deployment.view("sink").inputs[0]!.id));
  await laneBecomes(partials, "on");
  expect((await first!.stop()).code).toBe(0);
  await laneBecomes(partials, "unknown reader");
  const [second] = await start("reduce");
  await laneBecomes(partials, "on");
  second!.child.kill("SIGKILL");
  await second!.exit;
  // Its key is still there.
  await sleep(5500);
  expect(await backend.read("stat", `port.${readers.reduce}`)).not.toBe(null);
  await laneBecomes(partials, "unknown reader");
  await start("reduce");
  await laneBecomes(partials, "on");
});

test.each(["partial", "reduce"] as const)("it can be switched off at the %s", async (where) => {
  const { deployment, readers, start, laneBecomes } = await rig();
  const environment = (name: string) => (name === where ? { STEMLINE_FAST_LANE: "off" } : {});
  const [partials] = await Promise.all([
    start("partial", environment("partial")),
    start("reduce", environment("reduce")),
  ]);
  collect(await deployment.connectInput(deployment.view("sink").inputs[0]!.id));
  await laneBecomes(partials, where === "partial" ? "switched off" : "not accepted");
  if (where === "partial") return;
  expect(JSON.parse((await backend.read("stat", `port.${readers.reduce}`))!)).not.toHaveProperty("accepts");
});
