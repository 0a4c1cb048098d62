import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { onTestFinished } from "vitest";
import type { Pull, Push } from "zeromq";
import { expandPipeline, type RuntimePipeline } from "../../../src/spec/expand-pipeline.ts";
import { parsePipeline } from "../../../src/spec/pipeline.ts";
import type { OperatorView } from "../../../src/spec/runtime-pipeline.ts";
import {
  type Deployment,
  deploy,
  type LogLine,
  type OperatorProcess,
  type PlayedInputOptions,
  type PlayedOutputOptions,
  until,
} from "./deployment.ts";
import type { Backend } from "./interactem-backend.ts";
import type { NatsServer } from "./nats-server.ts";

const root = fileURLToPath(new URL("../../../", import.meta.url));

/** The run.ts of a fixture in `host-operators`. */
export const fixture = (name: string) => `${root}test/integration/fixtures/host-operators/${name}/run.ts`;

/** The run.ts of an operator of this repository. */
export const operator = (name: string) => `${root}operators/${name}/run.ts`;

/** Values of parameters by name; what a parameter of the pipeline is made from. */
export type ParameterSettings = Readonly<Record<string, number | boolean | string>>;

/** A pipeline of three: the operator under test, and a source and a sink that the test plays or runs as well. */
export interface SingleOperator {
  readonly deployment: Deployment;
  readonly view: OperatorView;
  readonly canonicalId: string;
  readonly inputId: string;
  readonly outputId: string;
  readonly upstreamId: string;
  /** Publishes the pipeline and starts the process; returns when it runs. */
  run(runFile?: string, env?: NodeJS.ProcessEnv): Promise<OperatorProcess>;
  /** Publishes the pipeline and starts the process. */
  start(runFile?: string, env?: NodeJS.ProcessEnv): Promise<OperatorProcess>;
  /** Plays the source. */
  bindSource(options?: PlayedOutputOptions): Promise<Push>;
  /** Plays the sink. */
  connectSink(options?: PlayedInputOptions): Promise<Pull>;
  /** Texts of the errors in the operator's status. */
  errors(): Promise<string[]>;
  /** Keys of the operator and its ports that have a value. */
  keys(): Promise<string[]>;
}

/** Prepares such a pipeline, with ids of its own; everything ends with the test. */
export function singleOperator(
  server: NatsServer,
  backend: Backend,
  parameters: ParameterSettings = {},
): SingleOperator {
  const deployment = deploy(server, backend, chain(parameters));
  onTestFinished(() => deployment.close());
  const view = deployment.view("Operator");
  const [inputId, outputId] = [view.inputs[0]!.id, view.outputs[0]!.id];
  const upstreamId = view.inputs[0]!.upstream[0]!;
  const start = (runFile = fixture("scripted"), env: NodeJS.ProcessEnv = {}) =>
    deployment.start(view, runFile, { STEMLINE_METRICS_PORT: "0", ...env });
  return {
    deployment,
    view,
    canonicalId: view.operator.canonical_id,
    inputId,
    outputId,
    upstreamId,
    start,
    async run(runFile, env) {
      const process = await start(runFile, env);
      await process.logged("operator is running");
      return process;
    },
    bindSource: (options) => deployment.bindOutput(upstreamId, options),
    connectSink: (options) => deployment.connectInput(view.outputs[0]!.downstream[0]!, options),
    async errors() {
      const status = await backend.read("stat", `op.${view.operator.id}`);
      const value = JSON.parse(status ?? '{"error_messages":[]}') as {
        error_messages: { message: string }[];
      };
      return value.error_messages.map(({ message }) => message);
    },
    async keys() {
      const keys = [...(await backend.keys("stat")), ...(await backend.keys("met"))];
      return keys.filter((key) => [view.operator.id, inputId, outputId].some((id) => key.endsWith(id)));
    },
  };
}

/** Source, Operator and Sink in a row; the operator has a trigger `emit` and the given parameters. */
function chain(parameters: ParameterSettings): RuntimePipeline {
  const [source, middle, sink] = ["Source", "Operator", "Sink"].map((label) => ({
    id: randomUUID(),
    spec_id: randomUUID(),
    label,
    description: label,
    image: `example.org/${label.toLowerCase()}`,
  }));
  const port = (owner: { id: string }, port_type: string) => ({
    id: randomUUID(),
    port_type,
    canonical_operator_id: owner.id,
    portkey: port_type,
  });
  const ports = [
    port(source!, "output"),
    port(middle!, "input"),
    port(middle!, "output"),
    port(sink!, "input"),
  ];
  const [sourceOut, middleIn, middleOut, sinkIn] = ports.map(({ id }) => id);
  return expandPipeline(
    parsePipeline({
      id: randomUUID(),
      revision_id: 0,
      operators: [
        { ...source, outputs: [sourceOut] },
        {
          ...middle,
          inputs: [middleIn],
          outputs: [middleOut],
          parameters: Object.entries(parameters).map(([name, value]) => parameterSpec(name, value)),
          triggers: [{ name: "emit", label: "Emit" }],
        },
        { ...sink, inputs: [sinkIn] },
      ],
      ports,
      edges: [
        { input_id: sourceOut, output_id: middleIn },
        { input_id: middleOut, output_id: sinkIn },
      ],
    }),
  );
}

/** A text that looks like a path is a mount. */
function parameterSpec(name: string, value: number | boolean | string) {
  const types = { number: "int", boolean: "bool", string: "str" } as const;
  const type = String(value).startsWith("/") ? "mount" : types[typeof value as keyof typeof types];
  return { name, label: name, description: name, type, default: value, required: false };
}

