import { errorText } from "../errors.ts";
import {
  acceptedFormats,
  type Logger,
  type Operator,
  type OperatorContext,
  type RunContext,
} from "../operator/define-operator.ts";
import { createBreather } from "../operator/event-loop.ts";
import { maxFailuresInARow, openResult, type ResultMessages } from "../operator/run-result.ts";
import type { OperatorSpec } from "../spec/operator-spec.ts";
import {
  type CanonicalPipeline,
  expandPipeline,
  operatorSlugs,
  requireValidPipeline,
} from "../spec/pipeline.ts";
import { isBytes } from "../wire/bytes.ts";
import { type BytesMessage, partsOf } from "../wire/message.ts";
import { BoundedQueue } from "./bounded-queue.ts";
import { type MutableFigures, type OperatorFigures, startFigures } from "./figures.ts";
import { type LocalParameters, localParameters } from "./local-parameters.ts";
import { ResultWriter } from "./result-writer.ts";

/** An operator that pipelines can name: what its operator.json says and what its run.ts exports. */
export interface InstalledOperator {
  readonly spec: OperatorSpec;
  readonly operator: Operator;
}

/** A message was lost, or an operator could not clean up. */
export interface RunWarning {
  /** Label of the operator. */
  readonly operator: string;
  readonly message: string;
  readonly error: unknown;
}

export interface LogEntry {
  readonly level: keyof Logger;
  readonly operator: string;
  readonly fields: object;
  readonly text: string;
}

/** Told while a run goes on. Figures are live objects: they change until the run has ended. */
export interface RunObserver {
  progress?(operators: readonly OperatorFigures[]): void;
  warning?(warning: RunWarning): void;
  log?(entry: LogEntry): void;
}

export interface RunOptions {
  readonly operators: readonly InstalledOperator[];
  /** Folder for what leaves an output port that nobody reads; without it such messages are only counted. */
  readonly out?: string;
  /** Messages that may wait in front of one operator; default 4. */
  readonly queueCapacity?: number;
  /** Whether formats are used that all readers of an operator accept; default true. */
  readonly fastLane?: boolean;
  /** Replicas of a parallel operator whose pipeline entry does not say how many; default 4. */
  readonly defaultParallelism?: number;
  /** When aborted, sources stop and everything in flight is finished. */
  readonly drain?: AbortSignal;
  /** When aborted, the run ends at once and unfinished work is lost. */
  readonly abort?: AbortSignal;
  readonly observer?: RunObserver;
  /** Time between two calls of `observer.progress`; default 100. */
  readonly progressIntervalMs?: number;
}

export interface RunFailure {
  /** Label of the operator. */
  readonly operator: string;
  readonly reason: string;
  readonly error: unknown;
}

export interface RunSummary {
  /** `failed`: an operator had to end; `interrupted`: drained on request; `aborted`: given up on request. */
  readonly outcome: "finished" | "failed" | "interrupted" | "aborted";
  readonly failure: RunFailure | null;
  readonly elapsedSeconds: number;
  readonly operators: readonly OperatorFigures[];
  readonly files: readonly string[];
}

/**
 * Runs a pipeline in this process: one loop for each replica, bounded queues between operators, until every source has
 * ended and everything sent has been handled. Never throws for what an operator does; that is in the summary.
 *
 * A message that an operator refuses is lost, counted and reported. Ten in a row end the run, and so does a failing
 * trigger: after it a source starts over, and the same frames would count twice. Either way sources stop, the other
 * operators finish what they have, and the failed operator's `flush` is not called.
 *
 * Throws PipelineError for a pipeline that `validatePipeline` refuses and for parameters that cannot be used here,
 * FileError when `out` cannot be made.
 */
