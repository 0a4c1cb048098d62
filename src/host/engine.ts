import { WireError } from "../errors.ts";
import type { Operator, OperatorContext, RunContext, RunResult } from "../operator/define-operator.ts";
import { createBreather } from "../operator/event-loop.ts";
import { openResult, type ResultMessages } from "../operator/run-result.ts";
import { type Bytes, releaseParts } from "../wire/bytes.ts";
import { decodeMessage, encodeMessage } from "../wire/header.ts";
import { type BytesMessage, releaseMessage, sharesParts, type Tracking } from "../wire/message.ts";
import { wireTime } from "../wire/time.ts";
import { trackInputPort, trackOperator, trackOutputPort, withTracking } from "../wire/tracking.ts";
import type { Messenger, ReceivedParts } from "./messenger.ts";
import type { HostMetrics, PortCount } from "./metrics.ts";
import { Slots } from "./slots.ts";

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
  /** When aborted, nothing is computed or sent any more: what is not over then stays unfinished. */
  readonly giveUp: AbortSignal;
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
  /** A trigger that waited was not run, since the operator ends. */
  leftOut(trigger: string): void;
}

/** What a call of an operator came to. Never a rejection: it is looked at when its turn to be sent has come. */
type Outcome =
  | { readonly kind: "failed"; readonly error: unknown }
  | {
      readonly kind: "done";
      /** Null for nothing. */
      readonly messages: ResultMessages | null;
      readonly before: string;
      readonly after: string;
    };

interface StartedCall {
  readonly outcome: Promise<Outcome>;
  readonly delivery: Promise<Delivered>;
}

type Delivered =
  | { readonly failed: false; readonly yielded: boolean }
  | { readonly failed: true; readonly error: unknown };

interface Call {
  readonly work: () => Promise<RunResult>;
  readonly origin: "message" | "source" | "trigger" | "flush";
  /** The received message, of a call that has one. */
  readonly message: BytesMessage | null;
  /** Whether times are taken: of messages that are tracked, and of those that this operator starts to track. */
  readonly tracked: boolean;
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
  #lastDelivery: Promise<unknown> = Promise.resolve();
  #lastTrigger: Promise<void> = Promise.resolve();
  #waitingTriggers = 0;
  #unfinished = 0;
  #failuresInARow = 0;
  #lastTracked = performance.now();
  #stopping = false;

  /** Resolves when the messenger has no more messages and all of them were taken in. */
  readonly inputEnded: Promise<void>;
  #endInput = () => {};

