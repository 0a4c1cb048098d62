import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import type { Pull, Push } from "zeromq";
import { simulate } from "../../src/distiller/simulate.ts";
import { expandPipeline, parsePipeline } from "../../src/spec/pipeline.ts";
import { authorPipeline, authorRunFile } from "./support/author-pipeline.ts";
import { type Deployment, deploy, type OperatorProcess, until } from "./support/deployment.ts";
import { type Backend, type RecordedMessage, startBackend } from "./support/interactem-backend.ts";
import { type NatsServer, startNatsServer } from "./support/nats-server.ts";

const root = fileURLToPath(new URL("../../", import.meta.url));
const folder = mkdtempSync(join(tmpdir(), "stemline-conversation-"));

let server: NatsServer;
let backend: Backend;
let deployment: Deployment;
beforeAll(async () => {
  server = await startNatsServer();
  backend = await startBackend(server);
  const scan = { scanShape: [8, 8] as [number, number], dose: 40, seed: 11, framesPerPosition: 1 };
  await simulate({ path: join(folder, "scan.h5"), ...scan });
});
afterEach(() => deployment.close());
afterAll(async () => {
  await backend.close();
  await server.close();
  rmSync(folder, { recursive: true, force: true });
});

const range = (count: number) => Array.from({ length: count }, (_, index) => index);

/** A message that an operator sent over NATS; what differs from run to run is replaced by names in `<>`. */
interface Said {
  readonly subject: string;
  /** Whether an answer is expected. */
  readonly asks: boolean;
  readonly headers: RecordedMessage["headers"];
  readonly body: string;
}

/** What all operator processes said: neither the test's own messages, nor the server's answers and deliveries. */
function saidByOperators(recorded: readonly RecordedMessage[]): RecordedMessage[] {
  const isFromBackend = ({ subject, reply }: RecordedMessage) =>
    (reply ?? "").startsWith(ownInbox(recorded)) || subject.startsWith("depl.op.");
  const triggered = new Set(
    recorded.filter(({ subject }) => subject.startsWith("trig.")).map(({ reply }) => reply),
  );
  return recorded.filter((message) => {
    const { subject, reply } = message;
    if (triggered.has(subject)) return true;
    const isFromServer =
      subject.startsWith("$JS.EVENT.") || subject.startsWith("_INBOX.") || reply?.startsWith("$JS.ACK.");
    return !isFromServer && !isFromBackend(message);
  });
}

/** Inbox of the test's own connection, from a message that no operator sends. */
function ownInbox(recorded: readonly RecordedMessage[]): string {
  const { reply } = recorded.find(({ subject }) => subject.startsWith("depl.op."))!;
  return reply!.split(".").slice(0, 2).join(".");
}

/** Replaces ids, times and numbers, so that conversations of different runs can be compared as text. */
function normalizer({ pipeline }: Deployment): (text: string) => string {
  const names = new Map([
    [pipeline.id, "<pipeline>"],
    [pipeline.canonical_id, "<canonical pipeline>"],
  ]);
  for (const { id, canonical_id } of pipeline.operators) names.set(id, "<op>").set(canonical_id, "<cop>");
  for (const { id, canonical_id } of pipeline.ports) names.set(id, "<port>").set(canonical_id, "<cport>");
  return (text) =>
    text
      .replaceAll(/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/g, (id) => names.get(id) ?? id)
      .replaceAll(/\b[0-9A-Z]{22}\b/g, "<nuid>")
      .replaceAll(/"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{6})?"/g, '"<time>"')
      .replaceAll(/&port=\d+/g, "&port=<number>")
      .replaceAll(/:\d+(\.\d+)?(?=[,}])/g, ":<number>")
      .replace(/^\$JS\.ACK\.(.*?)\.<nuid>\..*$/, "$JS.ACK.$1.<nuid>");
}

function normalized(deployment: Deployment, recorded: readonly RecordedMessage[]): Said[] {
  const normalize = normalizer(deployment);
  const triggered = new Set(recorded.map(({ reply }) => reply));
  return saidByOperators(recorded).map(({ subject, reply, headers, body }) => ({
    subject: triggered.has(subject) && subject.startsWith("_INBOX.") ? "<reply>" : normalize(subject),
    asks: reply !== null,
    headers,
    body: normalize(body),
  }));
}

