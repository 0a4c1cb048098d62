import { WireError } from "../errors.ts";
import type { Operator, OperatorContext, RunContext, RunResult } from "../operator/define-operator.ts";
import { createBreather } from "../operator/event-loop.ts";
import { isMessage, type MessageIterator, openResult } from "../operator/run-result.ts";
import { decodeMessage, encodeMessage } from "../wire/header.ts";
import type { BytesMessage, Tracking } from "../wire/message.ts";
import { wireTime } from "../wire/time.ts";
import { trackInputPort, trackOperator, trackOutputPort, withTracking } from "../wire/tracking.ts";
import type { Messenger, ReceivedParts } from "./messenger.ts";
import type { HostMetrics, PortCount } from "./metrics.ts";
import { Slots } from "./slots.ts";

/** Failures of `run` in a row after which the operator gives up, as in interactEM. */
export const maxFailuresInARow = 10;

const trackingIntervalMs = 1000;

/** Triggers that may wait for their turn. */
const maxWaitingTriggers = 100;

export interface EnginePort {
  readonly id: string;
  readonly count: PortCount;
}

export interface EngineOptions {
  /** Runtime id of the operator. */
  readonly operatorId: string;
  readonly operator: Operator;
  readonly state: unknown;
  /** What hooks get, as it is now. */
  readonly context: () => OperatorContext<Record<never, never>>;
  /** Whether calls of `run` may overlap. */
  readonly overlap: boolean;
  /** Messages between receiving and sending at a time. */
  readonly inflight: number;
  readonly inputs: readonly EnginePort[];
  /** Output ports that somebody reads; a message goes to each. */
  readonly outputs: readonly EnginePort[];
  /** Whether there are output ports that nobody reads. */
  readonly unread: boolean;
  readonly messenger: Messenger;
  readonly metrics: HostMetrics;
  readonly observer: EngineObserver;
}

/** Times at which a tracked message passed, as wire times. */
export interface PassageTimes {
  readonly beforeKernel: string;
  readonly afterKernel: string;
  readonly afterSend: string;
}

export interface EngineObserver {
  /** A received message was refused: `reason` is `parts`, `header`, `subject` or an error's code. */
  rejected(reason: string, text: string): void;
  /** A call of `run` failed; `inARow` counts the failures of messages since the last success, 0 for a trigger. */
  failed(error: unknown, inARow: number): void;
  /** A call succeeded, and what it yielded was sent. */
  worked(yielded: boolean): void;
  /** A tracked message passed this operator. */
  passed(times: PassageTimes): void;
  /** This operator was the last station of a tracked message. */
  arrived(tracking: Tracking): void;
}

/** What a call of an operator came to. Never a rejection: it is looked at when its turn to be sent has come. */
type Outcome =
  | { readonly kind: "failed"; readonly error: unknown }
  | { readonly kind: "done"; readonly result: Result; readonly before: string; readonly after: string };

/** What `run` returned: messages at hand, null for nothing, or messages that the operator makes while they are read. */
type Result = readonly BytesMessage[] | null | LazyResult;

interface LazyResult {
  readonly messages: MessageIterator;
  /** Resolves when `markRead` was called. */
  readonly read: Promise<void>;
  readonly markRead: () => void;
}

interface Call {
  readonly work: () => Promise<RunResult>;
  readonly message: BytesMessage | null;
  /** Whether times are taken: of messages that are tracked, and of those that this operator starts to track. */
  readonly tracked: boolean;
  /** Whether a failure counts towards those in a row that end the operator. */
  readonly counts: boolean;
}

/**
 * Receives, computes and sends, all at the same time, with a bounded number of messages in between. Results are sent in
 * the order in which their messages came, also when calls overlap.
 */
export class Engine {
  readonly #options: EngineOptions;
  readonly #slots: Slots;
  readonly #inputs: ReadonlyMap<string, EnginePort>;
  readonly #breathe = createBreather();
  readonly #blocked = new Set<string>();
  /** Settles when the calls made so far are over. Only used while calls may not overlap. */
  #lastCall: Promise<unknown> = Promise.resolve();
  /** Settles when everything computed so far was sent. */
  #lastDelivery: Promise<void> = Promise.resolve();
  #lastTrigger: Promise<void> = Promise.resolve();
  #waitingTriggers = 0;
  #unfinished = 0;
  #failuresInARow = 0;
  #lastTracked = performance.now();
  #stopping = false;

  constructor(options: EngineOptions) {
    this.#options = options;
    this.#slots = new Slots(options.inflight);
    this.#inputs = new Map(options.inputs.map((port) => [port.id, port]));
  }

  /** Messages that were taken in, and calls without one, whose results are not yet sent. */
  get unfinished(): number {
    return this.#unfinished;
  }

  /** Output ports that have yet to take the message that is being sent. */
  get blockedOutputs(): ReadonlySet<string> {
    return this.#blocked;
  }

