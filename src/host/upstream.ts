import { HostError, WireError } from "../errors.ts";
import type { Logger } from "../operator/define-operator.ts";
import type { InputPortView } from "../spec/runtime-pipeline.ts";
import { connectAddress } from "../wire/address.ts";
import { readPortAddresses } from "../wire/status.ts";
import { portKey } from "../wire/subjects.ts";
import type { ControlPlane, Subscription } from "./control-plane.ts";
import type { Messenger } from "./messenger.ts";

const reminderMs = 10_000;

export interface UpstreamOptions {
  readonly inputs: readonly InputPortView[];
  readonly control: ControlPlane;
  readonly messenger: Messenger;
  readonly log: Logger;
  /** How long to wait at the start for the addresses of all upstream ports. */
  readonly waitSeconds: number;
}

/** Keeps the input ports connected to wherever their upstream ports say that they are. */
export class Upstream implements Subscription {
  readonly #options: UpstreamOptions;
  readonly #watches: Subscription[] = [];
  /** Where upstream ports can be reached now, by runtime id. */
  readonly #addresses = new Map<string, readonly string[]>();
  /** Upstream ports that had no address so far. */
  readonly #missing: Set<string>;
  #stopWaiting = () => {};

  constructor(options: UpstreamOptions) {
    this.#options = options;
    this.#missing = new Set(options.inputs.flatMap(({ upstream }) => upstream));
  }

  /** True if none of the upstream ports is there. */
  get isGone(): boolean {
    return this.#addresses.size === 0;
  }

  /**
   * Opens and connects the input ports, as soon as all upstream ports have an address: nothing is received before it can
   * be computed. From then on connections follow the addresses.
   *
   * Throws HostError `STEMLINE_UPSTREAM_MISSING` if that takes too long.
   */
  async connect(): Promise<void> {
    const { inputs, control, messenger } = this.#options;
    for (const { id } of inputs) messenger.openInput(id);
    const upstreamIds = [...this.#missing];
    await new Promise<void>((resolve, reject) => {
      for (const id of upstreamIds) {
        this.#watches.push(control.watch("stat", portKey(id), (value) => this.#follow(id, value, resolve)));
      }
      if (this.#missing.size === 0) resolve();
      else this.#remind(reject);
    });
    this.#stopWaiting();
    for (const id of upstreamIds) this.#connect(id);
  }

  async stop(): Promise<void> {
    this.#stopWaiting();
    await Promise.allSettled(this.#watches.map((watch) => watch.stop()));
  }

  #follow(upstreamId: string, value: Uint8Array | null, whenAllAreKnown: () => void): void {
    const addresses = this.#read(upstreamId, value);
    if (addresses === null) return;
    this.#addresses.set(upstreamId, addresses);
    if (this.#missing.size === 0) {
      this.#connect(upstreamId);
      return;
    }
    this.#missing.delete(upstreamId);
    if (this.#missing.size === 0) whenAllAreKnown();
  }

  /** The addresses in a value; null if it has none, or is not valid. */
  #read(upstreamId: string, value: Uint8Array | null): readonly string[] | null {
    const { log } = this.#options;
    if (value === null) {
      this.#addresses.delete(upstreamId);
      log.warn({ upstream: upstreamId }, "upstream port is gone; staying connected until it is back");
      return null;
    }
    try {
      const addresses = readPortAddresses(value).map(connectAddress);
      return addresses.length > 0 ? addresses : null;
    } catch (error) {
      if (!(error instanceof WireError)) throw error;
      log.error({ upstream: upstreamId, code: error.code }, error.message);
      return null;
    }
  }

  #connect(upstreamId: string): void {
    const { inputs, messenger, log } = this.#options;
    const addresses = this.#addresses.get(upstreamId) ?? [];
    for (const { id, upstream } of inputs) {
      if (!upstream.includes(upstreamId)) continue;
      try {
        messenger.connect(id, upstreamId, addresses);
      } catch (error) {
        if (!(error instanceof HostError)) throw error;
        log.error({ upstream: upstreamId, code: error.code }, error.message);
      }
    }
  }

  #remind(giveUp: (error: HostError) => void): void {
    const { log, waitSeconds } = this.#options;
    const remind = () =>
      log.info({ upstream: [...this.#missing] }, "waiting for the addresses of upstream ports");
    const reminder = setInterval(remind, reminderMs);
    const deadline = setTimeout(() => {
      const ids = [...this.#missing].join(", ");
      const message = `No address of upstream port ${ids} after ${waitSeconds} s`;
      giveUp(new HostError("STEMLINE_UPSTREAM_MISSING", message));
    }, waitSeconds * 1000);
    this.#stopWaiting = () => {
      clearInterval(reminder);
      clearTimeout(deadline);
    };
    remind();
  }
}