const operatorStatus = (status: string, errors = "[]") =>
  `{"error_messages":${errors},"id":"<op>","canonical_id":"<cop>","status":"${status}",` +
  '"canonical_pipeline_id":"<canonical pipeline>","runtime_pipeline_id":"<pipeline>"}';

const outputPort =
  '{"id":"<port>","canonical_id":"<cport>","uri":{"id":"<port>","location":"port","hostname":"127.0.0.1",' +
  '"comm_backend":"zmq","query":{"address":["tcp://?hostname=127.0.0.1&interface=127.0.0.1&port=<number>"]}},' +
  '"status":"idle"}';

const inputPort = '{"id":"<port>","canonical_id":"<cport>","uri":null,"status":"idle"}';

const operatorMetrics = (...times: string[]) =>
  times.map(
    (time) =>
      `{"id":"<op>","canonical_id":"<cop>","timing":{"before_recv":null,"before_kernel":${time},` +
      `"after_kernel":${time},"after_send":${time}}}`,
  );

const portMetrics =
  '{"id":"<port>","canonical_id":"<cport>","send_count":<number>,"send_bytes":<number>,"send_timeouts":<number>,' +
  '"recv_count":<number>,"recv_bytes":<number>,"recv_timeouts":<number>}';

const operated = '{"id":"<op>","time_before_operate":"<time>","time_after_operate":"<time>"}';
const sent = '{"id":"<port>","time_before_send":"<time>"}';
const received = '{"id":"<port>","time_after_header_validate":"<time>"}';
const passed = [sent, received, operated];

const parameter = (name: string, type: string, value: string) =>
  `{"canonical_operator_id":"<cop>","name":"${name}","type":"${type}","value":${value}}`;

interface Pattern {
  readonly subject: string;
  /** Without it nobody is asked for an answer. */
  readonly asks?: true;
  readonly headers?: Readonly<Record<string, string>>;
  /** Texts that occur, all of them. */
  readonly bodies: readonly string[];
  /** Why the recorded peer does not say this. */
  readonly difference?: string;
}

/**
 * What the peer was seen to say (protocol.md, sections 3 to 8), and what is said here besides, with the reason.
 *
 * What the peer says and this host does not:
 *
 * - `STREAM.UPDATE` of the buckets each time one is opened: settings are the backend's. A bucket is looked at once, and
 *   made if it is missing.
 * - `STREAM.MSG.GET.KV_stat` once a second for each upstream port: the watch, which is opened at once, says it earlier.
 * - A status `shutting_down` after its key was deleted, which leaves the key for 30 s: here it comes before.
 * - More than ten `met.pipe` a second: a list is a sample of the ways, and the traffic stays bounded.
 */
