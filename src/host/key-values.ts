import type { Logger } from "../operator/define-operator.ts";
import type { Bucket, ControlPlane } from "./control-plane.ts";

const intervalMs = 1000;

/** Least time between two puts that changes ask for, so that the traffic does not grow with their rate. */
const changeIntervalMs = 100;

interface Entry {
  readonly bucket: Bucket;
  readonly key: string;
  readonly value: () => string;
}

/**
 * The keys by which a process shows that it is there: each is put every second, whether it has changed or not, since the
 * buckets forget a value after 30 s. While the control plane cannot be reached nothing is put, and everything afterwards.
 */
export class KeyValues {
  readonly #control: ControlPlane;
  readonly #log: Logger;
  readonly #entries: Entry[] = [];
  readonly #timer: NodeJS.Timeout;
  #changeTimer: NodeJS.Timeout | null = null;
  #lastPut = Number.NEGATIVE_INFINITY;
  #putting: Promise<void> | null = null;
  #failing = false;
  #stopped = false;

  constructor(control: ControlPlane, log: Logger) {
    this.#control = control;
    this.#log = log;
    this.#timer = setInterval(() => {
      // Rounds that a slow server holds up must not line up behind each other.
      if (this.#putting === null) void this.putAll();
    }, intervalMs);
  }

  add(bucket: Bucket, key: string, value: () => string): void {
    this.#entries.push({ bucket, key, value });
  }

  /** Puts all values soon: something that others wait for has changed. */
  changed(): void {
    if (this.#changeTimer !== null || this.#stopped) return;
    const waitMs = Math.max(0, this.#lastPut + changeIntervalMs - performance.now());
    this.#changeTimer = setTimeout(() => {
      this.#changeTimer = null;
      void this.putAll();
    }, waitMs);
  }

  /** Puts all values and resolves when they are there, or could not be put. Never rejects. */
  async putAll(): Promise<void> {
    // A round that is under way may have read the old values.
    while (this.#putting !== null) await this.#putting;
    if (this.#stopped || !this.#control.connected) return;
    this.#lastPut = performance.now();
    this.#putting = this.#put();
    await this.#putting;
  }

  async #put(): Promise<void> {
    const puts = this.#entries.map(({ bucket, key, value }) => this.#control.put(bucket, key, value()));
    const failure = (await Promise.allSettled(puts)).find(({ status }) => status === "rejected");
    if (failure?.status === "rejected") {
      if (!this.#failing) this.#log.warn({ error: failure.reason }, "status and metrics cannot be put");
      this.#failing = true;
    } else if (this.#failing) {
      this.#log.info({}, "status and metrics are put again");
      this.#failing = false;
    }
    this.#putting = null;
  }

  /** Puts all values for the last time and removes the keys. Never rejects. */
  async remove(): Promise<void> {
    await this.putAll();
    this.#stopped = true;
    clearInterval(this.#timer);
    if (this.#changeTimer !== null) clearTimeout(this.#changeTimer);
    if (!this.#control.connected) {
      this.#log.warn({}, "keys cannot be removed without NATS; they expire after 30 s");
      return;
    }
    const removals = this.#entries.map(({ bucket, key }) => this.#control.remove(bucket, key));
    const failure = (await Promise.allSettled(removals)).find(({ status }) => status === "rejected");
    if (failure?.status === "rejected") {
      this.#log.warn({ error: failure.reason }, "keys could not be removed; they expire after 30 s");
    }
  }
}
