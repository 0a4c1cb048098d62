import { errorText, HostError, PipelineError } from "../errors.ts";
import { accelerationReport, defaultBackend, useReplica } from "../native/backends.ts";
import { acceptedFormats, type Operator, type OperatorContext } from "../operator/define-operator.ts";
import { maxFailuresInARow } from "../operator/run-result.ts";
import type { RuntimePipeline } from "../spec/expand-pipeline.ts";
import { type OperatorView, operatorView, parseRuntimePipeline } from "../spec/runtime-pipeline.ts";
import { parseJsonBytes } from "../wire/json.ts";
import type { Tracking } from "../wire/message.ts";
import { operatorMetricsJson, pipelineMetricsJson, portMetricsJson } from "../wire/metrics.ts";
import {
  inputPortStatusJson,
  type OperatorStatus,
  operatorStatusJson,
  outputPortStatusJson,
} from "../wire/status.ts";
import { operatorKey, portKey } from "../wire/subjects.ts";
import { watchAcceleration } from "./acceleration-watch.ts";
import type { HostConfig } from "./config.ts";
import type { ControlPlane, Subscription } from "./control-plane.ts";
import { Downstream } from "./downstream.ts";
import { Engine, type EnginePort, type PassageTimes } from "./engine.ts";
import { KeyValues } from "./key-values.ts";
import type { HostLog } from "./log.ts";
import type { Messenger, MessengerObserver } from "./messenger.ts";
import type { HostMetrics } from "./metrics.ts";
import { atMostEvery, within } from "./pace.ts";
import { exchangeParameters } from "./parameter-exchange.ts";
import { HostParameters } from "./parameters.ts";
import { answerTriggerRequests } from "./trigger-requests.ts";
import { Upstream } from "./upstream.ts";

export interface HostOptions {
  readonly config: HostConfig;
  readonly operator: Operator;
  readonly log: HostLog;
  readonly metrics: HostMetrics;
  /** Ends the operator in good order when aborted; a HostError as reason makes it a failure. */
  readonly stop: AbortSignal;
  /** Ends it at once. */
  readonly giveUp: AbortSignal;
  readonly connectControlPlane: (log: HostLog, stop: AbortSignal) => Promise<ControlPlane>;
  readonly createMessenger: (observer: MessengerObserver) => Messenger;
}

/** How a host ended, and what became of the messages. */
export interface HostReport {
  /** Why the operator had to end; null if it was asked to. */
  readonly failure: unknown;
  readonly gaveUp: boolean;
  readonly received: number;
  /** Sent messages, those to several ports once for each. */
  readonly sent: number;
  readonly rejected: number;
  readonly failed: number;
  /** Messages that were received, and calls of a source or trigger, that were given up unfinished. */
  readonly discarded: number;
  /** Upper bound for messages that were handed to the network's queues and may not have left. */
  readonly unsentAtMost: number;
}

/** Published at most so often; the list of a tracked message is a sample, and more of them tell no more. */
const pipelineMetricsPerSecond = 10;

/** After so long without a peer a port is not waited for any more at shutdown. */
const peerlessMs = 1000;

/** What is given up: how long to look for messages that have arrived, which are counted, and to remove keys. */
const countingMs = 500;
const leavingMs = 500;

/** Of messages that are refused and calls that fail, so many lines are written; all are counted. */
const errorLineMs = 1000;

/** What is said in a status must fit into a message with room to spare. */
const longestErrorText = 2000;

/**
 * Parts of the time for a shutdown at the end of which waiting for the connections of upstream ports that are gone, then
 * work, and after it the sending of what is queued must be over.
 */
const upstreamShare = 0.25;
const workShare = 0.75;
const flushShare = 0.9;

const stopped = Symbol("stopped");

/**
 * Runs one operator of a deployed pipeline, from connecting to NATS until it is stopped or fails. Never throws: what went
 * wrong is in the report.
 */
export function runHost(options: HostOptions): Promise<HostReport> {
  return new Host(options).run();
}