const conversation: readonly Pattern[] = [
  {
    subject: "$JS.API.CONSUMER.CREATE.depl.<nuid>.depl.op.<op>",
    asks: true,
    bodies: [
      '{"config":{"replay_policy":"instant","name":"<nuid>","description":"operator-pipelines-<op>",' +
        '"deliver_policy":"last_per_subject","ack_policy":"explicit","filter_subject":"depl.op.<op>"},' +
        '"stream_name":"depl","action":"create","pedantic":false}',
    ],
  },
  {
    subject: "$JS.API.CONSUMER.MSG.NEXT.depl.<nuid>",
    asks: true,
    bodies: ['{"batch":<number>,"expires":<number>}'],
  },
  { subject: "$JS.ACK.depl.<nuid>", bodies: [""] },
  ...Object.entries({
    crop_to_x: parameter("crop_to_x", "int", "<number>"),
    crop_to_y: parameter("crop_to_y", "int", "<number>"),
    init_center_x: parameter("init_center_x", "int", "<number>"),
    init_center_y: parameter("init_center_y", "int", "<number>"),
    crop_shape: parameter("crop_shape", "str-enum", '"box"'),
    invalid_frames: parameter("invalid_frames", "str-enum", '"reject"'),
    emit_every: parameter("emit_every", "int", "<number>"),
    max_concurrent_scans: parameter("max_concurrent_scans", "int", "<number>"),
    include_headers: parameter("include_headers", "bool", "false"),
    replace_nans: parameter("replace_nans", "bool", "true"),
    filename: parameter("filename", "str", '"scan.h5"'),
    batch_size_mb: parameter("batch_size_mb", "float", "<number>"),
    keep_flyback: parameter("keep_flyback", "bool", "true"),
    cache_last_file: parameter("cache_last_file", "bool", "false"),
  }).map(
    ([name, body]): Pattern => ({
      subject: `par.op.<cop>.${name}`,
      asks: true,
      headers: { "Nats-Expected-Stream": "par" },
      bodies: [body],
    }),
  ),
  { subject: "$KV.met.op.<op>", asks: true, bodies: operatorMetrics("null", '"<time>"') },
  {
    subject: "$KV.stat.op.<op>",
    asks: true,
    bodies: ["initializing", "running", "shutting_down"].map((status) => operatorStatus(status)),
  },
  { subject: "$KV.stat.port.<port>", asks: true, bodies: [outputPort, inputPort] },
  { subject: "$KV.met.port.<port>", asks: true, bodies: [portMetrics] },
  ...["stat.op.<op>", "met.op.<op>", "stat.port.<port>", "met.port.<port>"].map(
    (key): Pattern => ({
      subject: `$KV.${key}`,
      asks: true,
      headers: { "KV-Operation": "DEL" },
      bodies: [""],
    }),
  ),
  {
    subject: "$JS.API.CONSUMER.CREATE.par.<nuid>.par.op.upd.<cop>.>",
    asks: true,
    bodies: [
      '{"config":{"replay_policy":"instant","name":"<nuid>","description":"operator-<cop>",' +
        '"ack_policy":"explicit","filter_subject":"par.op.upd.<cop>.>","deliver_policy":"new"},' +
        '"stream_name":"par","action":"create","pedantic":false}',
    ],
  },
  {
    subject: "$JS.API.CONSUMER.MSG.NEXT.par.<nuid>",
    asks: true,
    bodies: ['{"batch":<number>,"expires":<number>}'],
  },
  { subject: "$JS.ACK.par.<nuid>", bodies: ["", "+TERM"] },
  {
    subject: "<reply>",
    bodies: [
      '{"status":"ok","message":"Trigger accepted"}',
      '{"status":"error","message":"Invalid trigger request"}',
    ],
  },
  {
    subject: "met.pipe",
    asks: true,
    bodies: [`{"metadatas":[${[operated, ...passed, ...passed].join(",")}]}`],
  },
  ...["stat", "met"].map(
    (bucket): Pattern => ({ subject: `$JS.API.STREAM.INFO.KV_${bucket}`, asks: true, bodies: [""] }),
  ),
  {
    subject: "$JS.API.CONSUMER.CREATE.KV_stat.<nuid>.$KV.stat.port.<port>",
    asks: true,
    bodies: [
      '{"config":{"replay_policy":"instant","name":"<nuid>","deliver_subject":"_INBOX.<nuid>",' +
        '"deliver_policy":"last_per_subject","ack_policy":"none","max_deliver":<number>,' +
        '"filter_subject":"$KV.stat.port.<port>","idle_heartbeat":<number>,"inactive_threshold":<number>,' +
        '"mem_storage":true},"stream_name":"KV_stat","action":"create","pedantic":false}',
    ],
    difference:
      "no flow control, which only holds up a reader of single values; a dead server is noticed earlier",
  },
  {
    subject: "$KV.stat.port.<port>",
    asks: true,
    bodies: [inputPort.replace("}", ',"accepts":["stemline-com-partial-1"]}')],
    difference: "center-of-mass-reduce takes a smaller form of its messages as well",
  },
  {
    subject: "$JS.API.STREAM.INFO.par",
    asks: true,
    bodies: [""],
    difference: "to go on behind the last update seen, when the connection was lost",
  },
  {
    subject: "<reply>",
    bodies: [
      `{"status":"error","message":"Trigger 'nope' not found in spec for operator ` +
        'ghcr.io/nersc/interactem/distiller-counted-data-reader:latest available triggers: read_now"}',
    ],
    difference: "the peer writes the list as Python does",
  },
  ...["KV_stat", "par", "depl"].map(
    (stream): Pattern => ({
      subject: `$JS.API.CONSUMER.DELETE.${stream}.<nuid>`,
      asks: true,
      bodies: [""],
      difference: "the peer leaves its consumers to the server, which forgets them when they are idle",
    }),
  ),
];

