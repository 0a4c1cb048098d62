import { readFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import type { Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import {
  AckPolicy,
  type ConsumerConfig,
  type ConsumerInfo,
  DeliverPolicy,
  DiscardPolicy,
  JetStreamApiCodes,
  JetStreamApiError,
  type JetStreamManager,
  jetstreamManager,
  ReplayPolicy,
  RetentionPolicy,
  StorageType,
  type StreamConfig,
  type StreamInfo,
} from "@nats-io/jetstream";
import {
  type Authenticator,
  AuthorizationError,
  type ConnectionOptions,
  connect,
  createInbox,
  credsAuthenticator,
  Empty,
  headers,
  type Msg,
  type NatsConnection,
  nanos,
  nkeyAuthenticator,
  nuid,
  type Payload,
  RequestError,
  UserAuthenticationExpiredError,
  wsconnect,
} from "@nats-io/transport-node";
import { WebSocket as NodeWebSocket } from "ws";
import { errorText, HostError } from "../errors.ts";
import type { Logger } from "../operator/define-operator.ts";
import {
  bucketStream,
  bucketSubject,
  imageSubject,
  parameterSubject,
  parameterUpdatesSubject,
  pipelineMetricsSubject,
  pipelineSubject,
  streams,
  tableSubject,
  triggersSubject,
} from "../wire/subjects.ts";
import type { NatsCredentials } from "./config.ts";
import type { Bucket, ControlPlane, Subscription } from "./control-plane.ts";
import { atMostEvery, within } from "./pace.ts";

export interface NatsOptions {
  /** `nats://`, `tls://`, `ws://` or `wss://`; `tls://` and `wss://` refuse a server without TLS. */
  readonly url: string;
  readonly credentials: NatsCredentials;
  /** Name of the connection on the server. */
  readonly name: string;
  /** What a bucket is kept in if it has to be made. */
  readonly storage: "memory" | "file";
  /** How long the server may stay unreachable at the start. */
  readonly waitSeconds: number;
  readonly log: Logger;
  /** Ends the wait at the start: the call fails with the signal's reason. */
  readonly signal?: AbortSignal;
}

const retryMs = 1_000;
const dialTimeoutMs = 5_000;
const warnEveryMs = 10_000;
// Two pings may stay without an answer: a silent server is given up within 18 s.
const pingIntervalMs = 6_000;
const acknowledgementMs = 10_000;
const closeMs = 2_000;
const watchHeartbeatMs = 2_000;
const watchSilenceMs = 5_000;
const watchInactiveMs = 30_000;
const pullMs = 10_000;
// The server answers a pull when its time is over; this long after it the answer is taken for lost.
const pullGraceMs = 5_000;

const heartbeatStatus = 100;
/** No message, and none in the time that was asked for. */
const emptyStatuses: readonly number[] = [404, 408];
/** JetStream's error code for making a stream that exists with other settings. */
const streamNameInUse = 10058;

/**
 * Control plane over NATS JetStream, with the subjects, streams and buckets of interactEM.
 *
 * A server that cannot be reached is tried again every second. Throws HostError `STEMLINE_NATS_UNREACHABLE` after
 * `waitSeconds`, and `STEMLINE_NATS_REFUSED` at once for credentials that cannot be read or that the server refuses.
 * Once connected, it reconnects for ever.
 *
 * nats.js has one transport for the whole process: all connections of a process must be of one kind, TCP or websocket.
 */
export async function connectControlPlane(options: NatsOptions): Promise<ControlPlane> {
  const connection = await firstConnection(options, await authenticatorFor(options.credentials));
  const link = await openLink(connection, withoutUser(options.url), options.log);
  const subscriptions = new Set<Subscription>();
  const ending = new AbortController();
  let closing: Promise<void> | null = null;

  const publish = publisher(link);
  const publishToBucket = bucketPublisher(link, publish, options.storage);

  function own(subscription: Subscription): Subscription {
    subscriptions.add(subscription);
    if (closing !== null) void subscription.stop();
    return {
      async stop() {
        subscriptions.delete(subscription);
        await subscription.stop();
      },
    };
  }

  async function closeAll(): Promise<void> {
    ending.abort(link.disconnected());
    const orderly = Promise.all([...subscriptions].map((subscription) => subscription.stop()))
      .then(() => link.call(() => connection.flush()))
      .then(() => link.idle())
      .catch(() => {});
    const isSilent = !(await within(closeMs, orderly));
    link.close();
    if (isSilent) dropSocket(connection);
    await within(closeMs, connection.close());
  }

  return {
    server: `${withoutUser(options.url)} (nats-server ${connection.info?.version ?? "of unknown version"})`,
    get connected() {
      return link.connected;
    },
    get maxPayloadBytes() {
      return link.maxPayloadBytes;
    },
    onConnectionChange: link.onChange,
    fetchPipeline: (operatorId, timeoutMs) => fetchPipeline(link, operatorId, timeoutMs, ending.signal),
    put: (bucket, key, value) => publishToBucket(bucket, key, value),
    remove: (bucket, key) => publishToBucket(bucket, key, "", { "KV-Operation": "DEL" }),
    watch: (bucket, key, onValue) => own(watchKey(link, bucket, key, onValue)),
    consumeParameterUpdates: (canonicalId, onUpdate) =>
      own(consumeParameterUpdates(link, canonicalId, onUpdate)),
    answerTriggers: (canonicalId, answer) => own(answerTriggers(link, canonicalId, answer)),
    publishParameter: (canonicalId, name, body) =>
      publish(parameterSubject(canonicalId, name), body, { "Nats-Expected-Stream": streams.parameters }),
    publishPipelineMetrics: (body) => publish(pipelineMetricsSubject, body),
    publishImage: (canonicalId, image) => publish(imageSubject(canonicalId), image),
    publishTable: (canonicalId, body) => publish(tableSubject(canonicalId), body),
    purgeImages: async (canonicalId) => {
      const filter = imageSubject(canonicalId);
      await attempt(`purge ${filter}`, () =>
        link.call(() => link.manager.streams.purge(streams.images, { filter })),
      );
    },
    close() {
      closing ??= closeAll();
      return closing;
    },
  };
}

// Connecting

/** Proves who this is to the server. Throws HostError `STEMLINE_NATS_REFUSED`, without any of the content. */
async function authenticatorFor(credentials: NatsCredentials): Promise<Authenticator> {
  if (credentials.mode === "nkeys") {
    return usable(nkeyAuthenticator(new TextEncoder().encode(credentials.seed.trim())), "nkey seed");
  }
  const content = await readFile(credentials.file).catch((error: unknown) => {
    throw new HostError("STEMLINE_NATS_REFUSED", `Cannot read the NATS credentials: ${errorText(error)}`);
  });
  let latest = usable(credsAuthenticator(content), `credentials file ${credentials.file}`);
  return (nonce) => {
    // Read at every connection: users expire, and whoever issued them puts new ones there. Must not throw here.
    try {
      const renewed = credsAuthenticator(readFileSync(credentials.file));
      const answer = renewed(nonce);
      latest = renewed;
      return answer;
    } catch {
      return latest(nonce);
    }
  };
}

/** The same authenticator, after a trial that shows whether its seed can be read. */
function usable(authenticator: Authenticator, what: string): Authenticator {
  try {
    authenticator("trial");
  } catch {
    // The parser's own error might quote what it could not read.
    throw new HostError("STEMLINE_NATS_REFUSED", `The NATS ${what} is malformed`);
  }
  return authenticator;
}

async function firstConnection(options: NatsOptions, authenticator: Authenticator): Promise<NatsConnection> {
  const { url, waitSeconds, log, signal } = options;
  const server = withoutUser(url);
  const start = performance.now();
  const isWarningDue = atMostEvery(warnEveryMs);
  for (;;) {
    signal?.throwIfAborted();
    try {
      const connection = await abandonable(dial(options, authenticator), signal);
      log.info({ server }, "Connected to NATS");
      return connection;
    } catch (error) {
      signal?.throwIfAborted();
      const reason = errorText(error);
      if (isRefusal(error)) {
        throw new HostError(
          "STEMLINE_NATS_REFUSED",
          `NATS server ${server} refuses these credentials: ${reason}`,
          {
            cause: error,
          },
        );
      }
      const waitedMs = performance.now() - start;
      if (waitedMs >= waitSeconds * 1_000) {
        const waited = (waitedMs / 1_000).toFixed(1);
        throw new HostError(
          "STEMLINE_NATS_UNREACHABLE",
          `NATS server ${server} could not be reached for ${waited} s: ${reason}`,
          { cause: error },
        );
      }
      if (isWarningDue()) log.warn({ server, reason }, "NATS cannot be reached; trying again");
      // An aborted wait is noticed at the top of the loop.
      await sleep(retryMs, undefined, signal === undefined ? {} : { signal }).catch(() => {});
    }
  }
}

function dial(options: NatsOptions, authenticator: Authenticator): Promise<NatsConnection> {
  const { protocol } = new URL(options.url);
  const settings: ConnectionOptions = {
    // Its user is of no use with these credentials, and nats.js takes it for a part of the address.
    servers: withoutUser(options.url),
    name: options.name,
    authenticator,
    timeout: dialTimeoutMs,
    maxReconnectAttempts: -1,
    reconnectTimeWait: retryMs,
    reconnectJitterTLS: 100,
    pingInterval: pingIntervalMs,
    ignoreAuthErrorAbort: true,
  };
  if (protocol === "ws:" || protocol === "wss:") return wsconnect({ ...settings, wsFactory: openWebSocket });
  return connect(protocol === "tls:" ? { ...settings, tls: {} } : settings);
}

/** Node 20 has no WebSocket of its own. */
async function openWebSocket(url: string) {
  const socket = new NodeWebSocket(url, { handshakeTimeout: dialTimeoutMs, perMessageDeflate: false });
  // An error that came after nats.js has taken its own handlers off would end the process.
  socket.on("error", () => {});
  // Lacks only `dispatchEvent`, which nats.js has no use for.
  return { socket: socket as unknown as WebSocket, encrypted: url.startsWith("wss:") };
}

/** What `opening` gives, unless `signal` comes first; a connection that opens after that is closed. */
async function abandonable(
  opening: Promise<NatsConnection>,
  signal: AbortSignal | undefined,
): Promise<NatsConnection> {
  if (signal === undefined) return opening;
  return new Promise((resolve, reject) => {
    const abandon = () => {
      reject(signal.reason);
      opening.then((connection) => connection.close()).catch(() => {});
    };
    signal.addEventListener("abort", abandon, { once: true });
    opening.then(resolve, reject).finally(() => signal.removeEventListener("abort", abandon));
  });
}

function isRefusal(error: unknown): boolean {
  // A server under load may also be too slow for the handshake, which is no refusal.
  return (
    error instanceof UserAuthenticationExpiredError ||
    (error instanceof AuthorizationError && !/timeout/i.test(error.message))
  );
}

function withoutUser(url: string): string {
  const parsed = new URL(url);
  parsed.username = "";
  parsed.password = "";
  return parsed.href;
}

// The connection, as everything below uses it

interface Link {
  readonly connection: NatsConnection;
  /** To be used inside `call` only, like the connection's requests. */
  readonly manager: JetStreamManager;
  readonly log: Logger;
  readonly connected: boolean;
  readonly maxPayloadBytes: number;
  onChange(listener: (connected: boolean) => void): void;
  /**
   * What `action` gives. Fails with HostError `STEMLINE_NATS_DISCONNECTED` as soon as there is no connection: nats.js
   * would keep a request until its time is over. Fails with the reason of `signal` when that is aborted.
   */
  call<T>(action: () => Promise<T>, signal?: AbortSignal): Promise<T>;
  /** Resolves when no call is under way. */
  idle(): Promise<void>;
  disconnected(): HostError;
  /** From now on every call fails. */
  close(): void;
}

async function openLink(connection: NatsConnection, server: string, log: Logger): Promise<Link> {
  const pending = new Set<(reason: HostError) => void>();
  const listeners: ((connected: boolean) => void)[] = [];
  const isErrorDue = atMostEvery(warnEveryMs);
  let connected = true;
  let whenIdle = () => {};
  let maxPayloadBytes = connection.info?.max_payload ?? 0;

  const disconnected = () =>
    new HostError("STEMLINE_NATS_DISCONNECTED", `There is no connection to NATS server ${server}`);

  function loseConnection(): void {
    connected = false;
    for (const fail of pending) fail(disconnected());
  }

  function change(now: boolean): void {
    if (now === connected) return;
    if (now) {
      connected = true;
      maxPayloadBytes = connection.info?.max_payload ?? maxPayloadBytes;
      log.info({ server }, "Connected to NATS again");
    } else {
      loseConnection();
      log.warn({ server }, "Lost the connection to NATS; connecting again");
    }
    for (const listener of listeners) guarded(log, "A listener for the connection", () => listener(now));
  }

  async function follow(): Promise<void> {
    for await (const status of connection.status()) {
      if (status.type === "staleConnection") dropSocket(connection);
      if (status.type === "disconnect") change(false);
      if (status.type === "reconnect") change(true);
      if (status.type === "error" && isErrorDue()) {
        log.error({ server, reason: status.error.message }, "NATS reports an error");
      }
    }
  }
  void follow();

  return {
    connection,
    manager: await jetstreamManager(connection, { checkAPI: false }),
    log,
    get connected() {
      return connected;
    },
    get maxPayloadBytes() {
      return maxPayloadBytes;
    },
    onChange: (listener) => void listeners.push(listener),
    async call(action, signal) {
      if (!connected) throw disconnected();
      signal?.throwIfAborted();
      let stop: (reason: unknown) => void = () => {};
      const stopped = new Promise<never>((_resolve, reject) => {
        stop = reject;
      });
      const abort = () => stop(signal?.reason);
      pending.add(stop);
      signal?.addEventListener("abort", abort, { once: true });
      try {
        return await Promise.race([action(), stopped]);
      } finally {
        signal?.removeEventListener("abort", abort);
        pending.delete(stop);
        if (pending.size === 0) whenIdle();
      }
    },
    idle: () =>
      new Promise((resolve) => {
        whenIdle = resolve;
        if (pending.size === 0) resolve();
      }),
    disconnected,
    close: loseConnection,
  };
}

/**
 * Before nats.js gives up a silent server it waits until what it has sent is gone, which never happens once the
 * buffers are full. It offers no way to end that but its socket.
 */
function dropSocket(connection: NatsConnection): void {
  const { protocol } = connection as unknown as {
    readonly protocol: { readonly transport: { readonly socket?: NodeWebSocket | Socket } };
  };
  const { socket } = protocol.transport;
  if (socket instanceof NodeWebSocket) socket.terminate();
  else socket?.destroy();
}

/**
 * Runs `session` again and again, a second apart, until it is stopped: a session ends when the connection is lost or the
 * server has forgotten what it was about.
 */
function keepUp(link: Link, what: string, session: (signal: AbortSignal) => Promise<void>): Subscription {
  const stopping = new AbortController();
  const { signal } = stopping;
  const isWarningDue = atMostEvery(warnEveryMs);

  async function run(): Promise<void> {
    while (!signal.aborted) {
      try {
        if (link.connected) await session(signal);
      } catch (error) {
        const isNews = link.connected && !signal.aborted && isWarningDue();
        if (isNews) link.log.warn({ reason: errorText(error) }, `${what} is interrupted; trying again`);
      }
      await sleep(retryMs, undefined, { signal }).catch(() => {});
    }
  }
  const running = run();
  return {
    async stop() {
      stopping.abort();
      await running;
    },
  };
}

// Publishing

type Publish = (subject: string, body: Payload, fields?: Readonly<Record<string, string>>) => Promise<void>;

/** Publishes into whatever stream holds the subject and waits for its acknowledgement. */
function publisher(link: Link): Publish {
  return async (subject, body, fields) => {
    const bytes = typeof body === "string" ? new TextEncoder().encode(body) : body;
    if (bytes.length > link.maxPayloadBytes) {
      throw new HostError(
        "STEMLINE_PUBLISH_TOO_LARGE",
        `A message of ${bytes.length} bytes for ${subject} is over the NATS server's limit of ${link.maxPayloadBytes} bytes`,
      );
    }
    await attempt(`publish to ${subject}`, async () => {
      const reply = await link.call(() =>
        link.connection.request(subject, bytes, {
          timeout: acknowledgementMs,
          ...(fields === undefined ? {} : { headers: headerOf(fields) }),
        }),
      );
      const { error } = reply.json<{ error?: { description: string } }>();
      if (error !== undefined) throw new Error(error.description);
    });
  };
}

/** Publishes into a bucket, and makes the bucket before if a server that was started again does not have it. */
function bucketPublisher(
  link: Link,
  publish: Publish,
  storage: NatsOptions["storage"],
): (bucket: Bucket, key: string, value: string, fields?: Readonly<Record<string, string>>) => Promise<void> {
  // Only a promise, so that puts at the same time share one look.
  const ready = new Map<Bucket, Promise<void>>();
  link.onChange(() => ready.clear());

  function ensure(bucket: Bucket): Promise<void> {
    const known = ready.get(bucket);
    if (known !== undefined) return known;
    const looking = attempt(`make bucket ${bucket}`, () => makeBucketIfMissing(link, bucket, storage));
    ready.set(bucket, looking);
    return looking;
  }

  return async (bucket, key, value, fields) => {
    const subject = bucketSubject(bucket, key);
    try {
      await ensure(bucket);
      await publish(subject, value, fields);
    } catch (error) {
      // Also after a timeout: as long as anybody subscribes to everything, a missing stream is only silence.
      ready.delete(bucket);
      if (!isNoResponders(error)) throw error;
      await ensure(bucket);
      await publish(subject, value, fields);
    }
  };
}

async function makeBucketIfMissing(
  link: Link,
  bucket: Bucket,
  storage: NatsOptions["storage"],
): Promise<void> {
  if ((await streamInfo(link, bucketStream(bucket))) !== null) return;
  try {
    await link.call(() => link.manager.streams.add(bucketConfig(link, bucket, storage)));
    link.log.warn({ bucket }, "Made a bucket that the NATS server did not have");
  } catch (error) {
    // Somebody else was faster, with settings of their own.
    if (!isApiError(error, streamNameInUse)) throw error;
  }
}

/** A stored value expires after this time unless it is put again. */
const bucketAge = nanos(30_000);

function bucketConfig(link: Link, bucket: Bucket, storage: NatsOptions["storage"]) {
  const [major = 0, minor = 0] = (link.connection.info?.version ?? "").split(".").map(Number);
  const marksExpiry = major > 2 || (major === 2 && minor >= 11);
  return {
    name: bucketStream(bucket),
    subjects: [bucketSubject(bucket, ">")],
    retention: RetentionPolicy.Limits,
    max_msgs_per_subject: 1,
    max_age: bucketAge,
    duplicate_window: bucketAge,
    discard: DiscardPolicy.New,
    deny_delete: true,
    allow_rollup_hdrs: true,
    allow_direct: false,
    num_replicas: 1,
    storage: storage === "file" ? StorageType.File : StorageType.Memory,
    ...(marksExpiry ? { allow_msg_ttl: true, subject_delete_marker_ttl: bucketAge } : {}),
  } satisfies Partial<StreamConfig>;
}

/** Runs `action`; what goes wrong becomes HostError `STEMLINE_PUBLISH_FAILED` unless it is a HostError. */
async function attempt<T>(what: string, action: () => Promise<T>): Promise<T> {
  try {
    return await action();
  } catch (error) {
    if (error instanceof HostError) throw error;
    throw new HostError("STEMLINE_PUBLISH_FAILED", `Could not ${what}: ${errorText(error)}`, {
      cause: error,
    });
  }
}

function headerOf(fields: Readonly<Record<string, string>>) {
  const header = headers();
  for (const [name, value] of Object.entries(fields)) header.set(name, value);
  return header;
}

// Consumers

type NewConsumer = Partial<ConsumerConfig> & { readonly name: string };

/** Where a pull consumer has come to in its stream, and which stream that was. */
interface Position {
  readonly created: string;
  readonly sequence: number;
}

async function fetchPipeline(
  link: Link,
  operatorId: string,
  timeoutMs: number,
  signal: AbortSignal,
): Promise<Uint8Array> {
  const subject = pipelineSubject(operatorId);
  const deadline = performance.now() + timeoutMs;
  const remaining = () => Math.max(1, Math.ceil(deadline - performance.now()));
  let cause: unknown = new Error("there is no such message");
  do {
    const name = nuid.next();
    try {
      await addConsumer(link, streams.deployments, {
        name,
        description: `operator-pipelines-${operatorId}`,
        deliver_policy: DeliverPolicy.LastPerSubject,
        ack_policy: AckPolicy.Explicit,
        filter_subject: subject,
      });
      const message = await pull(link, streams.deployments, name, Math.min(pullMs, remaining()), signal);
      if (message !== null) {
        message.respond(Empty);
        return message.data;
      }
    } catch (error) {
      // Everything else may pass, a lost connection too.
      if (signal.aborted) throw error;
      cause = error;
    } finally {
      forgetConsumer(link, streams.deployments, name);
    }
    await sleep(Math.min(retryMs, remaining()), undefined, { signal }).catch(() => {
      throw signal.reason;
    });
  } while (performance.now() < deadline);
  throw new HostError(
    "STEMLINE_PIPELINE_MISSING",
    `No pipeline for operator ${operatorId} came on ${subject} within ${timeoutMs / 1_000} s: ${errorText(cause)}`,
    { cause },
  );
}

function watchKey(
  link: Link,
  bucket: Bucket,
  key: string,
  onValue: (value: Uint8Array | null) => void,
): Subscription {
  const stream = bucketStream(bucket);
  const watch = `Watch of ${key} in bucket ${bucket}`;

  return keepUp(link, watch, async (signal) => {
    // Every session has its own inbox, and its own consumer that begins with the present value. So nothing of an
    // earlier session can come after something newer, and revisions need not grow when a server has lost its state.
    const messages = link.connection.subscribe(createInbox());
    const watchdog = setTimeout(() => messages.unsubscribe(), watchSilenceMs);
    const name = nuid.next();

    async function follow(): Promise<void> {
      for await (const message of messages) {
        if (signal.aborted) return;
        watchdog.refresh();
        const status = message.headers?.code ?? 0;
        if (status === 0) guarded(link.log, watch, () => onValue(storedValue(message)));
        else if (status !== heartbeatStatus) throw new Error(statusOf(message));
      }
      throw new Error(`nothing was heard from the NATS server for ${watchSilenceMs / 1_000} s`);
    }

    try {
      await addConsumer(link, stream, {
        name,
        deliver_subject: messages.getSubject(),
        deliver_policy: DeliverPolicy.LastPerSubject,
        ack_policy: AckPolicy.None,
        max_deliver: 1,
        filter_subject: bucketSubject(bucket, key),
        idle_heartbeat: nanos(watchHeartbeatMs),
        inactive_threshold: nanos(watchInactiveMs),
        mem_storage: true,
      });
      await link.call(follow, signal);
    } finally {
      clearTimeout(watchdog);
      messages.unsubscribe();
      forgetConsumer(link, stream, name);
    }
  });
}

/** Null for the mark of a removed key; a server of 2.11 or later marks an expired one by a value without bytes. */
function storedValue(message: Msg): Uint8Array | null {
  const removed = message.headers?.has("KV-Operation") ?? false;
  return removed || message.data.length === 0 ? null : message.data;
}

function consumeParameterUpdates(
  link: Link,
  canonicalId: string,
  onUpdate: (body: Uint8Array) => boolean,
): Subscription {
  const stream = streams.parameters;
  const consumption = `Consumption of parameter updates for operator ${canonicalId}`;
  const since = new Date();
  let onTime = link.connected;
  let position: Position | null = null;

  /** Continues where the last consumer ended; in a stream that was made since then everything is new. */
  async function openConsumer(name: string): Promise<Position> {
    // Clocks differ: the time counts only if there was no consumer from the start.
    const isLate = !onTime;
    onTime = false;
    const info = await streamInfo(link, stream);
    if (info === null) {
      position ??= { created: "", sequence: 0 };
      throw new Error(`there is no stream ${stream}`);
    }
    const { created } = info;
    const isSame = position?.created === created && position.sequence <= info.state.last_seq;
    const sequence = isSame ? (position?.sequence ?? 0) : 0;
    const consumer = await addConsumer(link, stream, {
      name,
      description: `operator-${canonicalId}`,
      ack_policy: AckPolicy.Explicit,
      filter_subject: parameterUpdatesSubject(canonicalId),
      ...startAfter(position === null ? null : sequence, isLate ? since : null),
    });
    return { created, sequence: position === null ? consumer.delivered.stream_seq : sequence };
  }

  return keepUp(link, consumption, async (signal) => {
    const name = nuid.next();
    try {
      position = await openConsumer(name);
      while (!signal.aborted) {
        const message = await pull(link, stream, name, pullMs, signal);
        if (message === null) continue;
        position = { ...position, sequence: streamSequence(message) };
        const accepted = guarded(link.log, consumption, () => onUpdate(message.data)) ?? false;
        message.respond(accepted ? Empty : "+TERM");
      }
    } finally {
      forgetConsumer(link, stream, name);
    }
  });
}

/** From the message behind that one; without one, from that time, or from now on. */
function startAfter(sequence: number | null, since: Date | null): Partial<ConsumerConfig> {
  if (sequence !== null) {
    return { deliver_policy: DeliverPolicy.StartSequence, opt_start_seq: sequence + 1 };
  }
  if (since !== null) return { deliver_policy: DeliverPolicy.StartTime, opt_start_time: since.toISOString() };
  return { deliver_policy: DeliverPolicy.New };
}

/** The reply subject of a delivery says which message of the stream it is; newer servers name the account too. */
function streamSequence(message: Msg): number {
  const tokens = (message.reply ?? "").split(".");
  return Number(tokens[tokens.length > 9 ? 7 : 5]);
}

async function addConsumer(link: Link, stream: string, config: NewConsumer): Promise<ConsumerInfo> {
  return link.call(() =>
    link.manager.consumers.add(stream, { replay_policy: ReplayPolicy.Instant, ...config }),
  );
}

/** Nobody waits for this, and nothing hangs on it: a consumer without a client ends by itself. */
function forgetConsumer(link: Link, stream: string, name: string): void {
  link.call(() => link.manager.consumers.delete(stream, name)).catch(() => {});
}

/** Next message of a pull consumer, or null if there is none in that time. */
async function pull(
  link: Link,
  stream: string,
  consumer: string,
  expiresMs: number,
  signal: AbortSignal,
): Promise<Msg | null> {
  const subject = `$JS.API.CONSUMER.MSG.NEXT.${stream}.${consumer}`;
  const request = JSON.stringify({ batch: 1, expires: nanos(expiresMs) });
  // A delivery has the subject of the stored message, by which nats.js could not find the request in a shared inbox.
  const options = { timeout: expiresMs + pullGraceMs, noMux: true };
  const message = await link.call(() => link.connection.request(subject, request, options), signal);
  const status = message.headers?.code ?? 0;
  if (status === 0) return message;
  if (emptyStatuses.includes(status)) return null;
  throw new Error(statusOf(message));
}

/** Settings and state of a stream, or null if the server has no such stream. */
async function streamInfo(link: Link, name: string): Promise<StreamInfo | null> {
  try {
    return await link.call(() => link.manager.streams.info(name));
  } catch (error) {
    if (isApiError(error, JetStreamApiCodes.StreamNotFound)) return null;
    throw error;
  }
}

// Triggers

function answerTriggers(link: Link, canonicalId: string, answer: (body: Uint8Array) => string): Subscription {
  const subject = triggersSubject(canonicalId);
  // nats.js subscribes again by itself after the connection was lost.
  const subscription = link.connection.subscribe(subject, {
    callback(error, message) {
      if (error !== null) {
        link.log.error({ subject, reason: error.message }, "Triggers cannot be received");
        return;
      }
      // Nothing may be thrown from here: nats.js would stop reading.
      guarded(link.log, `Answer to ${message.subject}`, () => {
        const reply = answer(message.data);
        if (message.reply) message.respond(reply);
      });
    },
  });
  return {
    async stop() {
      subscription.unsubscribe();
    },
  };
}

// Small things

/** What `handler` returns, or null after it threw, which is logged. */
function guarded<T>(log: Logger, what: string, handler: () => T): T | null {
  try {
    return handler();
  } catch (error) {
    log.error({ error }, `${what} failed`);
    return null;
  }
}

function isNoResponders(error: unknown): boolean {
  return error instanceof HostError && error.cause instanceof RequestError && error.cause.isNoResponders();
}

function isApiError(error: unknown, code: number): boolean {
  return error instanceof JetStreamApiError && error.code === code;
}

function statusOf(message: Msg): string {
  return `${message.headers?.code} ${message.headers?.description}`;
}