  /** Handles messages until the messenger has no more, and resolves when the last one was sent. */
  async consume(): Promise<void> {
    for (;;) {
      // A place is not kept while nothing comes: a trigger may need it.
      await this.#slots.available();
      const received = await this.#options.messenger.receive();
      if (received === null) return this.#lastDelivery;
      const message = this.#accept(received);
      if (message !== null) {
        this.#unfinished += 1;
        await this.#slots.take();
        this.#run(message, null, message.header.tracking !== null);
      }
      await this.#breathe();
    }
  }

  /** Calls `run` again and again until it yields nothing or `stop` was called, and resolves when all was sent. */
  async produce(): Promise<void> {
    while (!this.#stopping) {
      await this.#slots.take();
      const outcome = await this.#run(null, null, this.#trackingIsDue());
      if (yieldsNothing(outcome)) break;
      await this.#breathe();
    }
    return this.#lastDelivery;
  }

  /**
   * Runs a trigger when those before it are done: once, or until it yields nothing. False if too many wait already.
   */
  trigger(name: string, drain: boolean): boolean {
    if (this.#stopping || this.#waitingTriggers >= maxWaitingTriggers) return false;
    this.#waitingTriggers += 1;
    this.#lastTrigger = this.#lastTrigger.then(async () => {
      await this.#runTrigger(name, drain);
      this.#waitingTriggers -= 1;
    });
    return true;
  }

  /** Nothing new is begun by sources and triggers. */
  stop(): void {
    this.#stopping = true;
  }

  /** Resolves when triggers that were begun are over and all results were sent. */
  async settled(): Promise<void> {
    await this.#lastTrigger;
    await this.#lastDelivery;
  }

  /** Sends what the operator has left. */
  async flush(): Promise<void> {
    const { operator } = this.#options;
    if (operator.flush === undefined) return;
    await this.#slots.take();
    const work = async () => operator.flush!(this.#runContext(null));
    await this.#start({ work, message: null, tracked: false, counts: false });
    return this.#lastDelivery;
  }

  async #runTrigger(name: string, drain: boolean): Promise<void> {
    while (!this.#stopping) {
      await this.#slots.take();
      const outcome = await this.#run(null, name, true);
      if (!drain || outcome.kind === "failed" || yieldsNothing(outcome)) return;
      await this.#breathe();
    }
  }

  #run(message: BytesMessage | null, trigger: string | null, tracked: boolean): Promise<Outcome> {
    const work = async () => this.#options.operator.run(message, this.#runContext(trigger));
    return this.#start({ work, message, tracked, counts: trigger === null });
  }

  /** Reads what was received; null if it cannot be used. */
  #accept({ portId, parts }: ReceivedParts): BytesMessage | null {
    const { count } = this.#inputs.get(portId)!;
    count.messages += 1;
    count.bytes += byteLength(parts);
    try {
      const decoded = decodeMessage(parts);
      if (decoded.outcome === "message") return trackInputPort(decoded.message, portId, wireTime());
      this.#options.observer.rejected(
        parts.length === 2 || parts.length === 3 ? "subject" : "parts",
        decoded.reason,
      );
    } catch (error) {
      if (!(error instanceof WireError)) throw error;
      this.#options.observer.rejected("header", error.message);
    }
    return null;
  }

  /** Begins a call; its result is sent after those of all calls before it, and then its slot is free. */
  #start(call: Call): Promise<Outcome> {
    if (call.message === null) this.#unfinished += 1;
    this.#options.metrics.underWay.waitingForRun += 1;
    const outcome = this.#options.overlap ? this.#compute(call) : this.#computeInTurn(call);
    this.#lastDelivery = this.#lastDelivery.then(async () => this.#deliver(call, await outcome));
    return outcome;
  }

  #computeInTurn(call: Call): Promise<Outcome> {
    const outcome = this.#lastCall.then(() => this.#compute(call));
    // A result that the operator makes while it is read keeps it busy until it has been read.
    this.#lastCall = outcome.then((value) => (lazyResult(value) ?? { read: null }).read);
    return outcome;
  }

  async #compute({ work }: Call): Promise<Outcome> {
    const { kernelSeconds, underWay } = this.#options.metrics;
    underWay.waitingForRun -= 1;
    underWay.running += 1;
    const before = wireTime();
    const started = performance.now();
    try {
      const result = readResult(await work());
      return { kind: "done", result, before, after: wireTime() };
    } catch (error) {
      return { kind: "failed", error };
    } finally {
      kernelSeconds.observe((performance.now() - started) / 1000);
      underWay.running -= 1;
      underWay.waitingForSend += 1;
    }
  }

  /** Sends what a call came to and frees its slot. Never rejects. */
  async #deliver(call: Call, outcome: Outcome): Promise<void> {
    const { metrics, observer } = this.#options;
    try {
      if (outcome.kind === "failed") throw outcome.error;
      const yielded = await this.#sendResult(call, outcome);
      if (call.counts) this.#failuresInARow = 0;
      observer.worked(yielded);
    } catch (error) {
      this.#report(call, error);
    } finally {
      lazyResult(outcome)?.markRead();
      metrics.underWay.waitingForSend -= 1;
      this.#unfinished -= 1;
      this.#slots.free();
    }
  }

  #report(call: Call, error: unknown): void {
    const { observer, context } = this.#options;
    // What is given up is counted by whoever gave up.
    if (context().signal.aborted) return;
    // Bad input is the sender's fault: it stops nothing, however much of it comes. A meta that cannot be sent is not.
    if (error instanceof WireError && error.code !== "STEMLINE_WIRE_META" && call.message !== null) {
      observer.rejected(error.code, error.message);
      return;
    }
    if (call.counts) this.#failuresInARow += 1;
    observer.failed(error, call.counts ? this.#failuresInARow : 0);
  }

  /** Resolves to whether there was anything to send. */
  async #sendResult(call: Call, outcome: Outcome & { kind: "done" }): Promise<boolean> {
    const { result, before, after } = outcome;
    let tracking = call.message?.header.tracking ?? null;
    let yielded = false;
    for await (const made of messagesOf(result)) {
      let message = withTracking(made, tracking);
      if (call.tracked && !yielded) message = trackOperator(message, this.#options.operatorId, before, after);
      await this.#send(message);
      // Of several messages the first one carries the list on, so that a way is not counted twice.
      tracking = null;
      yielded = true;
    }
    if (!call.tracked) return yielded;
    if (!yielded) {
      // A source that has made nothing has nothing to say.
      if (call.message === null) return false;
      this.#arrived(trackOperator(call.message, this.#options.operatorId, before, after));
    }
    this.#options.observer.passed({ beforeKernel: before, afterKernel: after, afterSend: wireTime() });
    return yielded;
  }

  /** Sends a message to every output port and waits until all have taken it. */
  async #send(message: BytesMessage): Promise<void> {
    const { outputs, unread, metrics, messenger } = this.#options;
    if (unread) metrics.unread.inc();
    if (outputs.length === 0) return this.#arrived(message);
    let tracked = message;
    const sends = outputs.map(async ({ id, count }) => {
      // As in interactEM, a later port's list has the entries of those before it.
      tracked = trackOutputPort(tracked, id, wireTime());
      const parts = encodeMessage(tracked);
      this.#blocked.add(id);
      await messenger.send(id, parts).finally(() => this.#blocked.delete(id));
      count.messages += 1;
      count.bytes += byteLength(parts);
    });
    const failure = (await Promise.allSettled(sends)).find(({ status }) => status === "rejected");
    if (failure?.status === "rejected") throw failure.reason;
  }

  #arrived({ header: { tracking } }: BytesMessage): void {
    if (tracking !== null) this.#options.observer.arrived(tracking);
  }

  #trackingIsDue(): boolean {
    const now = performance.now();
    if (now - this.#lastTracked < trackingIntervalMs) return false;
    this.#lastTracked = now;
    return true;
  }

  #runContext(trigger: string | null): RunContext<Record<never, never>, unknown> {
    const { metrics, state } = this.#options;
    return {
      ...this.#options.context(),
      state,
      trigger,
      count({ frames = 0, droppedFrames = 0 }) {
        metrics.frames.inc(frames);
        metrics.droppedFrames.inc(droppedFrames);
      },
    };
  }
}

function readResult(result: RunResult | undefined): Result {
  if (result === null || result === undefined) return null;
  if (isMessage(result)) return [result];
  if (Array.isArray(result) && result.every(isMessage)) return result;
  const { promise: read, resolve: markRead } = withResolvers();
  return { messages: openResult(result), read, markRead };
}

function withResolvers(): { promise: Promise<void>; resolve: () => void } {
  let resolve = () => {};
  const promise = new Promise<void>((settle) => {
    resolve = settle;
  });
  return { promise, resolve };
}

function lazyResult(outcome: Outcome): LazyResult | null {
  return outcome.kind === "done" && outcome.result !== null && "messages" in outcome.result
    ? outcome.result
    : null;
}

function yieldsNothing(outcome: Outcome): boolean {
  return outcome.kind === "done" && outcome.result === null;
}

async function* messagesOf(result: Result): AsyncGenerator<BytesMessage> {
  if (result === null) return;
  if (!("messages" in result)) return yield* result;
  try {
    for (;;) {
      const message = await result.messages.next();
      if (message === null) return;
      yield message;
    }
  } finally {
    await result.messages.end();
  }
}

function byteLength(parts: readonly Uint8Array[]): number {
  return parts.reduce((sum, part) => sum + part.byteLength, 0);
}