  constructor(options: EngineOptions) {
    this.#options = options;
    this.#slots = new Slots(options.inflight);
    this.#inputs = new Map(options.inputs.map((port) => [port.id, port]));
    this.inputEnded = new Promise((resolve) => {
      this.#endInput = resolve;
    });
    options.giveUp.addEventListener("abort", () => this.#slots.open(), { once: true });
  }

  /** Messages that were taken in, and calls without one, that are neither sent nor refused nor failed. */
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
      if (received === null) break;
      const message = this.#accept(received);
      if (message !== null) {
        this.#unfinished += 1;
        await this.#slots.take();
        this.#run("message", { message, tracked: message.header.tracking !== null });
      }
      await this.#breathe();
    }
    this.#endInput();
    await this.#lastDelivery;
  }

  /** Calls `run` again and again until it yields nothing or `stop` was called, and resolves when all was sent. */
  async produce(): Promise<void> {
    while (await this.#mayBegin()) {
      const { outcome } = this.#run("source", { tracked: this.#trackingIsDue() });
      if (yieldsNothing(await outcome)) break;
      await this.#breathe();
    }
    await this.#lastDelivery;
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

  /** Nothing new is begun by sources and triggers, and what they are making is left. */
  stop(): void {
    this.#stopping = true;
  }

  /** Resolves when triggers that were begun are over and all results were sent. */
  async settled(): Promise<void> {
    await this.#lastTrigger;
    await this.#lastDelivery;
  }

  /** Sends what the operator has left. Rejects with what `flush` fails with: nobody will call it again. */
  async flush(): Promise<void> {
    const { operator, giveUp } = this.#options;
    if (operator.flush === undefined) return;
    await this.#slots.take();
    if (giveUp.aborted) return;
    const work = async () => operator.flush!(this.#runContext(null));
    const { delivery } = this.#start({ work, origin: "flush", message: null, tracked: false });
    const delivered = await delivery;
    if (delivered.failed) throw delivered.error;
  }

  async #runTrigger(name: string, drain: boolean): Promise<void> {
    let calls = 0;
    while (await this.#mayBegin()) {
      calls += 1;
      const outcome = await this.#run("trigger", { trigger: name, tracked: true }).outcome;
      if (!drain || outcome.kind === "failed" || yieldsNothing(outcome)) return;
      await this.#breathe();
    }
    if (calls === 0) this.#options.observer.leftOut(name);
  }

  /** Resolves when there is a place, which is then taken, or to false if nothing is begun any more. */
  async #mayBegin(): Promise<boolean> {
    await this.#slots.take();
    if (!this.#stopping) return true;
    this.#slots.free();
    return false;
  }

  #run(
    origin: "message" | "source" | "trigger",
    call: { readonly message?: BytesMessage; readonly trigger?: string; readonly tracked: boolean },
  ): StartedCall {
    const { message = null, trigger = null, tracked } = call;
    const work = async () => this.#options.operator.run(message, this.#runContext(trigger));
    return this.#start({ work, origin, message, tracked });
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
    releaseParts(parts);
    return null;
  }

  /** Begins a call; its result is sent after those of all calls before it, and then its slot is free. */
  #start(call: Call): StartedCall {
    if (call.message === null) this.#unfinished += 1;
    this.#options.metrics.underWay.waitingForRun += 1;
    const { overlap } = this.#options;
    const outcome = overlap ? this.#compute(call) : this.#lastCall.then(() => this.#compute(call));
    const delivery = this.#lastDelivery.then(async () => this.#deliver(call, await outcome));
    this.#lastDelivery = delivery;
    // A result that the operator makes while it is read keeps it busy until it has been read.
    if (!overlap) this.#lastCall = outcome.then((value) => (messagesIn(value)?.lazy ? delivery : undefined));
    return { outcome, delivery };
  }

  async #compute({ work }: Call): Promise<Outcome> {
    const { giveUp, metrics } = this.#options;
    const { kernelSeconds, underWay } = metrics;
    underWay.waitingForRun -= 1;
    underWay.running += 1;
    const before = wireTime();
    const started = performance.now();
    try {
      giveUp.throwIfAborted();
      return { kind: "done", messages: openResult(await work()), before, after: wireTime() };
    } catch (error) {
      return { kind: "failed", error };
    } finally {
      kernelSeconds.observe((performance.now() - started) / 1000);
      underWay.running -= 1;
      underWay.waitingForSend += 1;
    }
  }

  /** Sends what a call came to and frees its slot. Never rejects, since all later results wait for this one. */
  async #deliver(call: Call, outcome: Outcome): Promise<Delivered> {
    const { giveUp, metrics } = this.#options;
    const delivered = await this.#trySend(call, outcome);
    metrics.underWay.waitingForSend -= 1;
    // What is given up stays unfinished, whatever a call makes of it.
    if (!delivered.failed || !giveUp.aborted) {
      this.#unfinished -= 1;
      try {
        this.#tell(call, delivered);
      } catch (error) {
        // Not the message's fault, and nobody here can do anything about it.
        queueMicrotask(() => {
          throw error;
        });
      }
    }
    if (call.message !== null) releaseMessage(call.message);
    this.#slots.free();
    return delivered;
  }

  async #trySend(call: Call, outcome: Outcome): Promise<Delivered> {
    try {
      this.#options.giveUp.throwIfAborted();
      if (outcome.kind === "failed") throw outcome.error;
      return { failed: false, yielded: await this.#sendResult(call, outcome) };
    } catch (error) {
      return { failed: true, error };
    }
  }

  #tell({ origin, message }: Call, delivered: Delivered): void {
    const { observer } = this.#options;
    // A trigger or a flush that fails says nothing about the messages that come.
    const counts = origin === "message" || origin === "source";
    if (!delivered.failed) {
      if (counts) this.#failuresInARow = 0;
      observer.worked(delivered.yielded);
      return;
    }
    const { error } = delivered;
    // Bad input is the sender's fault: it stops nothing, however much of it comes.
    if (message !== null && error instanceof WireError && isFaultOf(message, error)) {
      observer.rejected(error.code, error.message);
      return;
    }
    if (counts) this.#failuresInARow += 1;
    observer.failed(error, counts ? this.#failuresInARow : 0);
  }

  /** Resolves to whether there was anything to send. */
  async #sendResult(call: Call, outcome: Outcome & { kind: "done" }): Promise<boolean> {
    const { messages, before, after } = outcome;
    const { operatorId, observer } = this.#options;
    let tracking = call.message?.header.tracking ?? null;
    let yielded = false;
    const sent: BytesMessage[] = [];
    try {
      while (messages !== null && !(messages.lazy && this.#isToEnd(call))) {
        const made = await messages.next();
        if (made === null) break;
        let message = withTracking(made, tracking);
        if (call.tracked && !yielded) message = trackOperator(message, operatorId, before, after);
        await this.#send(message);
        // Of an array a message may come again, and of all the received one, which is there until the call is over.
        if (messages.lazy && !(call.message !== null && sharesParts(made, call.message)))
          releaseMessage(made);
        else sent.push(made);
        // Of several messages the first one carries the list on, so that a way is not counted twice.
        tracking = null;
        yielded = true;
        await this.#breathe();
      }
    } finally {
      sent.forEach(releaseMessage);
      await messages?.end();
    }
    if (!call.tracked) return yielded;
    if (!yielded) {
      // A source that has made nothing has nothing to say.
      if (call.message === null) return false;
      this.#arrived(trackOperator(call.message, operatorId, before, after));
    }
    observer.passed({ beforeKernel: before, afterKernel: after, afterSend: wireTime() });
    return yielded;
  }

  /** Whether a call makes no more messages: those of sources and triggers may have no end. */
  #isToEnd({ origin }: Call): boolean {
    return this.#stopping && (origin === "source" || origin === "trigger");
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

/** True for input that cannot be used; of a meta that cannot be sent, if it was handed on as it came. */
function isFaultOf(message: BytesMessage, error: WireError): boolean {
  if (error.code !== "STEMLINE_WIRE_META") return true;
  try {
    encodeMessage(message);
    return false;
  } catch {
    return true;
  }
}

function messagesIn(outcome: Outcome): ResultMessages | null {
  return outcome.kind === "done" ? outcome.messages : null;
}

function yieldsNothing(outcome: Outcome): boolean {
  return outcome.kind === "done" && outcome.messages === null;
}

function byteLength(parts: readonly Bytes[]): number {
  return parts.reduce((sum, part) => sum + part.byteLength, 0);
}