test("a source, a station and a last station say on NATS what the peer's say, and nothing else", async () => {
  const names = {
    "Counted Data Reader": "distiller-counted-data-reader",
    "Partial Center of Mass": "center-of-mass-partial",
    "Reduce Center of Mass": "center-of-mass-reduce",
  };
  const demo = parsePipeline(JSON.parse(readFileSync(join(root, "pipelines/center-of-mass.json"), "utf8")));
  const operators = demo.operators.filter(({ label }) => label in names);
  const settings: Readonly<Record<string, string | number>> = { filename: "scan.h5", batch_size_mb: 0.002 };
  const ports = demo.ports.filter((port) => operators.some(({ id }) => id === port.canonical_operator_id));
  const canonical = parsePipeline({
    ...demo,
    operators: operators.map((operator) => ({
      ...operator,
      parallelism: 1,
      parameters: operator.parameters?.map((entry) => ({
        ...entry,
        default: settings[entry.name] ?? entry.default,
      })),
    })),
    ports,
    edges: demo.edges.filter((edge) => ports.some(({ id }) => id === edge.output_id)),
  });
  deployment = deploy(server, backend, expandPipeline(canonical), { mounts: { raw_data_dir: folder } });
  const from = backend.recorded.length;
  const processes: OperatorProcess[] = [];
  for (const [label, name] of Object.entries(names)) {
    processes.push(await deployment.start(deployment.view(label), join(root, "operators", name, "run.ts")));
  }
  for (const operator of processes) await operator.status("running");
  const partial = deployment.view("Partial Center of Mass").operator.canonical_id;
  const reader = deployment.view("Counted Data Reader").operator.canonical_id;

  const said = () => normalized(deployment, backend.recorded.slice(from));
  const acknowledged = (body: string) =>
    until(
      `$JS.ACK ${body}`,
      () => said().find((entry) => entry.subject.startsWith("$JS.ACK.par") && entry.body === body) ?? null,
    );
  await until(
    "consumer of parameters",
    () => said().filter(({ subject }) => subject.includes("MSG.NEXT.par")).length >= 3 || null,
  );
  await backend.updateParameter(partial, "crop_to_x", "int", "120");
  await acknowledged("");
  await backend.updateParameter(partial, "crop_to_x", "int", "wide");
  await acknowledged("+TERM");
  for (const [name, body] of [["read_now"], ["nope"], ["read_now", "no JSON"]] as const) {
    await backend.requestTrigger(reader, name, body);
  }
  await until(
    "a put with times",
    () => said().some(({ body }) => body.includes('"after_send":"<time>"')) || null,
  );
  await until("pipeline metrics", () => said().find(({ subject }) => subject === "met.pipe") ?? null);
  for (const operator of processes) expect((await operator.stop()).code).toBe(0);
  await backend.connection.flush();

  const messages = said();
  const keyOf = ({ subject, asks, headers }: Omit<Said, "body">) => JSON.stringify([subject, asks, headers]);
  const expected = new TextSets();
  for (const { subject, asks = false, headers = null, bodies } of conversation) {
    for (const body of bodies) expected.add(keyOf({ subject, asks, headers }), body);
  }
  const found = new TextSets();
  for (const message of messages) found.add(keyOf(message), message.body);
  expect(found.sorted()).toEqual(expected.sorted());

  for (const { id } of processes) expectOrder(conversationOf(id, backend.recorded.slice(from)));
  expect(await backend.keys("stat")).toEqual([]);
  expect(await backend.keys("met")).toEqual([]);

  // The update is acknowledged to the stream, then its value published; the refused one changes nothing.
  const ofPartial = conversationOf(processes[1]!.id, backend.recorded.slice(from));
  const updates = ofPartial
    .filter(({ subject }) => subject.startsWith("$JS.ACK.par") || subject.endsWith(".crop_to_x"))
    .map(({ subject, body }) => (subject.startsWith("par.") ? JSON.parse(body).value : body));
  expect(updates).toEqual([expect.any(Number), "", 120, "+TERM"]);
});

class TextSets {
  readonly #sets = new Map<string, Set<string>>();

  add(key: string, text: string): void {
    this.#sets.set(key, (this.#sets.get(key) ?? new Set()).add(text));
  }