/** Parts of a message as a Python operator sends it: meta is a dict. */
export function message(meta: object, data: Uint8Array = Uint8Array.of(7, 1)): (string | Uint8Array)[] {
  return [JSON.stringify({ subject: "bytes", meta, tracking: null }), data];
}

/** Sends messages with these numbers, each with the same further meta. */
export async function sendNumbers(socket: Push, numbers: Iterable<number>, more: object = {}): Promise<void> {
  for (const number of numbers) await socket.send(message({ number, ...more }));
}

/** Receives messages and returns their metas. */
export async function receiveMetas<Meta = { number: number; factor: number }>(
  socket: Pull,
  count: number,
): Promise<Meta[]> {
  const metas: Meta[] = [];
  while (metas.length < count) metas.push(await receiveMeta<Meta>(socket, count - metas.length));
  return metas;
}

async function receiveMeta<Meta>(socket: Pull, missing: number): Promise<Meta> {
  socket.receiveTimeout = 30_000;
  try {
    const [header] = await socket.receive();
    return JSON.parse(String(header)).meta as Meta;
  } catch (cause) {
    throw new Error(`${missing} messages did not come within 30 s`, { cause });
  }
}

export async function receiveNumbers(socket: Pull, count: number): Promise<number[]> {
  return (await receiveMetas(socket, count)).map(({ number }) => number);
}

/** Receives everything until `ended` has settled and no more comes; pauses after each message. */
export async function drainNumbers(socket: Pull, ended: Promise<unknown>, pauseMs = 0): Promise<number[]> {
  const numbers: number[] = [];
  let over = false;
  void ended.finally(() => {
    over = true;
  });
  socket.receiveTimeout = 500;
  for (;;) {
    const last = over;
    const parts = await socket.receive().catch(() => null);
    if (parts !== null) {
      numbers.push(JSON.parse(String(parts[0])).meta.number);
      if (pauseMs > 0) await sleep(pauseMs);
    } else if (last) {
      return numbers;
    }
  }
}

/** Numbers from `from` on, `count` of them. */
export function range(from: number, count: number): number[] {
  return Array.from({ length: count }, (_, index) => from + index);
}

/** A loop that sends numbered messages as fast as they are taken. */
export interface Flood {
  /** Messages that the socket has taken. */
  readonly sent: number;
  /** Closes the socket; what waits in its queue is lost. */
  stop(): Promise<void>;
}

export function flood(socket: Push, parts: (number: number) => (string | Uint8Array)[]): Flood {
  let sent = 0;
  const loop = (async () => {
    while (!socket.closed) {
      await socket.send(parts(sent)).catch(() => {});
      if (!socket.closed) sent += 1;
    }
  })();
  return {
    get sent() {
      return sent;
    },
    async stop() {
      socket.close();
      await loop;
    },
  };
}

/** Sum of the samples of one of the process's metrics that have these labels; 0 without one. */
export async function metric(
  process: OperatorProcess,
  name: string,
  labels: Readonly<Record<string, string>> = {},
): Promise<number> {
  const { port } = await process.logged("metrics are served");
  const text = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
  const wanted = Object.entries(labels).map(([label, value]) => `${label}="${value}"`);
  const samples = text
    .split("\n")
    .filter((line) => line.startsWith(`${name} `) || line.startsWith(`${name}{`))
    .filter((line) => wanted.every((label) => line.includes(label)));
  return samples.reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(" "))), 0);
}

/** Resolves when a metric has this value. */
export async function metricReaches(
  process: OperatorProcess,
  value: number,
  name: string,
  labels: Readonly<Record<string, string>> = {},
): Promise<void> {
  let last = Number.NaN;
  await until(
    `${name} ${JSON.stringify(labels)} to become ${value}`,
    async () => {
      last = await metric(process, name, labels);
      return last === value ? true : null;
    },
    () => `it is ${last}`,
  );
}

/** Resolves when the errors in the status are these. */
export async function errorsBecome(single: SingleOperator, expected: readonly RegExp[]): Promise<void> {
  let last: string[] = [];
  await until(
    `errors ${expected.join(", ") || "to be cleared"}`,
    async () => {
      last = await single.errors();
      const same =
        last.length === expected.length && expected.every((text, index) => text.test(last[index]!));
      return same ? true : null;
    },
    () => `they are ${JSON.stringify(last)}`,
  );
}

/** How a process ended. */
export interface End {
  readonly code: number | null;
  /** Counts of the line that says what became of the messages. */
  readonly counts: LogLine | undefined;
  /** The line that says why it ended, if it had to. */
  readonly fatal: LogLine | undefined;
  readonly teardowns: number;
  /** From the call of `endOf` on. */
  readonly tookMs: number;
}

/** Waits until a process has ended; with a signal, sends it before. */
export async function endOf(process: OperatorProcess, signal?: NodeJS.Signals): Promise<End> {
  const started = performance.now();
  if (signal !== undefined) process.child.kill(signal);
  const code = await process.exit;
  const { logs } = process;
  return {
    code,
    counts: logs.findLast(({ msg }) => msg.startsWith("stopped")),
    fatal: logs.findLast(({ level }) => level === "fatal"),
    teardowns: logs.filter(({ msg }) => msg === "teardown").length,
    tookMs: performance.now() - started,
  };
}

/** Everything that a process wrote, for what must not be there. */
export function outputOf({ logs, stderr }: OperatorProcess): string {
  return logs.map((line) => JSON.stringify(line)).join("\n") + stderr();
}
