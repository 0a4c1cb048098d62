import type { Bytes } from "../wire/bytes.ts";

/** One multipart message as it reached an input port. The receiver releases the parts. */
export interface ReceivedParts {
  /** Runtime id of the input port. */
  readonly portId: string;
  readonly parts: readonly Bytes[];
}

/** What became of the messages that a messenger had accepted and not sent when it was closed. */
export interface CloseReport {
  /** Upper bound for those that have not left this process. */
  readonly unsentAtMost: number;
}

/**
 * Told what happens to connections, except those that this side closes. The address is the one that an input port connects
 * to or an output port is bound to. An output's lost connection may take messages with it that waited in its queue:
 * `lostAtMost` is an upper bound.
 */
export interface MessengerObserver {
  connected?(portId: string, address: string): void;
  disconnected?(portId: string, address: string, lostAtMost: number): void;
}

/**
 * Data plane of one operator: moves message parts between ports, and nothing else. Every queue is bounded; a full one
 * makes `send` wait, and messages that nobody receives make the sender upstream wait.
 */
export interface Messenger {
  /**
   * Opens an output port. Resolves to the address that goes into the port's status value.
   *
   * Throws HostError `STEMLINE_PORT_BIND` if it cannot be bound.
   */
  openOutput(portId: string): Promise<string>;
  openInput(portId: string): void;
  /**
   * Connects an input port to where an upstream port can be reached, in place of where it was before; the same addresses
   * again change nothing. What had arrived from a former address is still delivered. Nothing happens after
   * `stopReceiving`.
   *
   * Throws HostError `STEMLINE_PORT_CONNECT` for what is no address.
   */
  connect(inputId: string, upstreamId: string, connectAddresses: readonly string[]): void;
  /**
   * The next message; input ports that have one are served in turn. Null after `stopReceiving`, when everything that had
   * arrived was given out. One call at a time.
   */
  receive(): Promise<ReceivedParts | null>;
  /**
   * Sends parts. Foreign ones are not copied: they are shared until they have left. Resolves when the port's queue has
   * taken them. One call at a time for each port.
   *
   * Rejects with HostError `STEMLINE_PORT_CLOSED` if the messenger is closed before that.
   */
  send(portId: string, parts: readonly Bytes[]): Promise<void>;
  /** Number of peers that a port is connected to now. */
  peers(portId: string): number;
  /** From now on `receive` gives out what has arrived in this process, then null. */
  stopReceiving(): void;
  /** Closes all ports; waits at most `flushMs`, or until `giveUp` is aborted, for accepted messages to leave. */
  close(flushMs: number, giveUp?: AbortSignal): Promise<CloseReport>;
}