  sorted(): readonly (readonly [string, readonly string[]])[] {
    return [...this.#sets].map(([key, texts]) => [key, [...texts].sort()] as const).sort();
  }
}

/** What the process of one operator said, which is known by the beginning of the names that its client makes up. */
function conversationOf(operatorId: string, recorded: readonly RecordedMessage[]): RecordedMessage[] {
  const first = recorded.find(
    ({ subject }) => /CONSUMER\.CREATE\.depl/.test(subject) && subject.endsWith(operatorId),
  )!;
  const client = first.reply!.split(".")[1]!.slice(0, 12);
  return saidByOperators(recorded).filter(({ subject, reply }) => `${subject} ${reply}`.includes(client));
}

function expectOrder(messages: readonly RecordedMessage[]): void {
  const withSubject = (part: string) => messages.findIndex(({ subject }) => subject.includes(part));
  expect([
    withSubject("CONSUMER.CREATE.depl"),
    withSubject("CONSUMER.MSG.NEXT.depl"),
    withSubject("$JS.ACK.depl"),
  ]).toEqual([0, 1, 2]);

  const isRemoval = ({ headers }: RecordedMessage) => headers?.["KV-Operation"] === "DEL";
  const puts = messages.filter((message) => message.subject.startsWith("$KV.") && !isRemoval(message));
  const statuses = puts.filter(({ subject }) => subject.startsWith("$KV.stat.op."));
  const changes = statuses
    .map(({ body }) => JSON.parse(body).status)
    .filter((status, index, all) => status !== all[index - 1]);
  expect(changes).toEqual(["initializing", "running", "shutting_down"]);

  const isRunning = ({ body }: RecordedMessage) => body.includes('"running"');
  const beforeRunning = puts.slice(0, puts.findIndex(isRunning)).map(({ subject, body }) => subject + body);
  expect(beforeRunning.some((put) => put.startsWith("$KV.stat.port.") && put.includes("tcp://"))).toBe(true);

  const removals = messages.filter(isRemoval).map(({ subject }) => subject);
  expect(removals.sort()).toEqual([...new Set(puts.map(({ subject }) => subject))].sort());
  const after = messages.slice(messages.findIndex(isRemoval)).filter((message) => !isRemoval(message));
  expect(after.filter(({ subject }) => !subject.includes("CONSUMER.DELETE"))).toEqual([]);
}

/** Sends a message as a Python operator does. */
function send(socket: Push, meta: object, { tracking = null as object | null, data = "data" } = {}) {
  return socket.send([JSON.stringify({ subject: "bytes", meta, tracking }), data]);
}

interface Header {
  readonly subject: string;
  readonly meta?: Readonly<Record<string, unknown>>;
  readonly tracking: { readonly metadatas: readonly Readonly<Record<string, string>>[] } | null;
}

const headerOf = (parts: readonly Uint8Array[]) => JSON.parse(new TextDecoder().decode(parts[0])) as Header;

/** Headers of the next messages. */
async function receive(socket: Pull, count: number): Promise<Header[]> {
  const headers: Header[] = [];
  while (headers.length < count) headers.push(headerOf(await socket.receive()));
  return headers;
}

const values = (headers: readonly Header[]) => headers.map(({ meta }) => meta?.n);

/** Station of the tests between operators that the test plays; none of them is ever started. */
function stationPipeline(
  readers: readonly string[],
  options: { readonly parallelism?: number; readonly right?: true } = {},
): Deployment {
  const { parallelism } = options;
  const stations = Object.fromEntries(readers.map((label) => [label, { operator: "station" }]));
  const canonical = authorPipeline(
    {
      first: { operator: "ticker" },
      second: { operator: "ticker" },
      station: { operator: "station", ...(parallelism === undefined ? {} : { parallelism }) },
      ...stations,
    },
    [
      ["first.ticks", "station.left"],
      ...(options.right ? ([["second.ticks", "station.right"]] as const) : []),
      ...readers.map((label) => ["station.out", `${label}.left`] as const),
    ],
  );
  return deploy(server, backend, expandPipeline(canonical));
}

test("every key is put about once a second, whatever the messages do", async () => {
  deployment = stationPipeline(["reader"]);
  const view = deployment.view("station");
  const source = await deployment.bindOutput(deployment.view("first").outputs[0]!.id);
  const operator = await deployment.start(view, authorRunFile("station"));
  const sink = await deployment.connectInput(deployment.view("reader").inputs[0]!.id);
  await operator.status("running");
  const keys = [view.operator.id, ...view.inputs.map(({ id }) => id), ...view.outputs.map(({ id }) => id)];
  const said = async (work: () => Promise<void>) => {
    const start = performance.now();
    const from = backend.recorded.length;
    await work();
    const seconds = (performance.now() - start) / 1000;
    const messages = saidByOperators([
      backend.recorded.find(({ subject }) => subject.startsWith("depl.op."))!,
      ...backend.recorded.slice(from),
    ]);
    const puts = (bucket: string) =>
      keys.map(
        (id) =>
          messages.filter(({ subject }) => subject.startsWith(`$KV.${bucket}.`) && subject.endsWith(id))
            .length,
      );
    return { seconds, puts: [...puts("stat"), ...puts("met")], others: messages.length };
  };
  // Of the puts at the change to `running`.
  await sleep(300);

  const idle = await said(() => sleep(3500));
  for (const count of idle.puts) {
    expect(count).toBeGreaterThanOrEqual(2);
    expect(count).toBeLessThanOrEqual(4);
  }

  const count = 4000;
  const busy = await said(async () => {
    const sending = (async () => {
      for (const n of range(count)) await send(source, { n });
    })();
    expect(values(await receive(sink, count))).toEqual(range(count));
    await sending;
  });
  for (const puts of busy.puts) expect(puts).toBeLessThanOrEqual(busy.seconds + 2);
  const total = busy.puts.reduce((sum, puts) => sum + puts, 0);
  // A request for parameter updates ends every 10 s.
  expect(busy.others - total).toBeLessThanOrEqual(2 + busy.seconds / 5);

  const [input] = view.inputs;
  const metrics = await until("count in the metrics", async () => {
    const value = JSON.parse((await backend.read("met", `port.${input!.id}`))!);
    return value.recv_count === count ? value : null;
  });
  const bytes = (n: number) => JSON.stringify({ subject: "bytes", meta: { n }, tracking: null }).length + 4;
  expect(metrics.recv_bytes).toBe(range(count).reduce((sum, n) => sum + bytes(n), 0));
  expect(JSON.parse((await backend.read("met", `port.${view.outputs[0]!.id}`))!)).toMatchObject({
    send_count: count,
    recv_count: 0,
  });

  // What is wrong with a message is shown at once, once, until a message is sent.
  await source.send(["no JSON", "data"]);
  const status = await until("error in the status", async () => {
    const value = await backend.read("stat", `op.${view.operator.id}`);
    return value?.includes("message") && !value.includes('"error_messages":[]') ? value : null;
  });
  const shown = '[{"message":"Message header: expected JSON text in UTF-8","timestamp":<number>}]';
  expect(normalizer(deployment)(status)).toBe(operatorStatus("running", shown));
  expect((await operator.stop()).code).toBe(0);
});

const time = "2026-11-22T11:06:56.396820";
const farId = "5bd6ef2a-91c0-4d7e-8000-000000000001";
const farPort = "5bd6ef2a-91c0-4d7e-8000-000000000002";
const farEntries = [
  { id: farId, time_before_operate: time, time_after_operate: "2026-11-22T11:06:56.500000" },
  { id: farPort, time_before_send: "2026-11-22T11:06:57" },
];

/** Of the process, so that its local time is not that of another zone by chance. */
const zone = { name: "Asia/Kolkata", offset: "+05:30" };

/** Checks that the times of a list are naive local times from `since` on, none before another, and leaves them out. */
function stations(list: readonly Readonly<Record<string, string>>[], since: number): string[][] {
  let last = since - 5;
  for (const { id: _id, ...times } of list) {
    for (const text of Object.values(times)) {
      expect(text).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{6})?$/);
      // `Date` knows no microseconds.
      const milliseconds = new Date(`${text}${zone.offset}`).getTime();
      expect(milliseconds).toBeGreaterThanOrEqual(Math.floor(last));
      last = milliseconds;
    }
  }
  expect(last).toBeLessThanOrEqual(Date.now() + 5);
  return list.map(({ id, ...times }) => [id!, ...Object.keys(times)]);
}

