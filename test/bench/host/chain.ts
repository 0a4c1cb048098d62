import { type ChildProcess, fork } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { findOperators } from "../../../src/cli/installed-operators.ts";
import { applySettings } from "../../../src/cli/settings.ts";
import type { RuntimePipeline } from "../../../src/spec/expand-pipeline.ts";
import { expandPipeline, parsePipeline } from "../../../src/spec/pipeline.ts";
import { deploy, type LogLine, type OperatorProcess } from "../../integration/support/deployment.ts";
import { startBackend } from "../../integration/support/interactem-backend.ts";
import { startNatsServer } from "../../integration/support/nats-server.ts";
import type { PeerCommand, PeerReplies } from "./protocol.ts";

const root = fileURLToPath(new URL("../../../", import.meta.url));
const labels = {
  source: "Counted Data Reader",
  partial: "Partial Center of Mass",
  reduce: "Reduce Center of Mass",
  plot: "Center of Mass xy",
};
const patienceMs = 60_000;

/** A process that sends or receives. */
export interface Peer {
  readonly pid: number;
  ask<Name extends PeerCommand["do"]>(
    command: Extract<PeerCommand, { readonly do: Name }>,
    patienceMs?: number,
  ): Promise<PeerReplies[Name]>;
}

export interface ChainPlan {
  /** Replicas of center-of-mass-partial. */
  readonly partials: number;
  /** Messages between two results of a center-of-mass-reduce behind them; null: no such operator. */
  readonly emitEvery: number | null;
  /** Whether the sink reads the numbers of messages, for which it has to look into each. */
  readonly numbered: boolean;
  /** Environment of the operators. */
  readonly env?: NodeJS.ProcessEnv;
}

/** Sender, operators and sink, each in its own process; sender and sink are also connected directly. */
export interface Chain {
  readonly sender: Peer;
  readonly sink: Peer;
  readonly operators: readonly OperatorProcess[];
  /** Ends the operators as a deployment does; their final counts. */
  stop(): Promise<readonly { readonly code: number | null; readonly counts: LogLine }[]>;
}

/** Runs `use` on a chain of its own, with NATS, and leaves nothing behind. */
export async function withChain<T>(plan: ChainPlan, use: (chain: Chain) => Promise<T>): Promise<T> {
  const cleanUp: (() => unknown)[] = [];
  try {
    const server = await startNatsServer();
    cleanUp.push(() => server.close());
    const backend = await startBackend(server);
    cleanUp.push(() => backend.close());
    const deployment = deploy(server, backend, await pipeline(plan));
    cleanUp.push(() => deployment.close());
    const sender = startPeer();
    cleanUp.push(() => sender.child.kill("SIGKILL"));
    const sink = startPeer();
    cleanUp.push(() => sink.child.kill("SIGKILL"));

    const starts = [labels.partial, ...(plan.emitEvery === null ? [] : [labels.reduce])].flatMap((label) =>
      deployment
        .views(label)
        .map((view) => deployment.start(view, runFile(label), { LOG_LEVEL: "INFO", ...plan.env })),
    );
    const operators = await Promise.all(starts);
    const source = deployment.view(labels.source).outputs[0]!;
    const endpoint = await sender.ask({ do: "listen", route: "operators" });
    const announce = () => deployment.announceOutput(source.id, Number(endpoint.split(":").at(-1)));
    await announce();
    // Again and again, as an operator does: values in the bucket live 30 s.
    const announcing = setInterval(() => void announce().catch(() => {}), 1000);
    cleanUp.push(() => clearInterval(announcing));
    const last = deployment.view(plan.emitEvery === null ? labels.reduce : labels.plot);
    for (const upstream of last.inputs.flatMap((port) => port.upstream)) {
      await sink.ask({
        do: "connect",
        route: "operators",
        address: await deployment.addressOf(upstream),
        numbered: plan.numbered,
      });
    }
    const direct = await sender.ask({ do: "listen", route: "direct" });
    await sink.ask({ do: "connect", route: "direct", address: direct, numbered: false });
    await Promise.all(operators.map((operator) => operator.status("running")));
    let stopping = false;
    const stop = async () => {
      stopping = true;
      const ends = [];
      // In the order of the messages: one whose reader goes at the same time cannot know what that has got.
      for (const operator of operators) ends.push(await operator.stop());
      return ends;
    };
    const ends = operators.map(async ({ exit, logs }) => {
      const code = await exit;
      if (!stopping) throw new Error(`an operator ended with ${code}: ${JSON.stringify(logs.at(-1))}`);
      return new Promise<never>(() => {});
    });
    return await Promise.race([use({ sender, sink, operators, stop }), ...ends]);
  } finally {
    for (const step of cleanUp.reverse()) await step();
  }
}

function runFile(label: string): string {
  const name = label === labels.partial ? "center-of-mass-partial" : "center-of-mass-reduce";
  return join(root, "operators", name, "run.ts");
}

/** The demo's pipeline up to what stands behind the operators that run. */
async function pipeline({ partials, emitEvery }: ChainPlan): Promise<RuntimePipeline> {
  const demo = parsePipeline(JSON.parse(readFileSync(join(root, "pipelines/center-of-mass.json"), "utf8")));
  const wanted = [labels.source, labels.partial, labels.reduce, ...(emitEvery === null ? [] : [labels.plot])];
  const operators = demo.operators
    .filter(({ label }) => wanted.includes(label))
    .map((operator) =>
      operator.label === labels.partial ? { ...operator, parallelism: partials } : operator,
    );
  const kept = new Set(operators.map(({ id }) => id));
  const ports = demo.ports.filter((port) => kept.has(port.canonical_operator_id));
  const ids = new Set(ports.map(({ id }) => id));
  const edges = demo.edges.filter((edge) => ids.has(edge.input_id) && ids.has(edge.output_id));
  const { folders } = await findOperators(undefined);
  const settings = [`center-of-mass-reduce.emit_every=${emitEvery ?? 0}`];
  const specs = folders.map(({ spec }) => spec);
  return expandPipeline(applySettings({ ...demo, operators, ports, edges }, settings, specs));
}

function startPeer(): Peer & { readonly child: ChildProcess } {
  const child = fork(join(root, "test/bench/host/peer.ts"), {
    execArgv: ["--import", "tsx"],
    serialization: "advanced",
  });
  return {
    child,
    pid: child.pid!,
    ask(command, patience = patienceMs) {
      return new Promise((resolve, reject) => {
        const fail = (what: string) =>
          settle(() => reject(new Error(`sender or sink, ${command.do}: ${what}`)));
        const onExit = (code: number | null) => fail(`process ended with ${code}`);
        const onMessage = ({ reply, error }: { reply: never; error?: string }) =>
          error === undefined ? settle(() => resolve(reply)) : fail(error);
        const timer = setTimeout(() => fail(`no reply within ${patience} ms`), patience);
        const settle = (how: () => void) => {
          clearTimeout(timer);
          child.off("exit", onExit).off("message", onMessage);
          how();
        };
        child.once("exit", onExit).once("message", onMessage);
        child.send(command);
      });
    },
  };
}