class Host {
  readonly #options: HostOptions;
  readonly #stop = new AbortController();
  /** Handed to operators; aborted when unfinished work is given up. */
  readonly #abandon = new AbortController();
  readonly #subscriptions: Subscription[] = [];
  readonly #log: HostLog;
  readonly #isErrorLineDue = new Map<string, () => boolean>();
  #failure: unknown = null;
  #control: ControlPlane | null = null;
  #keys: KeyValues | null = null;
  #messenger: Messenger | null = null;
  #engine: Engine | null = null;
  #work: Promise<void> = Promise.resolve();
  #teardown: (() => Promise<void>) | null = null;
  #ports: { readonly inputs: readonly EnginePort[]; readonly outputs: readonly EnginePort[] } = {
    inputs: [],
    outputs: [],
  };
  #upstream: Upstream | null = null;
  #status: OperatorStatus = "initializing";
  #errors: readonly { message: string; timestamp: number }[] = [];
  #timing: PassageTimes | null = null;
  #shownImages: string | null = null;
  #rejected = 0;
  #failed = 0;
  #discarded = 0;
  #recentPipelineMetrics = 0;

  constructor(options: HostOptions) {
    this.#options = options;
    this.#log = options.log;
    const stop = () => {
      if (options.stop.reason instanceof HostError) this.#failure ??= options.stop.reason;
      this.#stop.abort();
    };
    if (options.stop.aborted) stop();
    options.stop.addEventListener("abort", stop, { once: true });
  }

  async run(): Promise<HostReport> {
    try {
      await this.#start();
      await this.#untilStopped(new Promise(() => {}));
    } catch (error) {
      if (error !== stopped && !this.#stop.signal.aborted) this.#fail(error);
    }
    return this.#shutDown();
  }

  async #start(): Promise<void> {
    const { config, metrics, operator } = this.#options;
    const { pipeline, view } = await this.#fetchPipeline();
    // Of the log itself: also what others write to it, as the control plane does, belongs to this pipeline.
    this.#log.setBindings({
      pipeline_id: pipeline.id,
      canonical_id: view.operator.canonical_id,
      label: view.operator.label,
    });
    const parameters = new HostParameters(view.operator, operator, config.mountFolder);
    this.#announce(pipeline, view);
    const exchange = exchangeParameters({
      canonicalId: view.operator.canonical_id,
      parameters,
      control: this.#control!,
      metrics,
      log: this.#log,
      signal: this.#stop.signal,
    });
    this.#subscriptions.push(exchange);
    await this.#untilStopped(this.#keys!.putAll());

    const downstream = this.#followReaders(view);
    const context = () => this.#context(view.operator.canonical_id, parameters, downstream);
    const state = await this.#untilStopped(Promise.resolve(operator.setup?.(context())));
    this.#teardown = async () => operator.teardown?.({ ...context(), state });
    this.#nameBackend(view.operator.parallel_index);

    const messenger = this.#openPorts(view);
    this.#messenger = messenger;
    const inputs = view.inputs.map(({ id }) => ({ id, count: metrics.port("received", id) }));
    const outputs = view.outputs.map(({ id }) => ({ id, count: metrics.port("sent", id) }));
    this.#ports = { inputs, outputs };
    await this.#announceOutputs(view, messenger);
    await this.#connectInputs(view, messenger);

    const read = new Set(view.outputs.filter(({ downstream }) => downstream.length > 0).map(({ id }) => id));
    const engine = new Engine({
      operatorId: config.operatorId,
      operator,
      state,
      context,
      giveUp: this.#abandon.signal,
      overlap: view.operator.parallel_config?.type === "embarrassing",
      inflight: config.inflight,
      inputs,
      outputs: outputs.filter(({ id }) => read.has(id)),
      unread: read.size < outputs.length,
      messenger,
      metrics,
      observer: {
        rejected: (reason, text) => this.#countRejected(reason, text),
        failed: (error, inARow) => this.#countFailed(error, inARow),
        worked: (yielded) => {
          if (yielded || outputs.length === 0) this.#clearErrors();
        },
        passed: (times) => {
          this.#timing = times;
        },
        arrived: (tracking) => this.#publishTracking(tracking),
        leftOut: (trigger) => {
          metrics.triggers.inc({ outcome: "left out" });
          this.#log.warn({ trigger }, "an accepted trigger was not run: the operator ends");
        },
      },
    });
    this.#engine = engine;
    const requests = { engine, control: this.#control!, metrics, log: this.#log };
    this.#subscriptions.push(answerTriggerRequests(view.operator, requests));
    this.#work = this.#begin(view, engine);
    // What goes wrong here is no failure of a message: the operator cannot go on.
    this.#work.catch((error) => this.#fail(error));
    this.#status = "running";
    this.#keys!.changed();
    this.#log.info(
      { inputs: inputs.length, outputs: outputs.length, inflight: config.inflight },
      "operator is running",
    );
  }

  async #fetchPipeline(): Promise<{ pipeline: RuntimePipeline; view: OperatorView }> {
    const { config, connectControlPlane, metrics } = this.#options;
    const control = await connectControlPlane(this.#log, this.#stop.signal);
    this.#control = control;
    metrics.natsConnected.set(1);
    control.onConnectionChange((connected) => metrics.natsConnected.set(connected ? 1 : 0));
    const body = await this.#untilStopped(
      control.fetchPipeline(config.operatorId, config.natsWaitSeconds * 1000),
    );
    const pipeline = parseRuntimePipeline(parseJson(body));
    return { pipeline, view: operatorView(pipeline, config.operatorId) };
  }

  #announce(pipeline: RuntimePipeline, { operator }: OperatorView): void {
    const { id, canonical_id: canonicalId } = operator;
    const keys = new KeyValues(this.#control!, this.#log);
    this.#keys = keys;
    keys.add("met", operatorKey(id), () =>
      operatorMetricsJson({
        id,
        canonicalId,
        timing: this.#timing ?? { beforeKernel: null, afterKernel: null, afterSend: null },
      }),
    );
    keys.add("stat", operatorKey(id), () =>
      operatorStatusJson({
        id,
        canonicalId,
        status: this.#status,
        canonicalPipelineId: pipeline.canonical_id,
        runtimePipelineId: pipeline.id,
        errors: this.#errors,
      }),
    );
    this.#control!.onConnectionChange((connected) => {
      if (connected) keys.changed();
    });
  }

  #openPorts(view: OperatorView): Messenger {
    const canonicalIds = new Map(
      [...view.inputs, ...view.outputs].map((port) => [port.id, port.canonicalId]),
    );
    const { metrics, createMessenger } = this.#options;
    return createMessenger({
      connected: (port, address) => this.#log.debug({ port, address }, "connected"),
      disconnected: (port, address, lostAtMost) => {
        metrics.connectionsLost.inc({ port });
        const text =
          lostAtMost > 0 ? "connection ended; what waited in its queue is lost" : "connection ended";
        this.#log.warn({ port, canonical_port: canonicalIds.get(port), address, lostAtMost }, text);
      },
    });
  }

  async #announceOutputs(view: OperatorView, messenger: Messenger): Promise<void> {
    const { zmqHostname: hostname } = this.#options.config;
    for (const [index, { id, canonicalId }] of view.outputs.entries()) {
      const address = await messenger.openOutput(id);
      const { count } = this.#ports.outputs[index]!;
      this.#keys!.add("stat", portKey(id), () =>
        outputPortStatusJson({ id, canonicalId, hostname, address }),
      );
      this.#keys!.add("met", portKey(id), () =>
        portMetricsJson({
          id,
          canonicalId,
          sendCount: count.messages,
          sendBytes: count.bytes,
          recvCount: 0,
          recvBytes: 0,
        }),
      );
      this.#log.info({ port: id, address }, "output port is bound");
    }
    await this.#untilStopped(this.#keys!.putAll());
  }

  async #connectInputs(view: OperatorView, messenger: Messenger): Promise<void> {
    const { config, operator } = this.#options;
    const upstream = new Upstream({
      inputs: view.inputs,
      control: this.#control!,
      messenger,
      log: this.#log,
      waitSeconds: config.upstreamWaitSeconds,
    });
    this.#upstream = upstream;
    this.#subscriptions.push(upstream);
    await this.#untilStopped(upstream.connect());
    for (const [index, { id, canonicalId, portkey }] of view.inputs.entries()) {
      const { count } = this.#ports.inputs[index]!;
      const accepts = config.fastLane ? acceptedFormats(operator, portkey) : [];
      this.#keys!.add("stat", portKey(id), () => inputPortStatusJson({ id, canonicalId, accepts }));
      this.#keys!.add("met", portKey(id), () =>
        portMetricsJson({
          id,
          canonicalId,
          sendCount: 0,
          sendBytes: 0,
          recvCount: count.messages,
          recvBytes: count.bytes,
        }),
      );
    }
  }

  #begin({ hasInputs, operator }: OperatorView, engine: Engine): Promise<void> {
    if (hasInputs) return engine.consume().then(() => engine.settled());
    // An operator that has triggers and no inputs does nothing else.
    if ((operator.triggers ?? []).length > 0) return this.#whenStopped().then(() => engine.settled());
    return engine.produce();
  }

  #followReaders({ outputs }: OperatorView): Downstream {
    const { config, metrics } = this.#options;
    const downstream = new Downstream({
      outputs,
      control: this.#control!,
      log: this.#log,
      metrics,
      enabled: config.fastLane,
    });
    this.#subscriptions.push(downstream);
    return downstream;
  }

  #context(
    canonicalId: string,
    parameters: HostParameters,
    downstream: Downstream,
  ): OperatorContext<Record<never, never>> {
    const control = this.#control!;
    return {
      parameters: parameters.current,
      log: this.#log,
      signal: this.#abandon.signal,
      publishImage: (image) => {
        this.#shownImages = canonicalId;
        return this.#show("picture", () => control.publishImage(canonicalId, image));
      },
      publishTable: (tables) =>
        this.#show("table", () => control.publishTable(canonicalId, JSON.stringify({ tables }))),
      readersAccept: (format) => downstream.accepts(format),
    };
  }

  /** What cannot be shown because of NATS is no reason to stop data; what can never be shown is the author's error. */
  async #show(what: string, publish: () => Promise<void>): Promise<void> {
    const { displays } = this.#options.metrics;
    try {
      await publish();
      displays.inc({ outcome: "shown" });
    } catch (error) {
      if (!(error instanceof HostError) || error.code === "STEMLINE_PUBLISH_TOO_LARGE") throw error;
      displays.inc({ outcome: "left out" });
      this.#logError("display", "warn", { code: error.code }, `a ${what} cannot be shown: ${error.message}`);
    }
  }

  /** Writes a line unless one of the same kind was written a moment ago. */
  #logError(kind: string, level: "warn" | "error", fields: object, text: string): void {
    const isDue = this.#isErrorLineDue.get(kind) ?? atMostEvery(errorLineMs);
    this.#isErrorLineDue.set(kind, isDue);
    if (isDue()) this.#log[level](fields, text);
  }

  #nameBackend(replica: number): void {
    try {
      const backend = defaultBackend();
      useReplica(replica);
      this.#options.metrics.setBackend(backend);
      this.#options.metrics.followAcceleration(accelerationReport);
      this.#log.info({ backend }, "compute backend");
      this.#subscriptions.push(watchAcceleration(accelerationReport, this.#log));
    } catch (error) {
      // Operators that compute nothing natively run without the addon; others say so when they load it.
      this.#log.debug({ error }, "no compute backend");
    }
  }

  #countRejected(reason: string, text: string): void {
    this.#rejected += 1;
    this.#options.metrics.rejected.inc({ reason });
    this.#logError(reason, "warn", { reason, rejected: this.#rejected }, `message was refused: ${text}`);
    this.#showError(text);
  }

  #countFailed(error: unknown, inARow: number): void {
    this.#failed += 1;
    this.#options.metrics.failures.inc();
    const text = errorText(error);
    this.#logError("run", "error", { error, in_a_row: inARow, failed: this.#failed }, `run failed: ${text}`);
    this.#showError(text);
    if (inARow < maxFailuresInARow) return;
    const message = `run failed ${maxFailuresInARow} times in a row, the last time with: ${text}`;
    this.#fail(new HostError("STEMLINE_RUN_FAILED", message, { cause: error }));
  }

  /** Of the errors until work resumes the first is shown, as in interactEM. */
  #showError(text: string): void {
    if (this.#errors.length > 0) return;
    // The cut may be in the middle of a character, and not every reader takes half of one.
    const message = Buffer.from(text.slice(0, longestErrorText)).toString();
    this.#errors = [{ message, timestamp: Date.now() / 1000 }];
    this.#keys?.changed();
  }

  #clearErrors(): void {
    if (this.#errors.length === 0) return;
    this.#errors = [];
    this.#keys?.changed();
  }

  #publishTracking(tracking: Tracking): void {
    const { pipelineMetrics } = this.#options.metrics;
    if (this.#recentPipelineMetrics >= pipelineMetricsPerSecond || !this.#control!.connected) {
      pipelineMetrics.inc({ outcome: "left out" });
      return;
    }
    this.#recentPipelineMetrics += 1;
    setTimeout(() => {
      this.#recentPipelineMetrics -= 1;
    }, 1000).unref();
    this.#control!.publishPipelineMetrics(pipelineMetricsJson(tracking)).then(
      () => pipelineMetrics.inc({ outcome: "published" }),
      (error) => {
        pipelineMetrics.inc({ outcome: "failed" });
        this.#log.debug({ error }, "pipeline metrics cannot be published");
      },
    );
  }

  #fail(error: unknown): void {
    this.#failure ??= error;
    this.#showError(errorText(error));
    this.#stop.abort();
  }

  #whenStopped(): Promise<void> {
    const { signal } = this.#stop;
    if (signal.aborted) return Promise.resolve();
    return new Promise((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }));
  }

  /** The promise's value, unless the host is stopped before there is one. */
  #untilStopped<T>(promise: Promise<T>): Promise<T> {
    const stop = this.#whenStopped().then(() => Promise.reject(stopped));
    return Promise.race([promise, stop]);
  }

  async #shutDown(): Promise<HostReport> {
    const { config, giveUp } = this.#options;
    const started = performance.now();
    const remainingMs = (share: number) =>
      giveUp.aborted ? 0 : Math.max(0, started + share * config.shutdownSeconds * 1000 - performance.now());
    this.#status = "shutting_down";
    this.#keys?.changed();
    if (this.#failure === null) this.#log.info({}, "stopping");
    else this.#log.error({}, `stopping: ${errorText(this.#failure)}`);

    await this.#finishWork(remainingMs);
    const closing = this.#messenger?.close(remainingMs(flushShare), giveUp);
    const { unsentAtMost } = (await closing) ?? { unsentAtMost: 0 };
    // Until its port was closed a message could still be taken.
    this.#discarded = this.#engine?.unfinished ?? 0;
    this.#options.metrics.discarded.inc(this.#discarded);
    await within(remainingMs(1), this.#tearDown(), giveUp);
    const leaving = this.#leave();
    if (!(await within(remainingMs(1), leaving, giveUp))) await within(leavingMs, leaving);
    return this.#report(unsentAtMost);
  }

  /** Has everything that was received computed and sent, or gives up what cannot be. */
  async #finishWork(remainingMs: (share: number) => number): Promise<void> {
    const { giveUp } = this.#options;
    const engine = this.#engine;
    const messenger = this.#messenger;
    if (engine === null || messenger === null) return;
    engine.stop();
    let finished = false;
    const work = this.#work
      .then(() => engine.flush())
      .catch((error) => this.#fail(error))
      .then(() => {
        finished = true;
      });
    let peerlessSince = Number.POSITIVE_INFINITY;
    while (!finished && !giveUp.aborted && remainingMs(workShare) > 0) {
      if (!this.#mayHaveMoreInput(messenger) || remainingMs(upstreamShare) === 0) messenger.stopReceiving();
      await within(50, work, giveUp);
      const hopeless = [...engine.blockedOutputs].some((id) => messenger.peers(id) === 0);
      peerlessSince = hopeless ? Math.min(peerlessSince, performance.now()) : Number.POSITIVE_INFINITY;
      if (performance.now() - peerlessSince > peerlessMs) break;
    }
    if (finished && engine.unfinished === 0) return;
    this.#abandon.abort();
    // What has arrived is taken in, and counted.
    messenger.stopReceiving();
    await within(countingMs, engine.inputEnded);
  }

  /** Whether upstream ports have all ended, and what they sent last may still be on its way. */
  #mayHaveMoreInput(messenger: Messenger): boolean {
    return this.#upstream!.isGone && this.#ports.inputs.some(({ id }) => messenger.peers(id) > 0);
  }

  async #tearDown(): Promise<void> {
    try {
      await this.#teardown?.();
    } catch (error) {
      this.#log.error({ error }, `teardown failed: ${errorText(error)}`);
    }
  }

  async #leave(): Promise<void> {
    await this.#keys?.remove();
    if (this.#shownImages !== null && this.#control!.connected) {
      await this.#control!.purgeImages(this.#shownImages).catch((error) =>
        this.#log.debug({ error }, "pictures cannot be removed"),
      );
    }
    await Promise.allSettled(this.#subscriptions.map((subscription) => subscription.stop()));
    await this.#control
      ?.close()
      .catch((error) => this.#log.debug({ error }, "NATS cannot be left in good order"));
  }

  #report(unsentAtMost: number): HostReport {
    return {
      failure: this.#failure,
      gaveUp: this.#options.giveUp.aborted,
      received: totalMessages(this.#ports.inputs),
      sent: totalMessages(this.#ports.outputs),
      rejected: this.#rejected,
      failed: this.#failed,
      discarded: this.#discarded,
      unsentAtMost,
    };
  }
}

function parseJson(body: Uint8Array): unknown {
  try {
    return parseJsonBytes(body);
  } catch (cause) {
    const message = "Runtime pipeline: expected JSON text in UTF-8";
    throw new PipelineError("STEMLINE_PIPELINE_JSON", message, [], { cause });
  }
}

function totalMessages(ports: readonly EnginePort[]): number {
  return ports.reduce((sum, { count }) => sum + count.messages, 0);
}
