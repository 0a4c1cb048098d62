import { WireError } from "../errors.ts";
import type { Logger } from "../operator/define-operator.ts";
import type { OutputPortView } from "../spec/runtime-pipeline.ts";
import { readAcceptedFormats } from "../wire/status.ts";
import { portKey } from "../wire/subjects.ts";
import type { ControlPlane, Subscription } from "./control-plane.ts";
import type { HostMetrics } from "./metrics.ts";

/**
 * A process puts its keys every second. After so long without a put it may have ended, and another one, which accepts
 * less, may take its place.
 */
const silenceMs = 5_000;

/** Whether a format is used, or else why not. */
type LaneState = "on" | "switched off" | "unread port" | "unknown reader" | "not accepted";

export interface DownstreamOptions {
  readonly outputs: readonly OutputPortView[];
  readonly control: Pick<ControlPlane, "watch">;
  readonly log: Logger;
  readonly metrics: HostMetrics;
  /** False to use no format but those that every reader takes. */
  readonly enabled: boolean;
}

/** A state, with the runtime ids of the ports that it is because of. */
interface Verdict {
  readonly state: LaneState;
  readonly port?: string;
  readonly reader?: string;
}

interface Reader {
  readonly accepts: readonly string[];
  /** When its key was put last. */
  readonly at: number;
  /** False for the value that was there when watching began: it may be of a process that has ended. */
  readonly alive: boolean;
}

/**
 * What the readers of the output ports accept, by what their processes say in the values of their input ports. Nothing is
 * watched until somebody asks.
 */
export class Downstream implements Subscription {
  readonly #options: DownstreamOptions;
  readonly #readers = new Map<string, Reader>();
  readonly #watches: Subscription[] = [];
  readonly #states = new Map<string, LaneState>();
  #watching = false;

  constructor(options: DownstreamOptions) {
    this.#options = options;
  }

  /**
   * Whether every output port has readers and all of them accept the format, as far as is known for certain: false until
   * all have said so, and again as soon as one says otherwise, has removed its key or has said nothing for 5 s.
   */
  accepts(format: string): boolean {
    const { state, ...because } = this.#judge(format);
    const last = this.#states.get(format);
    if (state !== last) {
      this.#states.set(format, state);
      const { log, metrics } = this.#options;
      if (last !== undefined) metrics.fastLane.remove({ format, state: last });
      metrics.fastLane.set({ format, state }, 1);
      const text = state === "on" ? "fast lane on" : `fast lane off: ${state}`;
      log.info({ format, ...because }, text);
    }
    return state === "on";
  }

  async stop(): Promise<void> {
    await Promise.allSettled(this.#watches.map((watch) => watch.stop()));
  }

  #judge(format: string): Verdict {
    const { outputs, enabled } = this.#options;
    if (!enabled) return { state: "switched off" };
    const unread = outputs.find(({ downstream }) => downstream.length === 0);
    if (unread !== undefined) return { state: "unread port", port: unread.id };
    if (outputs.length === 0) return { state: "unread port" };
    this.#watch();
    const now = performance.now();
    for (const { id: port, downstream } of outputs) {
      for (const id of downstream) {
        const reader = this.#readers.get(id);
        if (!reader?.alive || now - reader.at > silenceMs)
          return { state: "unknown reader", port, reader: id };
        if (!reader.accepts.includes(format)) return { state: "not accepted", port, reader: id };
      }
    }
    return { state: "on" };
  }

  #watch(): void {
    if (this.#watching) return;
    this.#watching = true;
    for (const id of new Set(this.#options.outputs.flatMap(({ downstream }) => downstream))) {
      this.#watches.push(this.#options.control.watch("stat", portKey(id), (value) => this.#note(id, value)));
    }
  }

  #note(id: string, value: Uint8Array | null): void {
    const before = this.#readers.get(id);
    const at = performance.now();
    const accepts = value === null ? null : this.#read(id, value);
    if (accepts === null) this.#readers.delete(id);
    else this.#readers.set(id, { accepts, at, alive: before !== undefined && at - before.at <= silenceMs });
  }

  /** Null for a value that is not valid. */
  #read(id: string, value: Uint8Array): readonly string[] | null {
    try {
      return readAcceptedFormats(value);
    } catch (error) {
      if (!(error instanceof WireError)) throw error;
      this.#options.log.warn({ reader: id, code: error.code }, error.message);
      return null;
    }
  }
}
