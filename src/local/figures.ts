/** What one canonical operator has done so far, all its replicas together. */
export interface OperatorFigures {
  /** Canonical id. */
  readonly id: string;
  readonly label: string;
  readonly replicas: number;
  /** Whether it has no input ports. */
  readonly source: boolean;
  readonly messagesIn: number;
  readonly messagesOut: number;
  /** Bytes of meta and data; a meta that is an object counts as none. */
  readonly bytesIn: number;
  readonly bytesOut: number;
  readonly frames: number;
  readonly droppedFrames: number;
  /** Frames that a source is going to send, as far as it said; 0 when it did not. */
  readonly expectedFrames: number;
  /** Time spent inside the operator, added over replicas; waiting for neighbours is not in it. */
  readonly busySeconds: number;
  /** Calls that failed, each the loss of one message, and messages thrown away after the operator had to end. */
  readonly failures: number;
  readonly discarded: number;
  /** Text of the first failure. */
  readonly firstError: string | null;
}

/** The same, while it is being counted. */
export type MutableFigures = { -readonly [K in keyof OperatorFigures]: OperatorFigures[K] };

export function startFigures(id: string, label: string, replicas: number, source: boolean): MutableFigures {
  return {
    id,
    label,
    replicas,
    source,
    messagesIn: 0,
    messagesOut: 0,
    bytesIn: 0,
    bytesOut: 0,
    frames: 0,
    droppedFrames: 0,
    expectedFrames: 0,
    busySeconds: 0,
    failures: 0,
    discarded: 0,
    firstError: null,
  };
}
