import { version } from "zeromq";
import { HostError } from "../errors.ts";
import type { ZmqEvent, ZmqSocketOptions } from "../native/addon.ts";
import { loadAddon } from "../native/loader.ts";
import type { Bytes } from "../wire/bytes.ts";

/** Told what happens to a socket's connections; of a push socket the address is that of the peer. */
export interface ZmqSocketObserver {
  accepted?(address: string): void;
  connected?(): void;
  disconnected?(address: string): void;
  retried?(): void;
}

const sockets = new Map<number, ZmqSocket>();
let started = false;

/** A ZeroMQ socket whose messages never pass through JavaScript's memory. */
export class ZmqSocket {
  readonly #addon = loadAddon();
  readonly #number: number;
  readonly #observer: ZmqSocketObserver;
  /** The endpoint that it is bound or connected to. */
  readonly endpoint: string;
  /** Resolves when messages that waited have left or were given up, after `close`. */
  readonly ended: Promise<void>;
  #end = () => {};
  #received: ((parts: readonly Bytes[] | null) => void) | null = null;
  #sent: ((taken: boolean) => void) | null = null;
  #closed = false;

  /** Throws Error with the system's reason if the socket cannot be bound or connected, and NativeError. */
  constructor(endpoint: string, options: ZmqSocketOptions, observer: ZmqSocketObserver) {
    if (!started) {
      startListening();
      started = true;
    }
    this.#observer = observer;
    const opened = this.#addon.zmqOpen(endpoint, options);
    this.#number = opened.socket;
    this.endpoint = opened.endpoint;
    this.ended = new Promise((resolve) => {
      this.#end = resolve;
    });
    sockets.set(this.#number, this);
  }

  get closed(): boolean {
    return this.#closed;
  }

  /** The next message; null after `close`, when all that was taken from the network was given out. One call at a time. */
  receive(): Promise<readonly Bytes[] | null> {
    return new Promise((resolve) => {
      this.#received = resolve;
      this.#addon.zmqReceive(this.#number);
    });
  }

  /**
   * Resolves to true when the socket's queue has taken the message; to false if none of it was sent, since the peer went
   * away meanwhile or the socket was closed. Foreign parts are shared until they have left, arrays are copied. One call
   * at a time.
   */
  send(parts: readonly Bytes[]): Promise<boolean> {
    return new Promise((resolve) => {
      this.#sent = resolve;
      this.#addon.zmqSend(this.#number, parts);
    });
  }

  /** Connects again, after ZeroMQ has given a connection up. */
  connectAgain(endpoint: string): void {
    this.#addon.zmqConnect(this.#number, endpoint);
  }

  /** Takes no more messages; those that were taken have `lingerMs` to leave. */
  close(lingerMs = 0): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#addon.zmqClose(this.#number, { lingerMs });
  }

  handle([, event, payload]: ZmqEvent): void {
    if (event === "received") this.#settleReceive(payload);
    else if (event === "sent" || event === "unsent") this.#settleSend(event === "sent");
    else if (event === "closed") this.#settleReceive(null);
    else if (event === "ended") this.#settleEnd();
    else this.#observer[event]?.(payload);
  }

  #settleReceive(parts: readonly Bytes[] | null): void {
    const received = this.#received;
    this.#received = null;
    received?.(parts);
  }

  #settleEnd(): void {
    sockets.delete(this.#number);
    this.#end();
  }

  #settleSend(taken: boolean): void {
    const sent = this.#sent;
    this.#sent = null;
    sent?.(taken);
  }
}

/** Opens a socket and closes it. Returns the version of the ZeroMQ library, which the zeromq package brings and the addon uses. */
export function checkZmq(): string {
  new ZmqSocket("tcp://127.0.0.1:*", { pulls: false, highWaterMark: 1, ipv6: false }, {}).close();
  return version;
}

/** One listener for all sockets of this thread. */
function startListening(): void {
  try {
    loadAddon().zmqStart((...event) => sockets.get(event[0])?.handle(event));
  } catch (error) {
    if (!(error instanceof Error && "code" in error && error.code === "STEMLINE_ZMQ_UNAVAILABLE"))
      throw error;
    throw new HostError(error.code, `ZeroMQ ${version} cannot be used: ${error.message}`, { cause: error });
  }
}
