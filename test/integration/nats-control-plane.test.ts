import { spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { jetstreamManager } from "@nats-io/jetstream";
import { describe, expect, onTestFinished, test, vi } from "vitest";
import type { ControlPlane } from "../../src/host/control-plane.ts";
import { connectControlPlane, type NatsOptions } from "../../src/host/nats-control-plane.ts";
import {
  type Backend,
  type BackendOptions,
  type RecordedMessage,
  startBackend,
} from "./support/interactem-backend.ts";
import {
  type NatsServer,
  type NatsServerOptions,
  prepareNatsServer,
  startNatsServer,
} from "./support/nats-server.ts";

const root = fileURLToPath(new URL("../../", import.meta.url));

const patient = { timeout: 15_000, interval: 20 };

interface LogLine {
  readonly level: string;
  readonly fields: object;
  readonly text: string;
}

function recordingLog() {
  const lines: LogLine[] = [];
  const at = (level: string) => (fields: object, text: string) => void lines.push({ level, fields, text });
  return { lines, debug: at("debug"), info: at("info"), warn: at("warn"), error: at("error") };
}

async function useServer(options: NatsServerOptions = {}): Promise<NatsServer> {
  const server = await startNatsServer(options);
  onTestFinished(() => server.close());
  return server;
}

async function useBackend(server: NatsServer, options: BackendOptions = {}): Promise<Backend> {
  const backend = await startBackend(server, options);
  onTestFinished(() => backend.close());
  return backend;
}

const settings = (server: NatsServer, more: Partial<NatsOptions> = {}): NatsOptions => ({
  url: server.url,
  credentials: server.credentials,
  name: "operator-under-test",
  storage: "memory",
  waitSeconds: 10,
  log: recordingLog(),
  ...more,
});

async function usePlane(server: NatsServer, more: Partial<NatsOptions> = {}): Promise<ControlPlane> {
  const plane = await connectControlPlane(settings(server, more));
  onTestFinished(() => plane.close());
  return plane;
}

/** A server with interactEM's streams and a control plane on it. */
async function useAll(options: BackendOptions = {}) {
  const server = await useServer();
  const backend = await useBackend(server, options);
  const log = recordingLog();
  const plane = await usePlane(server, { log });
  return { server, backend, log, plane };
}

/** Values that a watch saw, as text; null for a removed key. */
function watchInto(plane: ControlPlane, key: string) {
  const values: (string | null)[] = [];
  const subscription = plane.watch("stat", key, (value) => {
    values.push(value === null ? null : new TextDecoder().decode(value));
  });
  return { values, subscription };
}

/** Puts a value and waits until a watch has seen it: the next one might replace it before. */
async function putAndSee(
  backend: Backend,
  values: readonly (string | null)[],
  key: string,
  value: string,
): Promise<void> {
  await backend.put("stat", key, value);
  await vi.waitFor(() => expect(values.at(-1)).toBe(value), patient);
}

/** Values of the updates that a consumer was handed, in order. */
function updatesInto(
  plane: ControlPlane,
  canonicalId: string,
  accept: (value: unknown) => boolean = () => true,
) {
  const values: unknown[] = [];
  const subscription = plane.consumeParameterUpdates(canonicalId, (body) => {
    const { value } = JSON.parse(new TextDecoder().decode(body));
    values.push(value);
    return accept(value);
  });
  return { values, subscription };
}

const isConsumerFor = (stream: string) => (message: RecordedMessage) =>
  message.subject.startsWith(`$JS.API.CONSUMER.CREATE.${stream}.`);

/** Until the consumer that a call has just asked for is there. */
async function untilConsumers(backend: Backend, stream: string, count: number): Promise<void> {
  const manager = await jetstreamManager(backend.connection, { checkAPI: false });
  await vi.waitFor(async () => {
    const info = await manager.streams.info(stream);
    expect(info.state.consumer_count).toBe(count);
  }, patient);
}

/** Runs `code` in a Node process of its own, as an ES module with `connectControlPlane` at hand. */
async function runInProcess(code: string, env: NodeJS.ProcessEnv) {
  const script = `import { connectControlPlane } from "./src/host/nats-control-plane.ts";
    const log = { debug() {}, info() {}, warn() {}, error() {} };
    ${code}`;
  const child = spawn(process.execPath, ["--import", "tsx", "--input-type=module", "-e", script], {
    cwd: root,
    env: { ...process.env, ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  onTestFinished(() => void child.kill("SIGKILL"));
  let output = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8").on("data", (text: string) => {
      output += text;
    });
  }
  const code_ = await new Promise<number | null>((resolve) => child.once("close", resolve));
  return { code: code_, output };
}

describe("connecting", () => {
  test.each([
    { auth: "nkeys", scheme: "nats" },
    { auth: "creds", scheme: "nats" },
    { auth: "nkeys", scheme: "ws" },
    { auth: "creds", scheme: "ws" },
  ] as const)("works ($scheme, $auth) under the given name", async ({ auth, scheme }) => {
    const server = await useServer({ auth });
    const plane = await usePlane(server, { url: scheme === "ws" ? server.websocketUrl : server.url });

    await plane.put("stat", "port.a", `{"size":7}`);
    const { values } = watchInto(plane, "port.a");

    await vi.waitFor(() => expect(values).toEqual([`{"size":7}`]), patient);
    expect(plane.connected).toBe(true);
    expect(plane.maxPayloadBytes).toBe(1024 * 1024);
    expect(await server.clientNames()).toEqual(["operator-under-test"]);
  });

  test.each(["url", "websocketUrl"] as const)(
    "works with TLS when the certificate is trusted through NODE_EXTRA_CA_CERTS (%s)",
    async (which) => {
      const server = await useServer({ tls: true });
      const backend = await useBackend(server);

      const result = await runInProcess(
        `const plane = await connectControlPlane({ url: process.env.URL_UNDER_TEST, name: "secure", storage: "memory",
           credentials: { mode: "nkeys", seed: process.env.NKEYS_SEED_STR }, waitSeconds: 5, log });
         await plane.put("met", "op.tls", "encrypted");
         await plane.close();`,
        { ...server.environment, URL_UNDER_TEST: server[which] },
      );

      expect(result).toEqual({ code: 0, output: "" });
      expect(server[which]).toMatch(which === "url" ? /^tls:/ : /^wss:/);
      expect(await backend.read("met", "op.tls")).toBe("encrypted");
    },
  );

  test.each(["url", "websocketUrl"] as const)(
    "refuses a certificate that is not trusted (%s)",
    async (which) => {
      const server = await useServer({ tls: true });

      await expect(
        connectControlPlane(settings(server, { url: server[which], waitSeconds: 0 })),
      ).rejects.toMatchObject({
        code: "STEMLINE_NATS_UNREACHABLE",
        message: expect.stringMatching(/self-signed certificate/),
      });
    },
  );

  test("does not go without TLS when the URL asks for it", async () => {
    const server = await useServer();

    await expect(
      connectControlPlane(settings(server, { url: server.url.replace("nats:", "tls:"), waitSeconds: 0 })),
    ).rejects.toMatchObject({
      code: "STEMLINE_NATS_UNREACHABLE",
      message: expect.stringMatching(/does not support 'tls'/),
    });
    // The server may take a moment to see that the connection has ended.
    await vi.waitFor(async () => expect(await server.clientNames()).toEqual([]));
  });

  test.each(["nats", "ws"] as const)("waits for a server that comes later (%s)", async (scheme) => {
    const server = await prepareNatsServer();
    onTestFinished(() => server.close());
    const log = recordingLog();
    const connecting = usePlane(server, { log, url: scheme === "ws" ? server.websocketUrl : server.url });
    await sleep(1_500);
    await server.start();

    const plane = await connecting;

    await plane.put("met", "op.late", "here");
    // Several attempts failed, and one line says so.
    expect(log.lines.filter(({ level }) => level === "warn").map(({ text }) => text)).toEqual([
      "NATS cannot be reached; trying again",
      "Made a bucket that the NATS server did not have",
    ]);
    expect(log.lines[0]?.fields).toMatchObject({ reason: expect.stringMatching(/refused/i) });
  });

  test("gives up after the time it was given, naming the server without its user", async () => {
    const server = await prepareNatsServer();
    onTestFinished(() => server.close());
    const url = `nats://somebody:secret@127.0.0.1:${server.port}`;
    const log = recordingLog();
    const start = performance.now();

    const error = await connectControlPlane(settings(server, { url, waitSeconds: 1.5, log })).catch((e) => e);

    expect(error).toMatchObject({ name: "HostError", code: "STEMLINE_NATS_UNREACHABLE" });
    expect(error.message).toMatch(
      new RegExp(
        `^NATS server nats://127.0.0.1:${server.port} could not be reached for .* s: connection refused`,
      ),
    );
    expect(performance.now() - start).toBeGreaterThan(1_400);
    expect(JSON.stringify([error.message, log.lines])).not.toMatch(/somebody|secret/);
  });

  test("an aborted signal ends the wait with its reason", async () => {
    const server = await prepareNatsServer();
    onTestFinished(() => server.close());
    const aborting = new AbortController();
    const connecting = connectControlPlane(settings(server, { waitSeconds: 600, signal: aborting.signal }));
    setTimeout(() => aborting.abort(new Error("SIGTERM came")), 200);

    await expect(connecting).rejects.toThrow("SIGTERM came");
  });

  test("an aborted signal ends the wait for a server that accepts and says nothing", async () => {
    const server = await useServer();
    server.pause();
    const aborting = new AbortController();
    const connecting = connectControlPlane(settings(server, { waitSeconds: 600, signal: aborting.signal }));
    setTimeout(() => aborting.abort(new Error("SIGTERM came")), 200);

    await expect(connecting).rejects.toThrow("SIGTERM came");
    server.resume();
    // The connection that nobody wants any more is closed when it comes.
    await sleep(200);
    await vi.waitFor(async () => expect(await server.clientNames()).toEqual([]), patient);
  });

  test.each(["url", "websocketUrl"] as const)(
    "a server that accepts and says nothing counts as one that cannot be reached (%s)",
    async (which) => {
      const server = await useServer();
      server.pause();

      const error = await connectControlPlane(settings(server, { url: server[which], waitSeconds: 0 })).catch(
        (e) => e,
      );

      expect(error).toMatchObject({ code: "STEMLINE_NATS_UNREACHABLE" });
      server.resume();
      await vi.waitFor(async () => expect(await server.clientNames()).toEqual([]), patient);
    },
  );

  test.each([
    { auth: "nkeys", scheme: "nats" },
    { auth: "creds", scheme: "nats" },
    { auth: "nkeys", scheme: "ws" },
  ] as const)("does not try again with $auth that the server refuses ($scheme)", async ({ auth, scheme }) => {
    const server = await useServer({ auth });

    const error = await connectControlPlane(
      settings(server, {
        url: scheme === "ws" ? server.websocketUrl : server.url,
        credentials: server.wrongCredentials,
        waitSeconds: 600,
      }),
    ).catch((e) => e);

    expect(error).toMatchObject({ name: "HostError", code: "STEMLINE_NATS_REFUSED" });
    expect(error.message).toMatch(/refuses these credentials: .*authorization violation/i);
  });

  test("reads the credentials file again at every connection, and keeps what it had if it cannot", async () => {
    const server = await useServer({ auth: "creds" });
    const { credentials, wrongCredentials } = server;
    if (credentials.mode !== "creds" || wrongCredentials.mode !== "creds") throw new Error("expected files");
    const good = readFileSync(credentials.file);
    const plane = await usePlane(server);
    const restart = async (content: Uint8Array | string) => {
      writeFileSync(credentials.file, content);
      await server.kill();
      await vi.waitFor(() => expect(plane.connected).toBe(false), patient);
      await server.start();
    };

    await restart("broken");
    await vi.waitFor(() => expect(plane.connected).toBe(true), patient);
    await restart(readFileSync(wrongCredentials.file));
    await sleep(1500);
    expect(plane.connected).toBe(false);
    writeFileSync(credentials.file, good);
    await vi.waitFor(() => expect(plane.connected).toBe(true), patient);
  });

  test("leaves out a user in the URL, which these credentials have no use for", async () => {
    const server = await useServer();
    const plane = await usePlane(server, { url: server.url.replace("//", "//user:42x@") });
    expect(plane.connected).toBe(true);
  });

  test("refuses credentials that cannot be read, without showing them", async () => {
    const server = await useServer({ auth: "creds" });
    const { wrongCredentials } = server;
    if (wrongCredentials.mode !== "creds") throw new Error("expected a file");
    const file = `${wrongCredentials.file}.broken`;
    writeFileSync(file, "-----BEGIN NATS USER JWT-----\nTOPSECRET\n------END NATS USER JWT------\n");
    const seed = "SUATOPSECRETISNOTASEED";
    const cases = [
      { credentials: { mode: "nkeys", seed }, message: /nkey seed is malformed/ },
      { credentials: { mode: "nkeys", seed: "" }, message: /nkey seed is malformed/ },
      { credentials: { mode: "creds", file }, message: /credentials file .*\.broken is malformed/ },
      { credentials: { mode: "creds", file: "/nowhere/a.creds" }, message: /ENOENT.*\/nowhere\/a\.creds/ },
    ] as const;

    for (const { credentials, message } of cases) {
      const error = await connectControlPlane(settings(server, { credentials })).catch((e) => e);
      expect(error).toMatchObject({ name: "HostError", code: "STEMLINE_NATS_REFUSED" });
      expect(error.message).toMatch(message);
      expect(`${error.stack}${JSON.stringify(error)}${error.cause?.stack}`).not.toMatch(/TOPSECRET/);
    }
  });
});

describe("what goes over the wire", () => {
  test("the pipeline is taken once from a consumer like the peer's and acknowledged with nothing", async () => {
    const { backend, plane } = await useAll();
    const [operatorId, other] = [randomUUID(), randomUUID()];
    await backend.publishPipeline(operatorId, { revision: 1 });
    await backend.publishPipeline(operatorId, { revision: 2, text: "µ" });
    await backend.publishPipeline(other, { revision: 3 });

    const pipeline = await plane.fetchPipeline(operatorId, 5_000);

    expect(new TextDecoder().decode(pipeline)).toBe(`{"revision":2,"text":"µ"}`);
    // What was sent to this connection before is recorded when its own flush is answered.
    await backend.connection.flush();
    const created = backend.recorded.find(isConsumerFor("depl"))!;
    const { config } = JSON.parse(created.body);
    expect(created.subject).toBe(`$JS.API.CONSUMER.CREATE.depl.${config.name}.depl.op.${operatorId}`);
    expect(config).toEqual({
      name: expect.stringMatching(/^\w{10,}$/),
      description: `operator-pipelines-${operatorId}`,
      deliver_policy: "last_per_subject",
      ack_policy: "explicit",
      replay_policy: "instant",
      filter_subject: `depl.op.${operatorId}`,
    });
    const delivery = backend.recorded.find(({ reply }) => reply?.startsWith(`$JS.ACK.depl.${config.name}.`))!;
    await vi.waitFor(() => {
      const acknowledgements = backend.recorded.filter(({ subject }) => subject === delivery.reply);
      expect(acknowledgements).toEqual([{ subject: delivery.reply, reply: null, headers: null, body: "" }]);
    }, patient);
  });

  test("a put is a publication without a header that is acknowledged, a removal an empty one with its mark", async () => {
    const { backend, plane } = await useAll();
    const key = `port.${randomUUID()}`;

    await plane.put("stat", key, `{"status":"idle"}`);
    expect(await backend.read("stat", key)).toBe(`{"status":"idle"}`);
    await plane.remove("stat", key);
    expect(await backend.read("stat", key)).toBeNull();
    await plane.put("met", key, `{"send_count":1}`);
    expect(await backend.keys("met")).toEqual([key]);

    const reply = expect.stringMatching(/^_INBOX\./);
    // A subscription of the test to everything sees a message once when it is published: nobody consumes here.
    expect(backend.recorded.filter(({ subject }) => subject.startsWith("$KV."))).toEqual([
      { subject: `$KV.stat.${key}`, reply, headers: null, body: `{"status":"idle"}` },
      { subject: `$KV.stat.${key}`, reply, headers: { "KV-Operation": "DEL" }, body: "" },
      { subject: `$KV.met.${key}`, reply, headers: null, body: `{"send_count":1}` },
    ]);
    expect(backend.recorded.filter(({ subject }) => subject.includes("STREAM.UPDATE"))).toEqual([]);
  });

  test("publications have the peer's subjects and headers and are stored", async () => {
    const { backend, plane } = await useAll();
    const id = randomUUID();
    const image = Uint8Array.of(0xff, 0xd8, 0, 1, 2);

    await plane.publishParameter(id, "crop_to_x", `{"value":120}`);
    await plane.publishPipelineMetrics(`{"metadatas":[]}`);
    await plane.publishImage(id, image);
    await plane.publishTable(id, `{"tables":{}}`);

    await backend.connection.flush();
    const reply = expect.stringMatching(/^_INBOX\./);
    const sent = backend.recorded.filter(({ subject }) => /^(par|met|img|tbl)\./.test(subject));
    expect(sent.map(({ subject, headers }) => [subject, headers])).toEqual([
      [`par.op.${id}.crop_to_x`, { "Nats-Expected-Stream": "par" }],
      ["met.pipe", null],
      [`img.${id}`, null],
      [`tbl.${id}`, null],
    ]);
    expect(sent.map(({ reply: inbox }) => inbox)).toEqual([reply, reply, reply, reply]);
    expect(await backend.parameter(id, "crop_to_x")).toBe(`{"value":120}`);
    expect(await backend.lastMessage("img", `img.${id}`)).toEqual(image);
    expect(new TextDecoder().decode((await backend.lastMessage("tbl", `tbl.${id}`))!)).toBe(`{"tables":{}}`);
    expect(new TextDecoder().decode((await backend.lastMessage("met", "met.pipe"))!)).toBe(
      `{"metadatas":[]}`,
    );
  });

  test("purging takes this operator's picture away and no other", async () => {
    const { backend, plane } = await useAll();
    await plane.publishImage("mine", Uint8Array.of(1));
    await plane.publishImage("other", Uint8Array.of(2));

    await plane.purgeImages("mine");

    expect(await backend.lastMessage("img", "img.mine")).toBeNull();
    expect(await backend.lastMessage("img", "img.other")).toEqual(Uint8Array.of(2));
    const purge = backend.recorded.find(({ subject }) => subject === "$JS.API.STREAM.PURGE.img");
    expect(JSON.parse(purge!.body)).toEqual({ filter: "img.mine" });
  });

  test("the consumer of parameter updates is like the peer's", async () => {
    const { backend, plane } = await useAll();
    updatesInto(plane, "cop");

    await untilConsumers(backend, "par", 1);
    const pull = () =>
      backend.recorded.find(({ subject }) => subject.startsWith("$JS.API.CONSUMER.MSG.NEXT.par."));
    await vi.waitFor(() => expect(pull()).toBeDefined(), patient);

    const { config } = JSON.parse(backend.recorded.find(isConsumerFor("par"))!.body);
    expect(config).toEqual({
      name: expect.stringMatching(/^\w{10,}$/),
      description: "operator-cop",
      deliver_policy: "new",
      ack_policy: "explicit",
      replay_policy: "instant",
      filter_subject: "par.op.upd.cop.>",
    });
    expect(pull()).toMatchObject({ subject: `$JS.API.CONSUMER.MSG.NEXT.par.${config.name}` });
    expect(JSON.parse(pull()!.body)).toEqual({ batch: 1, expires: 10_000_000_000 });
  });
});

describe("a pipeline", () => {
  test("that does not come in time is missing", async () => {
    const { plane } = await useAll();

    await expect(plane.fetchPipeline("nobody", 300)).rejects.toMatchObject({
      name: "HostError",
      code: "STEMLINE_PIPELINE_MISSING",
      message:
        "No pipeline for operator nobody came on depl.op.nobody within 0.3 s: there is no such message",
    });
  });

  test("is missing where there is no stream", async () => {
    const plane = await usePlane(await useServer());

    await expect(plane.fetchPipeline("nobody", 300)).rejects.toMatchObject({
      code: "STEMLINE_PIPELINE_MISSING",
      message: expect.stringMatching(/within 0.3 s: stream not found$/),
    });
  });

  test("may come, and its stream before it, while it is waited for", async () => {
    const server = await useServer();
    const plane = await usePlane(server);
    const fetching = plane.fetchPipeline("late", 20_000);
    await sleep(300);
    const backend = await useBackend(server);
    await untilConsumers(backend, "depl", 1);
    await backend.publishPipeline("late", { late: true });

    expect(new TextDecoder().decode(await fetching)).toBe(`{"late":true}`);
  });

  test("is waited for through a lost connection", async () => {
    const { server, plane, backend } = await useAll({ storage: "file" });
    const fetching = plane.fetchPipeline("late", 60_000);
    await untilConsumers(backend, "depl", 1);
    await server.kill();
    await vi.waitFor(() => expect(plane.connected).toBe(false), patient);
    await server.start();
    await backend.publishPipeline("late", { late: true });

    expect(new TextDecoder().decode(await fetching)).toBe(`{"late":true}`);
  });
});

describe("a bucket", () => {
  const members = [
    ...[
      "name",
      "subjects",
      "retention",
      "discard",
      "max_age",
      "max_msgs",
      "max_bytes",
      "max_msgs_per_subject",
    ],
    ...[
      "max_msg_size",
      "storage",
      "num_replicas",
      "duplicate_window",
      "allow_direct",
      "mirror_direct",
      "sealed",
    ],
    ...["deny_delete", "deny_purge", "allow_rollup_hdrs"],
  ] as const;

  test.each(["memory", "file"] as const)(
    "is made with the backend's settings if it is missing (%s)",
    async (storage) => {
      const [ours, theirs] = [await useServer(), await useServer()];
      const backend = await useBackend(theirs, { storage });
      const plane = await usePlane(ours, { storage });

      await plane.put("stat", "op.x", "running");
      await plane.remove("met", "op.x");

      const info = async (connection: Backend["connection"], stream: string) => {
        const manager = await jetstreamManager(connection, { checkAPI: false });
        const config: Record<string, unknown> = { ...(await manager.streams.info(stream)).config };
        return Object.fromEntries(members.map((member) => [member, config[member]]));
      };
      // Connects to our server only now, so that nobody subscribed to everything while the buckets were made.
      const reader = await startBackend(ours, { storage });
      onTestFinished(() => reader.close());
      for (const stream of ["KV_stat", "KV_met"]) {
        const expected = await info(backend.connection, stream);
        expect(expected).toMatchObject({
          max_age: 30_000_000_000,
          discard: "new",
          deny_delete: true,
          storage,
        });
        expect(await info(reader.connection, stream)).toEqual(expected);
      }
      expect(await reader.read("stat", "op.x")).toBe("running");
    },
  );

  test("may be made by many operators at once", async () => {
    const server = await useServer();
    const planes = await Promise.all([1, 2, 3, 4].map(() => usePlane(server)));

    await Promise.all(
      planes.flatMap((plane, index) => [
        plane.put("stat", `op.${index}`, `first ${index}`),
        plane.put("met", `op.${index}`, `second ${index}`),
      ]),
    );

    const backend = await useBackend(server);
    expect(await backend.keys("stat")).toEqual(["op.0", "op.1", "op.2", "op.3"]);
    expect(await backend.read("met", "op.3")).toBe("second 3");
  });

  test("that somebody made with other settings stays as it is", async () => {
    const { backend, plane } = await useAll();
    const manager = await jetstreamManager(backend.connection, { checkAPI: false });
    await manager.streams.update("KV_stat", { max_age: 45_000_000_000 });

    await plane.put("stat", "op.x", "running");

    expect((await manager.streams.info("KV_stat")).config.max_age).toBe(45_000_000_000);
    expect(await backend.read("stat", "op.x")).toBe("running");
  });

  test("that is deleted under a connected operator is made again", async () => {
    const server = await useServer();
    const plane = await usePlane(server);
    await plane.put("stat", "op.x", "before");
    await deleteStream(server, "KV_stat");
    // A missing stream shows at once only where nobody subscribes to everything, as that connection did.
    await vi.waitFor(
      async () => expect(await server.clientNames()).toEqual(["operator-under-test"]),
      patient,
    );

    await plane.put("stat", "op.x", "after");

    const { values } = watchInto(plane, "op.x");
    await vi.waitFor(() => expect(values).toEqual(["after"]), patient);
  });
});

/** Deletes a stream over a connection of its own. */
async function deleteStream(server: NatsServer, name: string): Promise<void> {
  const other = await startBackend(server);
  const manager = await jetstreamManager(other.connection, { checkAPI: false });
  await manager.streams.delete(name);
  await other.close();
}

describe("a publication", () => {
  test("over the server's limit is refused with both sizes, and one at the limit is not", async () => {
    const server = await useServer({ maxPayload: 4_096 });
    await useBackend(server);
    const plane = await usePlane(server);

    expect(plane.maxPayloadBytes).toBe(4_096);
    await plane.publishImage("cop", new Uint8Array(4_096));
    await expect(plane.publishImage("cop", new Uint8Array(4_097))).rejects.toMatchObject({
      name: "HostError",
      code: "STEMLINE_PUBLISH_TOO_LARGE",
      message: "A message of 4097 bytes for img.cop is over the NATS server's limit of 4096 bytes",
    });
    // Bytes count, not characters.
    await expect(plane.publishTable("cop", "µ".repeat(2_049))).rejects.toMatchObject({
      code: "STEMLINE_PUBLISH_TOO_LARGE",
      message: expect.stringContaining("4098 bytes for tbl.cop"),
    });
  });

  test("that no stream takes fails with its cause", async () => {
    const plane = await usePlane(await useServer());

    const error = await plane.publishImage("cop", Uint8Array.of(1)).catch((e) => e);

    expect(error).toMatchObject({ name: "HostError", code: "STEMLINE_PUBLISH_FAILED" });
    expect(error.message).toMatch(/^Could not publish to img\.cop: .*no responders/);
    expect(error.cause).toBeInstanceOf(Error);
    await expect(plane.purgeImages("cop")).rejects.toMatchObject({
      code: "STEMLINE_PUBLISH_FAILED",
      message: "Could not purge img.cop: stream not found",
    });
  });

  test("that the stream refuses fails with the stream's reason", async () => {
    const { backend, plane } = await useAll();
    const manager = await jetstreamManager(backend.connection, { checkAPI: false });
    await manager.streams.update("img", { max_msg_size: 10 });

    await expect(plane.publishImage("cop", new Uint8Array(11))).rejects.toMatchObject({
      code: "STEMLINE_PUBLISH_FAILED",
      message: "Could not publish to img.cop: message size exceeds maximum allowed",
    });
  });
});

describe("a watch", () => {
  test("gives the present value, then later ones in order, then null for each kind of removal", async () => {
    const { backend, plane } = await useAll();
    await backend.put("stat", "port.a", "old");
    await backend.put("stat", "port.a", "0");
    await backend.put("stat", "port.ab", "of another key");
    const { values } = watchInto(plane, "port.a");
    await vi.waitFor(() => expect(values).toEqual(["0"]), patient);

    // What a server of 2.11 sends when the last value of a key expires is empty and has no mark of an operation.
    for (const change of ["1", "DEL", "2", "", "3"]) {
      const count = values.length;
      if (change === "DEL") await backend.remove("stat", "port.a");
      else await backend.put("stat", "port.a", change);
      await vi.waitFor(() => expect(values).toHaveLength(count + 1), patient);
    }
    expect(values).toEqual(["0", "1", null, "2", null, "3"]);
  });

  test("never goes back to an older value, however fast they follow each other", async () => {
    const { backend, plane } = await useAll();
    const { values } = watchInto(plane, "port.a");
    await untilConsumers(backend, "KV_stat", 1);
    const sent = Array.from({ length: 500 }, (_unused, index) => `${1_000 + index}`);

    for (let first = 0; first < sent.length; first += 10) {
      await Promise.all(sent.slice(first, first + 10).map((value) => backend.put("stat", "port.a", value)));
    }

    await vi.waitFor(() => expect(values.at(-1)).toBe("1499"), patient);
    // The bucket keeps one value per key, so that some may be replaced before they are told.
    expect(values).toEqual([...new Set(values)].sort());
    expect(values.length).toBeGreaterThan(1);
  });

  test("says nothing of a key without a value, and null for one that is already removed", async () => {
    const { backend, plane } = await useAll();
    await backend.put("stat", "port.removed", "x");
    await backend.remove("stat", "port.removed");
    const [absent, removed] = [watchInto(plane, "port.absent"), watchInto(plane, "port.removed")];

    await vi.waitFor(() => expect(removed.values).toEqual([null]), patient);
    await untilConsumers(backend, "KV_stat", 2);

    expect(absent.values).toEqual([]);
    await backend.put("stat", "port.absent", "now");
    await vi.waitFor(() => expect(absent.values).toEqual(["now"]), patient);
  });

  test("ends when it is stopped, and takes its consumer away", async () => {
    const { backend, plane } = await useAll();
    const { values, subscription } = watchInto(plane, "port.a");
    await backend.put("stat", "port.a", "1");
    await vi.waitFor(() => expect(values).toEqual(["1"]), patient);

    await subscription.stop();
    await backend.put("stat", "port.a", "2");

    await untilConsumers(backend, "KV_stat", 0);
    expect(values).toEqual(["1"]);
  });

  test("that its own listener stops tells nothing more of what has arrived already", async () => {
    const server = await useServer();
    const backend = await useBackend(server);
    const run = runInProcess(
      `const plane = await connectControlPlane({ url: process.env.NATS_SERVER_URL, name: "child", storage: "memory",
         credentials: { mode: "nkeys", seed: process.env.NKEYS_SEED_STR }, waitSeconds: 5, log });
       const subscription = plane.watch("stat", "port.a", (value) => {
         console.log("told");
         subscription.stop();
       });
       await new Promise((resolve) => setTimeout(resolve, 500));
       await plane.put("stat", "op.child", "does nothing for a second, so that what comes is read at once");
       Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1_000);
       await new Promise((resolve) => setTimeout(resolve, 500));
       await plane.close();`,
      server.environment,
    );
    await vi.waitFor(async () => expect(await backend.read("stat", "op.child")).not.toBeNull(), patient);
    for (const value of ["1", "2", "3", "4"]) await backend.put("stat", "port.a", value);

    expect(await run).toEqual({ code: 0, output: "told\n" });
  });

  test("goes on when its listener throws", async () => {
    const { backend, plane, log } = await useAll();
    const values: string[] = [];
    plane.watch("stat", "port.a", (value) => {
      values.push(new TextDecoder().decode(value!));
      if (values.length === 1) throw new Error("listener broke");
    });

    for (const value of ["1", "2"]) await putAndSee(backend, values, "port.a", value);

    expect(values).toEqual(["1", "2"]);
    const errors = log.lines.filter(({ level }) => level === "error");
    expect(errors).toMatchObject([{ fields: { error: new Error("listener broke") } }]);
  });

  test("comes back after its stream was deleted and made again under a lasting connection", async () => {
    const { server, backend, plane, log } = await useAll();
    const { values } = watchInto(plane, "port.a");
    for (const value of ["1", "2", "3"]) await putAndSee(backend, values, "port.a", value);

    await deleteStream(server, "KV_stat");
    await vi.waitFor(
      () => expect(log.lines.at(-1)?.text).toMatch(/^Watch of port\.a .* interrupted/),
      patient,
    );
    await backend.createStreams();
    // Its revision is lower than what the watch has seen.
    await backend.put("stat", "port.a", "new");

    await vi.waitFor(() => expect(values).toEqual(["1", "2", "3", "new"]), patient);
  });
});

describe("parameter updates", () => {
  test("are handed over in order from now on, and acknowledged or refused for good", async () => {
    const { backend, plane, log } = await useAll();
    await backend.updateParameter("cop", "x", "int", "from before");
    const { values } = updatesInto(plane, "cop", (value) => {
      if (value === "broken") throw new Error("handler broke");
      return value !== "bad";
    });
    await untilConsumers(backend, "par", 1);

    const sent = [1, "bad", 2, "broken", 3];
    // Each of another name: the stream keeps one update of each, so that one might replace the other.
    for (const [index, value] of sent.entries())
      await backend.updateParameter("cop", `p${index}`, "int", value);
    await backend.updateParameter("other", "x", "int", "not ours");

    await vi.waitFor(() => expect(values).toEqual(sent), patient);
    const answers = () =>
      backend.recorded.filter(({ subject }) => subject.startsWith("$JS.ACK.par.")).map(({ body }) => body);
    await vi.waitFor(() => expect(answers()).toEqual(["", "+TERM", "", "+TERM", ""]), patient);
    const errors = log.lines.filter(({ level }) => level === "error");
    expect(errors).toMatchObject([{ fields: { error: new Error("handler broke") } }]);
  });

  test("of a whole burst are all handed over", async () => {
    const { backend, plane } = await useAll();
    const { values } = updatesInto(plane, "cop");
    await untilConsumers(backend, "par", 1);
    const names = Array.from({ length: 50 }, (_unused, index) => `p${index}`);

    await Promise.all(names.map((name, index) => backend.updateParameter("cop", name, "int", index)));

    await vi.waitFor(() => expect(values).toEqual(names.map((_name, index) => index)), patient);
  });

  test("that came while there was no consumer are not missed, and none comes twice", async () => {
    const { backend, plane } = await useAll();
    await backend.updateParameter("cop", "a", "int", "from before");
    const { values } = updatesInto(plane, "cop");
    await untilConsumers(backend, "par", 1);
    await backend.updateParameter("cop", "x", "int", 1);
    await vi.waitFor(() => expect(values).toEqual([1]), patient);
    const { config } = JSON.parse(backend.recorded.find(isConsumerFor("par"))!.body);
    const manager = await jetstreamManager(backend.connection, { checkAPI: false });

    await manager.consumers.delete("par", config.name);
    await backend.updateParameter("cop", "y", "int", 2);

    await vi.waitFor(() => expect(values).toEqual([1, 2]), patient);
    await backend.updateParameter("cop", "z", "int", 3);
    await vi.waitFor(() => expect(values).toEqual([1, 2, 3]), patient);
  });

  test("in a stream that was made after the operator started are all taken", async () => {
    const server = await useServer();
    const log = recordingLog();
    const plane = await usePlane(server, { log });
    const { values } = updatesInto(plane, "cop");
    await vi.waitFor(
      () => expect(log.lines.at(-1)?.fields).toEqual({ reason: "there is no stream par" }),
      patient,
    );

    const backend = await useBackend(server);
    await backend.updateParameter("cop", "x", "int", 1);
    await backend.updateParameter("cop", "y", "int", 2);

    await vi.waitFor(() => expect(values).toEqual([1, 2]), patient);
  });

  test("that came since they were asked for are taken, also when NATS was away then", async () => {
    const { server, backend, plane } = await useAll({ storage: "file" });
    await backend.updateParameter("cop", "a", "int", "from before");
    await server.kill();
    await vi.waitFor(() => expect(plane.connected).toBe(false), patient);
    const { values } = updatesInto(plane, "cop");
    await server.start();
    await backend.updateParameter("cop", "x", "int", 1);

    await vi.waitFor(() => expect(values).toEqual([1]), patient);
  });

  test("end when they are stopped, and the consumer is taken away", async () => {
    const { backend, plane } = await useAll();
    const { values, subscription } = updatesInto(plane, "cop");
    await untilConsumers(backend, "par", 1);

    await subscription.stop();
    await backend.updateParameter("cop", "x", "int", 1);

    await untilConsumers(backend, "par", 0);
    expect(values).toEqual([]);
  });
});

describe("triggers", () => {
  test("are answered by every replica, whatever their name, until they are stopped", async () => {
    const { backend, plane, log } = await useAll();
    const subscription = plane.answerTriggers("cop", (body) => {
      const { trigger } = JSON.parse(new TextDecoder().decode(body));
      if (trigger === "break") throw new Error("answer broke");
      return `{"ran":"${trigger}"}`;
    });
    await plane.put("met", "op.x", "the subscription is there when this is acknowledged");

    expect(await backend.requestTrigger("cop", "read_now")).toBe(`{"ran":"read_now"}`);
    expect(await backend.requestTrigger("cop", "a.b", `{"trigger":"c"}`)).toBe(`{"ran":"c"}`);
    // Neither a failing answer nor one that nobody waits for ends the subscription.
    backend.connection.publish("trig.op.cop.break", `{"trigger":"break"}`);
    backend.connection.publish("trig.op.cop.silent", `{"trigger":"silent"}`);
    expect(await backend.requestTrigger("cop", "read_now")).toBe(`{"ran":"read_now"}`);
    expect(log.lines.filter(({ level }) => level === "error")).toMatchObject([
      { fields: { error: new Error("answer broke") } },
    ]);

    await subscription.stop();
    await plane.put("met", "op.x", "the subscription is gone when this is acknowledged");
    const answers = (): number => backend.recorded.filter(({ body }) => body === `{"ran":"late"}`).length;
    backend.connection.publish("trig.op.cop.late", `{"trigger":"late"}`, { reply: "reply.late" });
    await backend.connection.flush();
    await sleep(100);
    expect(answers()).toBe(0);
  });

  test("with an answer too large to send do not end the connection", async () => {
    const server = await useServer({ maxPayload: 1_024 });
    const backend = await useBackend(server, {});
    const plane = await usePlane(server);
    plane.answerTriggers("cop", (body) => "x".repeat(body.length > 30 ? 2_000 : 2));
    await plane.put("met", "op.x", "1");
    backend.connection.publish("trig.op.cop.a", "y".repeat(31), { reply: "reply.late" });

    expect(await backend.requestTrigger("cop", "a", "short")).toBe("xx");
  });
});

describe("when the server goes away", () => {
  /** A control plane that does everything at once, and what came of it. */
  async function busy(storage: "memory" | "file") {
    const server = await useServer();
    const backend = await useBackend(server, { storage });
    const log = recordingLog();
    const plane = await usePlane(server, { log, storage });
    const changes: boolean[] = [];
    plane.onConnectionChange((connected) => changes.push(connected));
    await backend.updateParameter("cop", "before", "int", 0);
    await backend.put("stat", "port.up", "1");
    const watch = watchInto(plane, "port.up");
    const updates = updatesInto(plane, "cop");
    plane.answerTriggers("cop", () => "answer");
    await plane.put("stat", "op.self", "running 1");
    await untilConsumers(backend, "par", 1);
    await backend.updateParameter("cop", "x", "int", 10);
    await backend.updateParameter("cop", "y", "int", 11);
    await vi.waitFor(() => {
      expect(watch.values).toEqual(["1"]);
      expect(updates.values).toEqual([10, 11]);
    }, patient);
    return { server, backend, log, plane, changes, watch: watch.values, updates: updates.values };
  }

  test("and comes back with its state, everything goes on and nothing is missed", async () => {
    const { server, backend, plane, changes, watch, updates } = await busy("file");

    await server.kill();
    await vi.waitFor(() => expect(plane.connected).toBe(false), patient);
    await server.start();
    await backend.updateParameter("cop", "z", "int", 12);
    await backend.put("stat", "port.up", "2");

    await vi.waitFor(() => expect(updates).toEqual([10, 11, 12]), patient);
    await vi.waitFor(() => expect(watch.at(-1)).toBe("2"), patient);
    // The present value may be told again, but never one that is older than what was told.
    expect(watch).toEqual([...watch].sort());
    await plane.put("stat", "op.self", "running 2");
    expect(await backend.read("stat", "op.self")).toBe("running 2");
    expect(await backend.requestTrigger("cop", "go")).toBe("answer");
    expect(changes).toEqual([false, true]);
  });

  test("and comes back without its state, everything is made again", async () => {
    const { server, backend, plane, changes, watch, updates, log } = await busy("memory");
    for (const value of ["2", "3"]) await putAndSee(backend, watch, "port.up", value);

    await server.kill();
    server.wipe();
    await server.start();
    await vi.waitFor(() => expect(changes).toEqual([false, true]), patient);
    // Before any backend is back, the operator makes what it needs itself.
    await plane.put("stat", "op.self", "running 2");
    expect(await backend.read("stat", "op.self")).toBe("running 2");
    await backend.createStreams();
    await backend.updateParameter("cop", "x", "int", 20);
    // More than the operator has seen of the stream before: where it was is no place in this one.
    for (let count = 0; count < 10; count++) await backend.updateParameter("other", `${count}`, "int", 0);
    // Revisions start again: this one is lower than the last one that was seen.
    await backend.put("stat", "port.up", "4");

    await vi.waitFor(() => expect(updates).toEqual([10, 11, 20]), patient);
    await vi.waitFor(() => expect(watch).toEqual(["1", "2", "3", "4"]), patient);
    await backend.put("stat", "port.up", "5");
    await vi.waitFor(() => expect(watch).toEqual(["1", "2", "3", "4", "5"]), patient);
    expect(await backend.requestTrigger("cop", "go")).toBe("answer");
    expect(log.lines.map(({ text }) => text)).toContain("Made a bucket that the NATS server did not have");
  });

  test("calls fail at once instead of being kept, also those under way, and succeed when it is back", async () => {
    const { server, plane } = await useAll();
    await plane.put("stat", "op.x", "1");
    server.pause();
    await sleep(100);
    const underWay = plane.publishImage("cop", Uint8Array.of(1)).catch((error) => error);
    await sleep(100);
    await server.kill();

    expect(await underWay).toMatchObject({
      name: "HostError",
      code: "STEMLINE_NATS_DISCONNECTED",
      message: `There is no connection to NATS server ${server.url}`,
    });
    const calls = [
      plane.put("stat", "op.x", "2"),
      plane.remove("met", "op.x"),
      plane.publishParameter("cop", "x", "3"),
      plane.purgeImages("cop"),
    ];
    const failed = { status: "rejected", reason: { code: "STEMLINE_NATS_DISCONNECTED" } };
    expect(await Promise.allSettled(calls)).toMatchObject(calls.map(() => failed));
    expect(plane.maxPayloadBytes).toBe(1024 * 1024);

    await server.start();
    await vi.waitFor(() => plane.put("stat", "op.x", "4"), patient);
  });

  test("it is waited for through refused credentials, which are logged now and then", async () => {
    const { server, plane, log } = await useAll();
    await server.stop();
    await server.start({ refuseAll: true });
    // nats.js by itself would give up after the second refusal.
    await sleep(3_500);
    const errors = log.lines.filter(({ level }) => level === "error");
    expect(errors).toMatchObject([{ fields: { reason: expect.stringMatching(/authorization/i) } }]);
    await server.stop();
    await server.start();

    await vi.waitFor(() => plane.put("stat", "op.x", "back"), patient);
  });

  test("a websocket is opened again too", async () => {
    const server = await useServer();
    const url = server.websocketUrl;
    const [plane, other] = [await usePlane(server, { url }), await usePlane(server, { url })];
    const { values } = watchInto(plane, "port.a");
    await other.put("stat", "port.a", "1");
    await vi.waitFor(() => expect(values).toEqual(["1"]), patient);

    await server.kill();
    await server.start();
    await vi.waitFor(() => other.put("stat", "port.a", "2"), patient);

    await vi.waitFor(() => expect(values).toEqual(["1", "2"]), patient);
  });

  test("a listener for the connection that throws does not keep the others from hearing", async () => {
    const { server, plane } = await useAll();
    const changes: boolean[] = [];
    plane.onConnectionChange(() => {
      throw new Error("listener broke");
    });
    plane.onConnectionChange((connected) => changes.push(connected));

    await server.kill();
    await vi.waitFor(() => expect(changes).toEqual([false]), patient);
    await server.start();
    await vi.waitFor(() => expect(changes).toEqual([false, true]), patient);
  });

  test("a server that says nothing is given up, even with more sent than the system takes", async () => {
    const server = await useServer();
    await useBackend(server);
    const planes = [await usePlane(server), await usePlane(server, { url: server.websocketUrl })];
    server.pause();

    const publications = planes.flatMap((plane) =>
      Array.from({ length: 12 }, () =>
        plane.publishImage("cop", new Uint8Array(1_000_000)).catch((error) => error),
      ),
    );

    await vi.waitFor(() => expect(planes.map(({ connected }) => connected)).toEqual([false, false]), {
      timeout: 22_000,
      interval: 100,
    });
    for (const error of await Promise.all(publications)) expect(error.code).toMatch(/^STEMLINE_/);
    server.resume();
  });
});

describe("closing", () => {
  test("ends everything, may be repeated, and leaves calls that fail", async () => {
    const { server, backend, plane } = await useAll();
    const { values } = watchInto(plane, "port.a");
    const updates = updatesInto(plane, "cop");
    plane.answerTriggers("cop", () => "answer");
    await untilConsumers(backend, "par", 1);
    await untilConsumers(backend, "KV_stat", 1);

    await Promise.all([plane.close(), plane.close()]);
    await plane.close();

    await vi.waitFor(async () => expect(await server.clientNames()).toEqual(["backend"]), patient);
    expect(plane.connected).toBe(false);
    await untilConsumers(backend, "par", 0);
    await untilConsumers(backend, "KV_stat", 0);
    await expect(plane.put("stat", "op.x", "1")).rejects.toMatchObject({
      code: "STEMLINE_NATS_DISCONNECTED",
    });
    expect([values, updates.values]).toEqual([[], []]);
  });

  test("ends the wait for a pipeline at once", async () => {
    const { backend, plane } = await useAll();
    const fetching = plane.fetchPipeline("late", 60_000).catch((error) => error);
    await untilConsumers(backend, "depl", 1);

    await plane.close();

    expect(await fetching).toMatchObject({ code: "STEMLINE_NATS_DISCONNECTED" });
  });

  test("sends first what was published before", async () => {
    const { backend, plane } = await useAll();
    await plane.put("stat", "op.x", "there");
    const removing = plane.remove("stat", "op.x");

    await plane.close();

    await removing;
    expect(await backend.read("stat", "op.x")).toBeNull();
  });

  test("works while there is no server, and without telling of a lost connection", async () => {
    const { server, plane } = await useAll();
    watchInto(plane, "port.a");
    updatesInto(plane, "cop");
    const changes: boolean[] = [];
    plane.onConnectionChange((connected) => changes.push(connected));
    await server.kill();
    await vi.waitFor(() => expect(changes).toEqual([false]), patient);

    await plane.close();
    await server.start();
    await sleep(1_500);

    expect(changes).toEqual([false]);
    expect(await server.clientNames()).toEqual(["backend"]);
  });

  test.each(["url", "websocketUrl"] as const)(
    "ends calls and process also while a server takes nothing any more (%s)",
    async (which) => {
      const server = await useServer();

      const result = await runInProcess(
        `const plane = await connectControlPlane({ url: process.env.URL_UNDER_TEST, name: "child", storage: "memory",
           credentials: { mode: "nkeys", seed: process.env.NKEYS_SEED_STR }, waitSeconds: 5, log });
         plane.watch("stat", "port.a", () => {});
         process.kill(Number(process.env.SERVER_PID), "SIGSTOP");
         const publications = Array.from({ length: 12 }, () =>
           plane.publishImage("cop", new Uint8Array(1_000_000)).catch((error) => error.code));
         await plane.close();
         console.log([...new Set(await Promise.all(publications))].join());`,
        { ...server.environment, URL_UNDER_TEST: server[which], SERVER_PID: `${server.pid}` },
      );

      expect(result).toEqual({ code: 0, output: "STEMLINE_NATS_DISCONNECTED\n" });
    },
  );

  test.each(["url", "websocketUrl"] as const)(
    "leaves nothing that keeps the process alive, with and without a server (%s)",
    async (which) => {
      const server = await useServer();
      const backend = await useBackend(server);
      const run = runInProcess(
        `process.on("unhandledRejection", (error) => console.log("unhandled", error));
         const options = { url: process.env.URL_UNDER_TEST, name: "child", storage: "memory",
           credentials: { mode: "nkeys", seed: process.env.NKEYS_SEED_STR }, waitSeconds: 5, log };
         const use = async () => {
           const plane = await connectControlPlane(options);
           plane.watch("stat", "port.a", () => {});
           plane.consumeParameterUpdates("cop", () => true);
           plane.answerTriggers("cop", () => "answer");
           await plane.put("stat", "op.child", "running");
           return plane;
         };
         const [first, second] = [await use(), await use()];
         await first.close();
         await second.put("stat", "op.child", "one is closed");
         await new Promise((resolve) => second.onConnectionChange(resolve));
         await new Promise((resolve) => setTimeout(resolve, 1_500));
         await second.close();
         second.watch("stat", "port.a", () => {});
         console.log("closed");`,
        { ...server.environment, URL_UNDER_TEST: server[which] },
      );
      await vi.waitFor(
        async () => expect(await backend.read("stat", "op.child")).toBe("one is closed"),
        patient,
      );
      await server.kill();

      expect(await run).toEqual({ code: 0, output: "closed\n" });
    },
  );
});