test("a tracked message carries every station on, in the peer's order", async () => {
  deployment = stationPipeline(["reader", "other"]);
  const view = deployment.view("station");
  const [left] = view.inputs;
  const source = await deployment.bindOutput(deployment.view("first").outputs[0]!.id);
  const operator = await deployment.start(view, authorRunFile("station"), { TZ: zone.name });
  const sinks = [
    await deployment.connectInput(deployment.view("reader").inputs[0]!.id),
    await deployment.connectInput(deployment.view("other").inputs[0]!.id),
  ];
  await operator.status("running");
  const since = Date.now();
  const from = backend.recorded.length;
  const tracking = { metadatas: farEntries };
  const own = [
    [left!.id, "time_after_header_validate"],
    [operator.id, "time_before_operate", "time_after_operate"],
  ];
  const toPorts = view.outputs.map(({ id }) => [id, "time_before_send"]);

  await send(source, { n: 1 }, { tracking });
  await source.send([JSON.stringify({ subject: "bytes", tracking }), Buffer.of(0x81, 0xa1, 0x61, 1), "data"]);
  await send(source, { n: 3 });
  await send(source, { n: 4, silent: true }, { tracking });
  for (const [index, sink] of sinks.entries()) {
    const [asObject, asBytes, untracked] = [await sink.receive(), await sink.receive(), await sink.receive()];
    // The ports share the list: the second one's has the entry of the first.
    const expected = [...own, ...toPorts.slice(0, index + 1)];
    expect(asObject).toHaveLength(2);
    expect(asBytes).toHaveLength(3);
    for (const parts of [asObject, asBytes]) {
      const list = headerOf(parts).tracking!.metadatas;
      expect(list.slice(0, 2)).toEqual(farEntries);
      expect(stations(list.slice(2), since)).toEqual(expected);
    }
    expect(Object.keys(headerOf(asObject))).toEqual(["subject", "meta", "tracking"]);
    expect(Object.keys(headerOf(asBytes))).toEqual(["subject", "tracking"]);
    expect([...asBytes[1]!]).toEqual([0x81, 0xa1, 0x61, 1]);
    expect(headerOf(untracked)).toMatchObject({ meta: { n: 3 }, tracking: null });
  }

  // A kernel that yields nothing is the last station.
  const published = await until(
    "pipeline metrics",
    () => backend.recorded.slice(from).find(({ subject }) => subject === "met.pipe") ?? null,
  );
  expect(published.headers).toBeNull();
  const list = JSON.parse(published.body).metadatas;
  expect(list.slice(0, 2)).toEqual(farEntries);
  expect(stations(list.slice(2), since)).toEqual(own);

  // Of many such messages only a sample is published: ten a second.
  const burst = performance.now();
  for (const _ of range(200)) await send(source, { silent: true }, { tracking });
  await send(source, { n: 5 });
  for (const sink of sinks) expect(values(await receive(sink, 1))).toEqual([5]);
  const seconds = (performance.now() - burst) / 1000;
  await backend.requestTrigger(view.operator.canonical_id, "unknown");
  const samples = backend.recorded.slice(from).filter(({ subject }) => subject === "met.pipe").length;
  expect(samples).toBeGreaterThanOrEqual(10);
  expect(samples).toBeLessThanOrEqual(11 + 10 * Math.floor(seconds));

  // Triggers make messages that are all tracked, from here on: one, and as many as there are.
  for (const name of ["once", "all", "once"]) await backend.requestTrigger(view.operator.canonical_id, name);
  const triggered = await receive(sinks[0]!, 4);
  expect(triggered.map(({ meta }) => meta!.trigger)).toEqual(["once", "all", "all", "once"]);
  for (const header of triggered) {
    expect(stations(header.tracking!.metadatas, since)).toEqual([own[1], toPorts[0]]);
  }
  expect((await operator.stop()).code).toBe(0);
});

