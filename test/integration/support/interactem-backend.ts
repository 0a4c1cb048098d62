import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import {
  DiscardPolicy,
  type JetStreamManager,
  jetstreamManager,
  RetentionPolicy,
  StorageType,
  type StreamConfig,
} from "@nats-io/jetstream";
import {
  connect,
  credsAuthenticator,
  headers,
  type Msg,
  type NatsConnection,
  nanos,
  nkeyAuthenticator,
} from "@nats-io/transport-node";
import type { NatsServer } from "./nats-server.ts";

type BucketName = "stat" | "met";

/** One message as a subscription to `>` saw it: also JetStream requests, acknowledgements and replies. */
export interface RecordedMessage {
  readonly subject: string;
  readonly reply: string | null;
  /** Header fields, or null for a message without a header. */
  readonly headers: Readonly<Record<string, string>> | null;
  readonly body: string;
}

/**
 * What interactEM's backend does for operators, over one NATS connection: it makes the streams and buckets, publishes
 * pipelines, sends parameter updates and triggers, and reads what operators put into the buckets.
 *
 * The connection is `nats://` or `tls://` and comes back by itself when the server is started again; every method waits
 * for that. nats.js keeps one transport per process: in a process that also connects through a websocket, whichever
 * connected last decides how every connection is made again.
 */
export interface Backend {
  readonly connection: NatsConnection;
  /** Every message since the start, oldest first. */
  readonly recorded: readonly RecordedMessage[];
  /** Makes what is missing of the streams and the two buckets; to be called again after a server lost its state. */
  createStreams(): Promise<void>;
  /** Publishes the runtime pipeline for one operator, given as JSON text or as what becomes it. */
  publishPipeline(operatorId: string, pipeline: object | string): Promise<void>;
  /** Keys of a bucket that have a value, sorted. */
  keys(bucket: BucketName): Promise<string[]>;
  /** Text of a key's value, or null if it has none. */
  read(bucket: BucketName, key: string): Promise<string | null>;
  /** Sets a key as another operator does. */
  put(bucket: BucketName, key: string, value: string): Promise<void>;
  /** Removes a key as another operator does. */
  remove(bucket: BucketName, key: string): Promise<void>;
  /** Sends an update of a parameter; the subject and the body name the same parameter. */
  updateParameter(canonicalId: string, name: string, type: string, value: unknown): Promise<void>;
  /** Value that the operator published last for a parameter, as text of the whole body, or null. */
  parameter(canonicalId: string, name: string): Promise<string | null>;
  /** Sends a trigger and returns the reply; the body defaults to `{"trigger": name}`. */
  requestTrigger(canonicalId: string, name: string, body?: string): Promise<string>;
  /** Last message that a stream holds for a subject, or null. */
  lastMessage(stream: string, subject: string): Promise<Uint8Array | null>;
  close(): Promise<void>;
}

export interface BackendOptions {
  /** What the streams are kept in: `memory` (default) is lost with the server's process, `file` is not. */
  readonly storage?: "memory" | "file";
}