export async function runPipeline(pipeline: CanonicalPipeline, options: RunOptions): Promise<RunSummary> {
  const specs = requireValidPipeline(
    pipeline,
    options.operators.map(({ spec }) => spec),
  );
  const installed = new Map(
    pipeline.operators.map(
      ({ id }) => [id, options.operators.find(({ spec }) => spec === specs.get(id))!] as const,
    ),
  );
  const parameters = localParameters(
    pipeline,
    new Map([...installed].map(([id, { operator }]) => [id, operator] as const)),
  );
  const writer = options.out === undefined ? null : new ResultWriter(options.out);
  const { defaultParallelism, queueCapacity = 4 } = options;
  const runtime = expandPipeline(pipeline, defaultParallelism === undefined ? {} : { defaultParallelism });
  const slugs = operatorSlugs(pipeline);

  const replicas = new Map<string, number>();
  for (const { canonical_id: id } of runtime.operators) replicas.set(id, (replicas.get(id) ?? 0) + 1);
  const stations = new Map<string, Station>();
  for (const { id, label } of pipeline.operators) {
    const entry = installed.get(id)!;
    const source = (entry.spec.inputs ?? []).length === 0;
    stations.set(id, {
      ...entry,
      slug: slugs.get(id)!,
      parameters: parameters.get(id)!,
      figures: startFigures(id, label, replicas.get(id)!, source),
      inbox: new BoundedQueue(queueCapacity, upstreamReplicas(pipeline, replicas, id)),
      targets: [],
      unread: false,
      acceptedFormats: new Set(),
      lanes: new Set(),
      failuresInARow: 0,
      ended: false,
    });
  }
  connect(pipeline, stations, options.fastLane ?? true);
  return new Run([...stations.values()], writer, options).execute();
}

/** One canonical operator: all its replicas share the queue in front of it. */
interface Station extends InstalledOperator {
  readonly slug: string;
  readonly parameters: LocalParameters;
  readonly figures: MutableFigures;
  readonly inbox: BoundedQueue<BytesMessage>;
  /** Where a message goes: once for each edge that leaves the operator. */
  readonly targets: Station[];
  /** Whether an output port has no reader, so that messages go to the result writer as well. */
  unread: boolean;
  failuresInARow: number;
  /** Formats that every reader of every output port accepts; none where a port has no reader. */
  acceptedFormats: ReadonlySet<string>;
  /** Formats that the operator has asked for. */
  readonly lanes: Set<string>;
  /** Set when the operator gave up. */
  ended: boolean;
}

function upstreamReplicas(
  pipeline: CanonicalPipeline,
  replicas: ReadonlyMap<string, number>,
  id: string,
): number {
  const owner = new Map(pipeline.ports.map((port) => [port.id, port.canonical_operator_id]));
  const feeding = pipeline.edges.filter((edge) => owner.get(edge.output_id) === id);
  const upstream = new Set(feeding.map((edge) => owner.get(edge.input_id)!));
  return [...upstream].reduce((sum, upstreamId) => sum + replicas.get(upstreamId)!, 0);
}

function connect(
  pipeline: CanonicalPipeline,
  stations: ReadonlyMap<string, Station>,
  fastLane: boolean,
): void {
  const ports = new Map(pipeline.ports.map((port) => [port.id, port]));
  const read = new Map<Station, Set<string>>();
  const accepted = new Map<Station, (readonly string[])[]>();
  for (const edge of pipeline.edges) {
    const output = ports.get(edge.input_id)!;
    const from = stations.get(output.canonical_operator_id)!;
    const input = ports.get(edge.output_id)!;
    const to = stations.get(input.canonical_operator_id)!;
    from.targets.push(to);
    accepted.set(from, [...(accepted.get(from) ?? []), acceptedFormats(to.operator, input.portkey)]);
    read.set(from, (read.get(from) ?? new Set()).add(output.portkey));
  }
  for (const station of stations.values()) {
    station.unread = (station.spec.outputs ?? []).some(({ name }) => !read.get(station)?.has(name));
    const [first = [], ...others] = accepted.get(station) ?? [];
    const common = first.filter((format) => others.every((formats) => formats.includes(format)));
    station.acceptedFormats = new Set(fastLane && !station.unread ? common : []);
  }
}

interface Replica {
  readonly station: Station;
  readonly context: OperatorContext<Record<never, never>>;
  readonly state: unknown;
}

type CallOutcome = "sent" | "nothing" | "failed";

class Run {
  readonly #stations: readonly Station[];
  readonly #writer: ResultWriter | null;
  readonly #observer: RunObserver;
  readonly #progressIntervalMs: number;
  readonly #drain: AbortSignal | undefined;
  readonly #abort: AbortSignal | undefined;
  /** Handed to operators; aborted only when unfinished work is given up. */
  readonly #giveUp = new AbortController();
  #failure: RunFailure | null = null;
  readonly #breathe = createBreather();

  constructor(stations: readonly Station[], writer: ResultWriter | null, options: RunOptions) {
    this.#stations = stations;
    this.#writer = writer;
    this.#observer = options.observer ?? {};
    this.#progressIntervalMs = options.progressIntervalMs ?? 100;
    this.#drain = options.drain;
    this.#abort = options.abort;
  }