test("a source without triggers tracks one message a second", async () => {
  const canonical = authorPipeline({ ticker: { operator: "ticker" }, reader: { operator: "station" } }, [
    ["ticker.ticks", "reader.left"],
  ]);
  deployment = deploy(server, backend, expandPipeline(canonical));
  const view = deployment.view("ticker");
  const operator = await deployment.start(view, authorRunFile("ticker"));
  const sink = await deployment.connectInput(deployment.view("reader").inputs[0]!.id);
  const headers = await receive(sink, 170);
  expect(values(headers)).toEqual(range(170).map((index) => index + 1));
  const lists = headers.flatMap(({ tracking }) => (tracking === null ? [] : [tracking.metadatas]));
  const times = lists.map(([made]) => new Date(made!.time_after_operate!).getTime());
  // A message takes 20 ms or more.
  expect(times.length).toBeGreaterThanOrEqual(3);
  for (const gap of times.slice(1).map((at, index) => at - times[index]!)) expect(gap).toBeGreaterThan(900);
  for (const list of lists) {
    expect(list.map(({ id }) => id)).toEqual([operator.id, view.outputs[0]!.id]);
  }
  expect((await operator.stop()).code).toBe(0);
});

test("replicas share the messages, and each of two readers gets all of them", async () => {
  deployment = stationPipeline(["reader", "other"], { parallelism: 2, right: true });
  const left = await deployment.bindOutput(deployment.view("first").outputs[0]!.id);
  const right = await deployment.bindOutput(deployment.view("second").outputs[0]!.id);
  const operators: OperatorProcess[] = [];
  for (const view of deployment.views("station")) {
    operators.push(await deployment.start(view, authorRunFile("station")));
  }
  const sinks = [
    await deployment.connectInput(deployment.view("reader").inputs[0]!.id),
    await deployment.connectInput(deployment.view("other").inputs[0]!.id),
  ];
  await Promise.all(operators.map((operator) => operator.status("running")));
  const ports = deployment.views("station").flatMap(({ inputs }) => inputs.map(({ id }) => id));
  await until("connections to all inputs", () => {
    const connected = operators.flatMap(({ logs }) => logs.filter(({ msg }) => msg === "connected"));
    return ports.every((id) => connected.some(({ port }) => port === id)) || null;
  });

  // The right input has nothing, and holds nothing up.
  const counts = { left: 40, right: 7 };
  for (const n of range(counts.left)) await send(left, { n });
  const fromLeft = await Promise.all(sinks.map((sink) => receive(sink, counts.left)));
  for (const n of range(counts.right)) await send(right, { n: 100 + n });
  const fromRight = await Promise.all(sinks.map((sink) => receive(sink, counts.right)));
  const inOrder = (headers: readonly Header[]) => (values(headers) as number[]).sort((a, b) => a - b);
  for (const headers of fromLeft) expect(inOrder(headers)).toEqual(range(counts.left));
  for (const headers of fromRight) expect(inOrder(headers)).toEqual(range(counts.right).map((n) => 100 + n));

  const ends = await Promise.all(operators.map((operator) => operator.stop()));
  const totals = ends.map(({ counts: { received, sent } }) => ({ received: received as number, sent }));
  expect(totals.reduce((sum, { received }) => sum + received, 0)).toBe(counts.left + counts.right);
  for (const { received, sent } of totals) {
    expect(received).toBeGreaterThan(5);
    expect(sent).toBe(2 * received);
  }
});