/** Connects, starts recording, and makes the streams and buckets. */
export async function startBackend(server: NatsServer, options: BackendOptions = {}): Promise<Backend> {
  const connection = await connect({
    servers: server.url,
    name: "backend",
    maxReconnectAttempts: -1,
    reconnectDelayHandler: () => 50,
    ignoreAuthErrorAbort: true,
    authenticator:
      server.credentials.mode === "nkeys"
        ? nkeyAuthenticator(new TextEncoder().encode(server.credentials.seed))
        : credsAuthenticator(readFileSync(server.credentials.file)),
    ...(server.caFile === null ? {} : { tls: { caFile: server.caFile } }),
  });
  const recorded: RecordedMessage[] = [];
  connection.subscribe(">", { callback: (_error, message) => void recorded.push(record(message)) });
  const manager = await jetstreamManager(connection, { checkAPI: false });
  /** What nats.js is given while there is no connection is lost, not kept for later. */
  const connected = async (): Promise<void> => {
    while (
      !(await connection.rtt().then(
        () => true,
        () => false,
      ))
    )
      await sleep(20);
  };
  const storage = options.storage === "file" ? StorageType.File : StorageType.Memory;

  async function publish(subject: string, body: string, fields: Record<string, string> = {}): Promise<void> {
    const header = headers();
    for (const [name, value] of Object.entries(fields)) header.set(name, value);
    await connected();
    const withFields = Object.keys(fields).length > 0 ? { headers: header } : {};
    const reply = await connection.request(subject, body, { timeout: 5_000, ...withFields });
    const { error } = reply.json<{ error?: { description: string } }>();
    if (error !== undefined) throw new Error(`${subject}: ${error.description}`);
  }

  async function last(stream: string, subject: string): Promise<Uint8Array | null> {
    await connected();
    const message = await manager.streams.getMessage(stream, { last_by_subj: subject });
    return message?.data ?? null;
  }

  async function lastText(stream: string, subject: string): Promise<string | null> {
    const data = await last(stream, subject);
    return data === null || data.length === 0 ? null : new TextDecoder().decode(data);
  }

  const backend: Backend = {
    connection,
    recorded,
    async createStreams() {
      await connected();
      await createStreams(manager, storage);
    },
    publishPipeline: (operatorId, pipeline) =>
      publish(`depl.op.${operatorId}`, typeof pipeline === "string" ? pipeline : JSON.stringify(pipeline), {
        "Nats-Expected-Stream": "depl",
      }),
    async keys(bucket) {
      await connected();
      const prefix = `$KV.${bucket}.`;
      const info = await manager.streams.info(`KV_${bucket}`, { subjects_filter: `${prefix}>` });
      const keys = Object.keys(info.state.subjects ?? {}).map((subject) => subject.slice(prefix.length));
      const values = await Promise.all(keys.map((key) => backend.read(bucket, key)));
      return keys.filter((_key, index) => values[index] !== null).sort();
    },
    read: (bucket, key) => lastText(`KV_${bucket}`, `$KV.${bucket}.${key}`),
    put: (bucket, key, value) => publish(`$KV.${bucket}.${key}`, value),
    remove: (bucket, key) => publish(`$KV.${bucket}.${key}`, "", { "KV-Operation": "DEL" }),
    updateParameter: (canonicalId, name, type, value) =>
      publish(
        `par.op.upd.${canonicalId}.${name}`,
        JSON.stringify({ canonical_operator_id: canonicalId, name, type, value }),
      ),
    parameter: (canonicalId, name) => lastText("par", `par.op.${canonicalId}.${name}`),
    async requestTrigger(canonicalId, name, body = JSON.stringify({ trigger: name })) {
      await connected();
      const reply = await connection.request(`trig.op.${canonicalId}.${name}`, body, { timeout: 5_000 });
      return reply.string();
    },
    lastMessage: last,
    close: () => connection.close(),
  };
  await backend.createStreams();
  return backend;
}

function record(message: Msg): RecordedMessage {
  return {
    subject: message.subject,
    reply: message.reply || null,
    headers:
      message.headers === undefined
        ? null
        : Object.fromEntries([...message.headers].map(([name, values]) => [name, values.join(", ")])),
    body: message.string(),
  };
}

const seconds = (count: number) => nanos(count * 1_000);

async function createStreams(manager: JetStreamManager, storage: StorageType): Promise<void> {
  const stream = (name: string, more: Partial<StreamConfig> = {}) =>
    manager.streams.add({
      name,
      subjects: [`${name}.>`],
      retention: RetentionPolicy.Limits,
      discard: DiscardPolicy.Old,
      duplicate_window: seconds(120),
      num_replicas: 1,
      storage,
      ...more,
    });
  const bucket = (name: BucketName) =>
    stream(`KV_${name}`, {
      subjects: [`$KV.${name}.>`],
      max_msgs_per_subject: 1,
      max_age: seconds(30),
      duplicate_window: seconds(30),
      discard: DiscardPolicy.New,
      deny_delete: true,
      allow_rollup_hdrs: true,
      allow_direct: false,
    });
  const onePerSubject = { max_msgs_per_subject: 1 };
  await stream("depl");
  await stream("par", onePerSubject);
  await stream("met", { max_age: seconds(60), duplicate_window: seconds(60) });
  await stream("img", onePerSubject);
  await stream("tbl", onePerSubject);
  await stream("noti", { retention: RetentionPolicy.Interest });
  await stream("log", { max_msgs_per_subject: 10_000, max_age: seconds(7 * 24 * 3600) });
  await stream("sfapi");
  await bucket("stat");
  await bucket("met");
}
