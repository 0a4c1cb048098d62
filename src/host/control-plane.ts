/** `stat` holds status and port addresses, `met` metrics. */
export type Bucket = "stat" | "met";

export interface Subscription {
  stop(): Promise<void>;
}

/**
 * Control plane of one operator: where its pipeline, parameters and triggers come from, and where its status goes.
 *
 * Watches and subscriptions go on for ever, through lost connections and through a server that comes back without its
 * state. Everything else fails with a HostError when the server cannot be reached, and leaves trying again to the caller.
 */
export interface ControlPlane {
  /** URL of the server, without a user, and its version. */
  readonly server: string;
  readonly connected: boolean;
  /** Largest body in bytes that can be published. */
  readonly maxPayloadBytes: number;
  /** Calls back when the connection is lost (false) and when it is there again (true). */
  onConnectionChange(listener: (connected: boolean) => void): void;
  /**
   * The runtime pipeline that was published for this operator, as JSON text. Waits for it through lost connections.
   *
   * Throws HostError `STEMLINE_PIPELINE_MISSING` if there is none within `timeoutMs`.
   */
  fetchPipeline(operatorId: string, timeoutMs: number): Promise<Uint8Array>;
  /** Sets a key; makes the bucket if it is not there. */
  put(bucket: Bucket, key: string, value: string): Promise<void>;
  remove(bucket: Bucket, key: string): Promise<void>;
  /**
   * Calls back with the present value and with later ones in order; null means that the key was removed. A value that
   * is replaced at once may be left out, and the present value may come again after the connection was lost.
   */
  watch(bucket: Bucket, key: string, onValue: (value: Uint8Array | null) => void): Subscription;
  /** Updates from now on. A handler that returns false refuses the update, and it does not come again. */
  consumeParameterUpdates(canonicalId: string, onUpdate: (body: Uint8Array) => boolean): Subscription;
  /** Requests to run a trigger; `answer` returns the reply. */
  answerTriggers(canonicalId: string, answer: (body: Uint8Array) => string): Subscription;
  /** The value of a parameter as the operator sees it. */
  publishParameter(canonicalId: string, name: string, body: string): Promise<void>;
  publishPipelineMetrics(body: string): Promise<void>;
  /** Throws HostError `STEMLINE_PUBLISH_TOO_LARGE` for a body over `maxPayloadBytes`, as `publishTable` does. */
  publishImage(canonicalId: string, image: Uint8Array): Promise<void>;
  publishTable(canonicalId: string, body: string): Promise<void>;
  /** Forgets the picture that `publishImage` left. */
  purgeImages(canonicalId: string): Promise<void>;
  close(): Promise<void>;
}