  async execute(): Promise<RunSummary> {
    const started = performance.now();
    const figures = this.#stations.map((station) => station.figures);
    const timer = setInterval(() => this.#observer.progress?.(figures), this.#progressIntervalMs);
    const aborted = this.#whenAborted();
    try {
      await Promise.race([this.#runAll(), aborted.promise]);
    } finally {
      clearInterval(timer);
      aborted.forget();
    }
    if (this.#giveUp.signal.aborted) this.#writer?.removeUnfinished();
    this.#observer.progress?.(figures);
    return {
      outcome: this.#outcome(),
      failure: this.#failure,
      elapsedSeconds: (performance.now() - started) / 1000,
      operators: figures,
      files: this.#writer?.files ?? [],
    };
  }

  #outcome(): RunSummary["outcome"] {
    if (this.#giveUp.signal.aborted) return "aborted";
    if (this.#failure !== null) return "failed";
    return this.#drain?.aborted ? "interrupted" : "finished";
  }

  #whenAborted(): { promise: Promise<void>; forget: () => void } {
    let forget = () => {};
    const promise = new Promise<void>((resolve) => {
      const giveUp = () => {
        this.#giveUp.abort(this.#abort?.reason);
        for (const { inbox, figures } of this.#stations) figures.discarded += inbox.cancel();
        resolve();
      };
      if (this.#abort?.aborted) giveUp();
      this.#abort?.addEventListener("abort", giveUp, { once: true });
      forget = () => this.#abort?.removeEventListener("abort", giveUp);
    });
    return { promise, forget };
  }

  async #runAll(): Promise<void> {
    const slots = this.#stations.flatMap((station) => Array<Station>(station.figures.replicas).fill(station));
    // Sources start only when every operator is ready, so that a broken one is known before any data is read.
    const replicas = await Promise.all(slots.map((station) => this.#setUp(station)));
    const ready = replicas.filter((replica) => replica !== null);
    if (this.#failure === null) {
      await Promise.all(ready.map((replica) => this.#runReplica(replica)));
    }
    await Promise.all(ready.map((replica) => this.#tearDown(replica)));
  }

  async #setUp(station: Station): Promise<Replica | null> {
    const context = {
      parameters: station.parameters as Record<never, never>,
      log: this.#logger(station),
      signal: this.#giveUp.signal,
      publishImage: async (image: Uint8Array) => this.#writer?.writeShownImage(station.slug, image),
      publishTable: async (tables: object) => this.#writer?.writeShownTables(station.slug, tables),
      readersAccept: (format: string) => this.#readersAccept(station, format),
    };
    try {
      return { station, context, state: await station.operator.setup?.(context) };
    } catch (error) {
      this.#fail(station, "could not be set up", error);
      return null;
    }
  }

  #readersAccept(station: Station, format: string): boolean {
    const accepted = station.acceptedFormats.has(format);
    if (!station.lanes.has(format)) {
      station.lanes.add(format);
      this.#logger(station).debug({ format }, accepted ? "fast lane on" : "fast lane off");
    }
    return accepted;
  }

  async #runReplica(replica: Replica): Promise<void> {
    const { station } = replica;
    if (!station.figures.source) await this.#consume(replica);
    else if ((station.spec.triggers ?? []).length > 0) await this.#fireTriggers(replica);
    else await this.#produce(replica);
    if (!station.ended && !this.#giveUp.signal.aborted) await this.#flush(replica);
    for (const target of new Set(station.targets)) target.inbox.writerDone();
  }

  async #consume(replica: Replica): Promise<void> {
    const { inbox, figures } = replica.station;
    for (let message = await inbox.pull(); message !== null; message = await inbox.pull()) {
      figures.messagesIn += 1;
      figures.bytesIn += byteLength(message);
      await this.#call(replica, message, null);
      if (replica.station.ended) return;
    }
  }

  async #fireTriggers(replica: Replica): Promise<void> {
    const { station } = replica;
    for (const trigger of station.spec.triggers ?? []) {
      let outcome: CallOutcome = "sent";
      while (outcome === "sent" && !this.#sourcesStopped()) {
        outcome = await this.#call(replica, null, trigger.name);
        if (outcome === "failed") this.#end(station, `failed in trigger ${trigger.name}`);
        if (trigger.mode !== "drain") break;
      }
    }
  }

  async #produce(replica: Replica): Promise<void> {
    while (!this.#sourcesStopped() && (await this.#call(replica, null, null)) !== "nothing");
  }

  #sourcesStopped(): boolean {
    return this.#failure !== null || this.#giveUp.signal.aborted || (this.#drain?.aborted ?? false);
  }

  async #call(replica: Replica, message: BytesMessage | null, trigger: string | null): Promise<CallOutcome> {
    const { station } = replica;
    const context = this.#runContext(replica, trigger);
    try {
      const result = await this.#timed(station, async () => station.operator.run(message, context));
      const messages = openResult(result);
      const stopped = () => station.figures.source && this.#sourcesStopped();
      if (messages !== null) await this.#sendAll(station, messages, stopped);
      station.failuresInARow = 0;
      return messages === null ? "nothing" : "sent";
    } catch (error) {
      this.#countFailure(station, error);
      return "failed";
    } finally {
      await this.#breathe();
    }
  }

  async #flush(replica: Replica): Promise<void> {
    const { station } = replica;
    if (station.operator.flush === undefined) return;
    try {
      const messages = openResult(station.operator.flush(this.#runContext(replica, null)));
      if (messages !== null) await this.#sendAll(station, messages, () => false);
    } catch (error) {
      this.#countFailure(station, error);
      this.#end(station, "failed to hand over what it had left");
    }
  }

  async #tearDown({ station, context, state }: Replica): Promise<void> {
    try {
      await station.operator.teardown?.({ ...context, state });
    } catch (error) {
      const message = `cannot clean up: ${errorText(error)}`;
      this.#observer.warning?.({ operator: station.figures.label, message, error });
    }
  }

  async #sendAll(station: Station, messages: ResultMessages, stopped: () => boolean): Promise<void> {
    for (;;) {
      if (stopped()) return messages.end();
      const message = await this.#timed(station, () => messages.next());
      if (message === null) return;
      await this.#send(station, message);
      await this.#breathe();
    }
  }

  async #send(station: Station, message: BytesMessage): Promise<void> {
    station.figures.messagesOut += 1;
    station.figures.bytesOut += byteLength(message);
    const deliveries = station.targets.map(async (target) => {
      if (!(await target.inbox.push(message))) target.figures.discarded += 1;
    });
    if (station.unread && this.#writer !== null) deliveries.push(this.#writer.write(station.slug, message));
    await Promise.all(deliveries);
  }

  #countFailure(station: Station, error: unknown): void {
    const text = errorText(error);
    station.figures.failures += 1;
    station.figures.firstError ??= text;
    station.failuresInARow += 1;
    this.#observer.warning?.({ operator: station.figures.label, message: text, error });
    if (station.failuresInARow >= maxFailuresInARow)
      this.#end(station, `failed ${maxFailuresInARow} times in a row`);
  }

  /** Takes an operator out: its neighbours go on, the run ends as failed. */
  #end(station: Station, reason: string): void {
    if (station.ended) return;
    station.ended = true;
    station.figures.discarded += station.inbox.cancel();
    this.#fail(station, reason, station.figures.firstError);
  }

  #fail(station: Station, reason: string, error: unknown): void {
    station.figures.firstError ??= errorText(error);
    this.#failure ??= { operator: station.figures.label, reason, error };
  }

  #runContext(replica: Replica, trigger: string | null): RunContext<Record<never, never>, unknown> {
    const { figures } = replica.station;
    return {
      ...replica.context,
      state: replica.state,
      trigger,
      count: ({ frames = 0, droppedFrames = 0, expectedFrames = 0 }) => {
        figures.frames += frames;
        figures.droppedFrames += droppedFrames;
        figures.expectedFrames += expectedFrames;
      },
    };
  }

  #logger(station: Station): Logger {
    const write = (level: keyof Logger) => (fields: object, text: string) =>
      this.#observer.log?.({ level, operator: station.figures.label, fields, text });
    return { debug: write("debug"), info: write("info"), warn: write("warn"), error: write("error") };
  }

  async #timed<T>(station: Station, work: () => Promise<T>): Promise<T> {
    const started = performance.now();
    try {
      return await work();
    } finally {
      station.figures.busySeconds += (performance.now() - started) / 1000;
    }
  }
}

function byteLength(message: BytesMessage): number {
  const { meta, data } = partsOf(message);
  return data.byteLength + (isBytes(meta) ? meta.byteLength : 0);
}
