import { type ChildProcess, spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { Pull, Push } from "zeromq";
import type { RuntimePipeline } from "../../../src/spec/expand-pipeline.ts";
import { type OperatorView, operatorView } from "../../../src/spec/runtime-pipeline.ts";
import type { Backend } from "./interactem-backend.ts";
import type { NatsServer } from "./nats-server.ts";

const root = fileURLToPath(new URL("../../../", import.meta.url));
const cli = join(root, "dist/cli/main.js");

const waitMs = 30_000;

/** One line of an operator's log. */
export interface LogLine {
  readonly level: string;
  readonly msg: string;
  readonly [field: string]: unknown;
}

/** The process of one operator, started as interactEM's agent does. */
export interface OperatorProcess {
  readonly id: string;
  readonly child: ChildProcess;
  readonly logs: readonly LogLine[];
  /** What was written to standard error, where nothing is expected. */
  readonly stderr: () => string;
  /** Exit code, or null after a signal that killed it. */
  readonly exit: Promise<number | null>;
  /** The first log line with this text in its message, also one that is already there. */
  logged(text: string): Promise<LogLine>;
  /** Resolves when the operator's status in the bucket is this one. */
  status(status: string): Promise<void>;
  /** Sends SIGTERM and returns the exit code and the counts of the last log line. */
  stop(): Promise<{ readonly code: number | null; readonly counts: LogLine }>;
}

/** A pipeline of which some operators are processes of ours, and others are played by the test. */
export interface Deployment {
  readonly pipeline: RuntimePipeline;
  /** The replicas with this label, as they see the pipeline. */
  views(label: string): readonly OperatorView[];
  view(label: string, replica?: number): OperatorView;
  /** Publishes the pipeline for an operator and starts its process. */
  start(view: OperatorView, runFile: string, env?: NodeJS.ProcessEnv): Promise<OperatorProcess>;
  /** The same in a container. */
  startContainer(view: OperatorView, container: ContainerOptions): Promise<OperatorProcess>;
  /** Starts the process without publishing the pipeline. */
  startUnpublished(view: OperatorView, runFile: string, env?: NodeJS.ProcessEnv): OperatorProcess;
  publish(view: OperatorView): Promise<void>;
  /** Plays an operator with an output port, as the Python operators do: binds it and puts its address. */
  bindOutput(portId: string, options?: PlayedOutputOptions): Promise<Push>;
  /** Puts the address of an output port that somebody has bound, as the Python operators do. */
  announceOutput(portId: string, tcpPort: number): Promise<void>;
  /** What an input port connects to, once the output port's address is known. */
  addressOf(portId: string): Promise<string>;
  /** Plays an operator with an input port: connects it to all upstream ports when they have an address. */
  connectInput(portId: string, options?: PlayedInputOptions): Promise<Pull>;
  /** Kills what still runs. */
  close(): Promise<void>;
}

/** A container that is started as interactEM's agent does: on the host's network, with credentials and folders mounted. */
export interface ContainerOptions {
  readonly engine: "docker" | "podman";
  readonly image: string;
  /** File of the server's credentials. */
  readonly credentials: string;
  /** Further folders and files by where they are mounted. */
  readonly mounts?: Readonly<Record<string, string>>;
}

export interface PlayedOutputOptions {
  /** TCP port; default any free one. */
  readonly tcpPort?: number;
  /** Messages that may wait for each peer; default ZeroMQ's 1000. */
  readonly queueMessages?: number;
}

export interface PlayedInputOptions {
  /** Messages that may wait to be received; default ZeroMQ's 1000. */
  readonly queueMessages?: number;
}

export interface DeploymentOptions {
  /** Folders by the name of the mount parameter. */
  readonly mounts?: Readonly<Record<string, string>>;
}

export function deploy(
  server: NatsServer,
  backend: Backend,
  pipeline: RuntimePipeline,
  { mounts = {} }: DeploymentOptions = {},
): Deployment {
  const folder = mkdtempSync(join(tmpdir(), "stemline-deployment-"));
  const mountFolder = join(folder, "mnt");
  mkdirSync(mountFolder);
  for (const [name, target] of Object.entries(mounts)) symlinkSync(target, join(mountFolder, name));
  const processes: OperatorProcess[] = [];
  const sockets: (Push | Pull)[] = [];
  const views = pipeline.operators.map((operator) => operatorView(pipeline, operator.id));

  /** What an agent tells every operator. */
  const environment = ({ operator }: OperatorView): Record<string, string> => ({
    ...server.environment,
    INTERACTEM_AGENT_ID: operator.id,
    ZMQ_BIND_HOSTNAME: "127.0.0.1",
    ZMQ_BIND_INTERFACE: "127.0.0.1",
    LOG_LEVEL: "DEBUG",
  });

  function launch(
    view: OperatorView,
    command: string,
    args: readonly string[],
    env: NodeJS.ProcessEnv,
  ): OperatorProcess {
    const child = spawn(command, args, {
      // Not in the repository, whose tsconfig.json has tsx take "stemline" from src: a second copy of what dist holds.
      cwd: folder,
      env: { ...process.env, ...env },
      stdio: ["ignore", "pipe", "pipe"],
    });
    const started = operatorProcess(view.operator.id, child, backend);
    processes.push(started);
    return started;
  }

  function startUnpublished(
    view: OperatorView,
    runFile: string,
    env: NodeJS.ProcessEnv = {},
  ): OperatorProcess {
    const { execPath } = process;
    const all = { ...environment(view), STEMLINE_MOUNT_DIR: mountFolder, ...env };
    return launch(view, execPath, [cli, "operator", "start", runFile], all);
  }

  function startContainer(
    view: OperatorView,
    { engine, image, credentials, mounts = {} }: ContainerOptions,
  ): OperatorProcess {
    const inside = "/operator.creds";
    const variables = Object.entries({ ...environment(view), NATS_CREDS_FILE: inside });
    const volumes = Object.entries({ ...mounts, [inside]: credentials });
    const args = [
      ...["run", "--rm", "--read-only", "--network=host", `--name=operator-${view.operator.id}`],
      ...variables.flatMap(([name, value]) => ["--env", `${name}=${value}`]),
      ...volumes.flatMap(([target, source]) => ["--volume", `${source}:${target}`]),
      image,
    ];
    return launch(view, engine, args, {});
  }

  const publish = ({ operator }: OperatorView) => backend.publishPipeline(operator.id, pipeline);

  async function announceOutput(portId: string, tcpPort: number): Promise<void> {
    const port = pipeline.ports.find(({ id }) => id === portId)!;
    const address = `tcp://?hostname=127.0.0.1&interface=127.0.0.1&port=${tcpPort}`;
    const uri = {
      id: portId,
      location: "port",
      hostname: "127.0.0.1",
      comm_backend: "zmq",
      query: { address: [address] },
    };
    const value = { id: portId, canonical_id: port.canonical_id, uri, status: "idle" };
    await backend.put("stat", `port.${portId}`, JSON.stringify(value));
  }

  async function addressOf(portId: string): Promise<string> {
    const text = await until(`address of port ${portId}`, () => backend.read("stat", `port.${portId}`));
    const query = new URLSearchParams(new URL(JSON.parse(text).uri.query.address[0]).search);
    return `tcp://${query.get("hostname")}:${query.get("port")}`;
  }

  return {
    pipeline,
    views: (label) => views.filter(({ operator }) => operator.label === label),
    view(label, replica = 0) {
      const found = views.filter(({ operator }) => operator.label === label)[replica];
      if (found === undefined) throw new Error(`the pipeline has no ${label} ${replica}`);
      return found;
    },
    async start(view, runFile, env) {
      await publish(view);
      return startUnpublished(view, runFile, env);
    },
    async startContainer(view, container) {
      await publish(view);
      return startContainer(view, container);
    },
    startUnpublished,
    publish,
    async bindOutput(portId, { tcpPort = 0, queueMessages = 1000 } = {}) {
      const socket = new Push({ linger: 0, sendHighWaterMark: queueMessages });
      sockets.push(socket);
      await socket.bind(`tcp://127.0.0.1:${tcpPort}`);
      await announceOutput(portId, Number(socket.lastEndpoint!.split(":").at(-1)));
      return socket;
    },
    announceOutput,
    addressOf,
    async connectInput(portId, { queueMessages = 1000 } = {}) {
      const socket = new Pull({ linger: 0, receiveHighWaterMark: queueMessages });
      sockets.push(socket);
      const upstream = pipeline.edges.filter((edge) => edge.output_id === portId);
      for (const { input_id: id } of upstream) socket.connect(await addressOf(id));
      return socket;
    },
    async close() {
      for (const socket of sockets) socket.close();
      for (const { child } of processes) child.kill("SIGKILL");
      await Promise.all(processes.map(({ exit }) => exit));
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

function operatorProcess(id: string, child: ChildProcess, backend: Backend): OperatorProcess {
  const logs: LogLine[] = [];
  let rest = "";
  let errors = "";
  child.stdout!.setEncoding("utf8").on("data", (chunk: string) => {
    const lines = (rest + chunk).split("\n");
    rest = lines.pop()!;
    for (const line of lines) logs.push(JSON.parse(line) as LogLine);
  });
  child.stderr!.setEncoding("utf8").on("data", (chunk: string) => {
    errors += chunk;
  });
  const exit = new Promise<number | null>((resolve) => child.on("close", resolve));
  const describe = () =>
    `the operator; its log ends with\n${logs
      .slice(-8)
      .map((line) => JSON.stringify(line))
      .join("\n")}\n${errors}`;
  const logged = (text: string) =>
    until(`"${text}" from ${describe()}`, () => logs.find(({ msg }) => msg.includes(text)) ?? null, describe);
  return {
    id,
    child,
    logs,
    stderr: () => errors,
    exit,
    logged,
    async status(status) {
      await until(
        `status ${status}`,
        async () => {
          const value = await backend.read("stat", `op.${id}`);
          return value !== null && JSON.parse(value).status === status ? value : null;
        },
        describe,
      );
    },
    async stop() {
      child.kill("SIGTERM");
      const code = await exit;
      return { code, counts: logs.findLast(({ msg }) => msg.startsWith("stopped"))! };
    },
  };
}

/** Asks again and again until there is an answer; fails after 30 s. */
export async function until<T>(
  what: string,
  ask: () => T | null | Promise<T | null>,
  describe: () => string = () => "",
): Promise<T> {
  const deadline = performance.now() + waitMs;
  for (;;) {
    const answer = await ask();
    if (answer !== null) return answer;
    if (performance.now() > deadline)
      throw new Error(`waited ${waitMs} ms in vain for ${what}\n${describe()}`);
    await sleep(20);
  }
}