test("calls overlap up to the number of messages in flight, and results keep their order", async () => {
  deployment = stationPipeline(["reader"], { parallelism: 1 });
  const source = await deployment.bindOutput(deployment.view("first").outputs[0]!.id);
  const operator = await deployment.start(deployment.view("station"), authorRunFile("station"), {
    STEMLINE_INFLIGHT: "3",
  });
  const sink = await deployment.connectInput(deployment.view("reader").inputs[0]!.id);
  await operator.status("running");
  const count = 60;
  const sending = (async () => {
    for (const n of range(count)) await send(source, { n, delay_ms: (n * 37) % 23 });
  })();
  const headers = await receive(sink, count);
  await sending;
  expect(values(headers)).toEqual(range(count));
  expect(Math.max(...headers.map(({ meta }) => meta!.calls as number))).toBe(3);
  expect((await operator.stop()).code).toBe(0);
});

test("without parallel_config there is one call at a time; a port that nobody reads is counted", async () => {
  // The station's own output has no reader here; what it sends is seen in the metrics and in the log of the end.
  deployment = stationPipeline([]);
  const source = await deployment.bindOutput(deployment.view("first").outputs[0]!.id);
  const operator = await deployment.start(deployment.view("station"), authorRunFile("station"), {
    STEMLINE_METRICS_PORT: "0",
  });
  await operator.status("running");
  const { port } = await operator.logged("metrics are served");
  const count = 30;
  for (const n of range(count)) await send(source, { n, delay_ms: (n * 37) % 11 });
  const text = await until("all messages", async () => {
    const metrics = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
    return metrics.includes(`stemline_messages_unread_total ${count}`) ? metrics : null;
  });
  const { inputs, outputs } = deployment.view("station");
  expect(text).toContain(`stemline_messages_received_total{port="${inputs[0]!.id}"} ${count}\n`);
  expect(text).toContain(`stemline_messages_sent_total{port="${outputs[0]!.id}"} 0\n`);
  const { code, counts } = await operator.stop();
  expect({ code, received: counts.received, sent: counts.sent }).toEqual({
    code: 0,
    received: count,
    sent: 0,
  });
  const calls = operator.logs.filter(({ msg }) => msg === "called").map((line) => line.calls);
  expect(calls).toEqual(range(count).map(() => 1));
});
