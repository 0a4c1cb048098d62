/** Which of a peer's connections: straight from sender to sink, or through the operators. */
export type Route = "direct" | "operators";

/** Messages that may wait on each side of each connection; an operator's own limit. */
export const queueMessages = 4;

/** What the bench tells a sender or a sink to do. */
export type PeerCommand =
  | { readonly do: "listen"; readonly route: Route }
  | { readonly do: "load"; readonly parts: readonly Uint8Array[] }
  | SendCommand
  | { readonly do: "connect"; readonly route: Route; readonly address: string; readonly numbered: boolean }
  | TakeCommand;

export interface SendCommand {
  readonly do: "send";
  readonly route: Route;
  /** Ends at whichever comes first. */
  readonly seconds: number;
  readonly messages: number;
  /** Null: as fast as the receiver takes them. */
  readonly perSecond: number | null;
  /** Whether each message says its number, from 0 on, as its `current_batch_index`. */
  readonly numbered: boolean;
}

/** Asks for what has come since the last time, as soon as that is `messages`, at the latest after `withinMs`. */
export interface TakeCommand {
  readonly do: "take";
  readonly route: Route;
  readonly messages: number;
  readonly withinMs: number;
  /** Whether the last message itself is wanted. */
  readonly withParts: boolean;
}

export interface PeerReplies {
  /** Address to connect to. */
  readonly listen: string;
  readonly load: null;
  /** When each message was given to the socket, in milliseconds of the machine's monotonic clock. */
  readonly send: Float64Array;
  readonly connect: null;
  readonly take: Received;
}

/** Messages in the order in which they came. */
export interface Received {
  /** When each message was there, in milliseconds of the machine's monotonic clock. */
  readonly at: Float64Array;
  /** `current_batch_index` of each message, NaN if it has none; empty unless the connection is for numbered messages. */
  readonly numbers: Float64Array;
  /** Sum over all parts of all messages. */
  readonly bytes: number;
  /** The last message, if it was asked for. */
  readonly parts: readonly Uint8Array[];
}

/** Milliseconds of the machine's monotonic clock, which all processes share. */
export function monotonicMs(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}
