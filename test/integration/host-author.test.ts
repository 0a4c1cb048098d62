import { execFile, spawn } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { get, type IncomingMessage } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text as textOf } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import { promisify, stripVTControlCharacters } from "node:util";
import { createUser } from "@nats-io/nkeys";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { type CanonicalPipeline, expandPipeline } from "../../src/spec/pipeline.ts";
import { authorOperators, authorPipeline, authorRunFile } from "./support/author-pipeline.ts";
import { type Deployment, deploy, type LogLine, until } from "./support/deployment.ts";
import { type Backend, startBackend } from "./support/interactem-backend.ts";
import { type NatsServer, startNatsServer, type TestCredentials } from "./support/nats-server.ts";

const root = fileURLToPath(new URL("../../", import.meta.url));
const cli = join(root, "dist/cli/main.js");
const png = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a];

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "stemline-author-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

/** What an operator wrote about a call of one of its hooks. */
const note = (hook: string, more: object) => ({ hook, ...more });
const called = (trigger: string, page: number, word = "first") =>
  note("run", { trigger, page, word, given_up: false });

describe("with a deployed pipeline", () => {
  let server: NatsServer;
  let backend: Backend;
  let deployment: Deployment;
  beforeAll(async () => {
    server = await startNatsServer();
    backend = await startBackend(server);
  });
  afterEach(() => deployment.close());
  afterAll(async () => {
    await backend.close();
    await server.close();
  });

  const notebookPipeline = () => authorPipeline({ notebook: { operator: "notebook" } }, []);

  /** The author's fields of the log lines that the notebook's hooks wrote. */
  const notesOf = (lines: readonly LogLine[]) =>
    lines
      .filter(({ msg }) => msg === "note")
      .map(({ level, time, operator_id, pipeline_id, canonical_id, label, msg, ...fields }) => fields);

  test("one run.ts does the same in a local run and as a deployed operator", async () => {
    const local = await runLocally(notebookPipeline(), [`notebook.folder=${folder}`]);
    const expected = [
      called("show", 0),
      called("leaf", 0),
      called("leaf", 1),
      called("leaf", 2),
      called("leaf", 3),
    ];
    const teardown = note("teardown", { page: 3 });
    expect(local.notes).toEqual([note("setup", { folder }), ...expected, teardown]);
    expect([...readFileSync(join(local.out, "notebook-shown.png"))]).toEqual([...png, 77]);
    expect(JSON.parse(readFileSync(join(local.out, "notebook-shown.json"), "utf8"))).toEqual({
      tables: { pages: [{ page: 0, word: "first" }], empty: [] },
    });
    expect(readdirSync(local.out).filter((name) => name.endsWith(".bin"))).toHaveLength(4);

    deployment = deploy(server, backend, expandPipeline(notebookPipeline()));
    const view = deployment.view("notebook");
    const canonicalId = view.operator.canonical_id;
    const operator = await deployment.start(view, authorRunFile("notebook"), {
      LOG_LEVEL: "INFO",
      STEMLINE_MOUNT_DIR: "",
    });
    await operator.status("running");
    const run = async (trigger: string, notes: number) => {
      await backend.requestTrigger(canonicalId, trigger);
      await until(`${notes} notes`, () => notesOf(operator.logs).length === notes || null);
    };
    await run("show", 2);
    await run("leaf", 6);
    const table = await until("a table", () => backend.lastMessage("tbl", `tbl.${canonicalId}`));
    expect(new TextDecoder().decode(table)).toBe(
      '{"tables":{"pages":[{"page":0,"word":"first"}],"empty":[]}}',
    );
    expect([...(await backend.lastMessage("img", `img.${canonicalId}`))!]).toEqual([...png, 77]);

    await backend.updateParameter(canonicalId, "word", "str", "second");
    await operator.logged("parameter was changed");
    await run("show", 7);
    expect((await operator.stop()).code).toBe(0);
    expect(notesOf(operator.logs)).toEqual([
      note("setup", { folder: "/mnt/folder" }),
      ...expected,
      called("show", 3, "second"),
      teardown,
    ]);
    // The picture goes with the operator that showed it.
    expect(await backend.lastMessage("img", `img.${canonicalId}`)).toBeNull();

    const levels = operator.logs.filter(({ msg }) => msg === "note").map(({ level }) => level);
    expect(levels).toEqual([...levels.slice(1).map(() => "info"), "warn"]);
    expect(operator.logs.filter(({ msg }) => msg === "small print")).toEqual([]);
    expect(operator.logs.filter(({ msg }) => msg === "metrics are served")).toEqual([]);
    expect(operator.stderr()).toBe("");
    for (const line of operator.logs) expect(line).toMatchObject({ operator_id: operator.id });
    const ofPipeline = operator.logs.slice(operator.logs.findIndex(({ msg }) => msg === "note"));
    for (const line of ofPipeline) {
      expect(line).toMatchObject({
        pipeline_id: deployment.pipeline.id,
        canonical_id: canonicalId,
        label: "notebook",
      });
    }
    expect(ofPipeline.at(-1)!.msg).toBe("stopped");
  });

  test("LOG_LEVEL says which lines an author's log writes", async () => {
    deployment = deploy(server, backend, expandPipeline(notebookPipeline()));
    const view = deployment.view("notebook");
    const operator = await deployment.start(view, authorRunFile("notebook"), { LOG_LEVEL: "WARNING" });
    await operator.status("running");
    expect((await operator.stop()).code).toBe(0);
    expect(operator.logs.map(({ level, msg, hook }) => ({ level, msg, hook }))).toEqual([
      { level: "warn", msg: "note", hook: "teardown" },
    ]);
  });

  test("a picture that NATS would not take is the author's error, and metrics show what came of messages", async () => {
    deployment = stationPipeline();
    const view = deployment.view("station");
    const source = await deployment.bindOutput(deployment.view("source").outputs[0]!.id);
    const operator = await deployment.start(view, authorRunFile("station"), {
      STEMLINE_METRICS_PORT: "0",
      STEMLINE_METRICS_HOST: "127.0.0.3",
    });
    const sink = await deployment.connectInput(deployment.view("reader").inputs[0]!.id);
    await operator.status("running");
    const { port } = await operator.logged("metrics are served");

    const send = (meta: object, subject = "bytes") =>
      source.send([JSON.stringify({ subject, meta, tracking: null }), "data"]);
    await send({ n: 1, image_bytes: 2_000_000 });
    await source.send(["one part"]);
    await source.send(["no JSON", "data"]);
    await send({}, "shm");
    await send({}, "shm");
    await send({ n: 2, image_bytes: 3000 });
    const [header] = await sink.receive();
    expect(JSON.parse(header!.toString()).meta.n).toBe(2);
    expect(await operator.logged("run failed")).toMatchObject({
      level: "error",
      error: { code: "STEMLINE_PUBLISH_TOO_LARGE" },
      msg: expect.stringMatching(/2000000 bytes .* over the NATS server's limit of 1048576 bytes/),
    });
    expect(await backend.lastMessage("img", `img.${view.operator.canonical_id}`)).toHaveLength(3000);

    // Only where it was told to listen.
    await expect(request(`http://127.0.0.1:${port}/metrics`)).rejects.toMatchObject({ code: "ECONNREFUSED" });
    const { response, text } = await request(`http://127.0.0.3:${port}/metrics`);
    expect(response.statusCode).toBe(200);
    expect(response.headers["content-type"]).toMatch(/^text\/plain; version=0\.0\.4/);
    expect((await request(`http://127.0.0.3:${port}/`)).response.statusCode).toBe(404);
    const values = text.split("\n").filter((line) => line.startsWith("stemline_"));
    expect(values).toEqual(
      expect.arrayContaining([
        'stemline_messages_rejected_total{reason="parts"} 1',
        'stemline_messages_rejected_total{reason="header"} 1',
        'stemline_messages_rejected_total{reason="subject"} 2',
        "stemline_kernel_failures_total 1",
        `stemline_messages_received_total{port="${view.inputs[0]!.id}"} 6`,
        `stemline_messages_received_total{port="${view.inputs[1]!.id}"} 0`,
        `stemline_messages_sent_total{port="${view.outputs[0]!.id}"} 1`,
        'stemline_kernel_seconds_bucket{le="+Inf"} 2',
        "stemline_kernel_seconds_count 2",
        "stemline_nats_connected 1",
        expect.stringMatching(/^stemline_backend_info\{backend="\w+"\} 1$/),
      ]),
    );
    expect(text).toContain("process_resident_memory_bytes ");
    const { code, counts } = await operator.stop();
    expect({ code, failed: counts.failed, rejected: counts.rejected }).toEqual({
      code: 0,
      failed: 1,
      rejected: 4,
    });
  });

  test("an author's signal is aborted when unfinished work is given up", async () => {
    deployment = stationPipeline();
    const source = await deployment.bindOutput(deployment.view("source").outputs[0]!.id);
    const operator = await deployment.start(deployment.view("station"), authorRunFile("station"), {
      STEMLINE_SHUTDOWN_SECONDS: "0.5",
    });
    await source.send([JSON.stringify({ subject: "bytes", meta: { endless: true }, tracking: null }), ""]);
    await operator.logged("called");
    const { code, counts } = await operator.stop();
    expect({ code, discarded: counts.discarded }).toEqual({ code: 1, discarded: 1 });
    expect(operator.logs.map(({ msg }) => msg)).toContain("given up");
  });

  function stationPipeline(): Deployment {
    const canonical = authorPipeline(
      { source: { operator: "ticker" }, station: { operator: "station" }, reader: { operator: "station" } },
      [
        ["source.ticks", "station.left"],
        ["station.out", "reader.left"],
      ],
    );
    return deploy(server, backend, expandPipeline(canonical));
  }

  test("credentials are in no line of the log, also when they are refused", async () => {
    deployment = deploy(server, backend, expandPipeline(notebookPipeline()));
    const view = deployment.view("notebook");
    const url = `nats://somebody:in-the-url@127.0.0.1:${server.port}`;
    const operator = await deployment.start(view, authorRunFile("notebook"), {
      LOG_LEVEL: "TRACE",
      NATS_SERVER_URL: url,
    });
    await operator.status("running");
    expect((await operator.stop()).code).toBe(0);
    expectNoSecrets(operator.logs, server.credentials, ["in-the-url", "somebody"]);

    const refused = deployment.startUnpublished(view, authorRunFile("notebook"), {
      LOG_LEVEL: "TRACE",
      NATS_SERVER_URL: url,
      NKEYS_SEED_STR: secretsOf(server.wrongCredentials)[0],
    });
    expect(await refused.exit).toBe(1);
    expect(refused.logs.at(-1)).toMatchObject({ level: "fatal", code: "STEMLINE_NATS_REFUSED" });
    expect(refused.stderr()).toBe("");
    expectNoSecrets(refused.logs, server.wrongCredentials, ["in-the-url", "somebody"]);
  });

  test("starts through a websocket", async () => {
    deployment = deploy(server, backend, expandPipeline(notebookPipeline()));
    const operator = await deployment.start(deployment.view("notebook"), authorRunFile("notebook"), {
      NATS_SERVER_URL: server.websocketUrl,
    });
    await operator.status("running");
    expect((await operator.stop()).code).toBe(0);
  });
});

test.each([{ auth: "creds" }, { tls: true }] as const)("starts with a server of %o", async (options) => {
  const server = await startNatsServer(options);
  const backend = await startBackend(server);
  const canonical = authorPipeline({ notebook: { operator: "notebook" } }, []);
  const deployment = deploy(server, backend, expandPipeline(canonical));
  try {
    const operator = await deployment.start(deployment.view("notebook"), authorRunFile("notebook"), {
      LOG_LEVEL: "TRACE",
    });
    await operator.status("running");
    expect((await operator.stop()).code).toBe(0);
    expect(operator.logs[0]!.msg).toBe("Connected to NATS");
    expectNoSecrets(operator.logs, server.credentials);
  } finally {
    await deployment.close();
    await backend.close();
    await server.close();
  }
});

test("the log is text for people at a terminal", async () => {
  const { stdout } = await promisify(execFile)(
    "script",
    [
      "-qec",
      `${process.execPath} ${cli} operator start ${authorRunFile("notebook")}; echo code $?`,
      "/dev/null",
    ],
    {
      env: {
        ...process.env,
        INTERACTEM_AGENT_ID: "5bd6ef2a-91c0-4d7e-8000-000000000001",
        NATS_SERVER_URL: "nats://127.0.0.1:1",
        NATS_SECURITY_MODE: "nkeys",
        NKEYS_SEED_STR: new TextDecoder().decode(createUser().getSeed()),
        ZMQ_BIND_HOSTNAME: "127.0.0.1",
        ZMQ_BIND_INTERFACE: "127.0.0.1",
        STEMLINE_NATS_WAIT_SECONDS: "0",
      },
    },
  );
  const text = stripVTControlCharacters(stdout);
  expect(text).not.toBe(stdout);
  expect(text).toMatch(
    /^\[\d\d:\d\d:\d\d\.\d{3}\] FATAL: the operator ended: NATS server nats:\/\/127\.0\.0\.1:1 /m,
  );
  expect(text).toMatch(/^ +code: "STEMLINE_NATS_UNREACHABLE"\r?$/m);
  expect(text).toMatch(/^code 1\r?$/m);
  expect(text).not.toContain("5bd6ef2a-91c0-4d7e-8000-000000000001");
});

interface LocalRun {
  readonly notes: readonly object[];
  /** Folder of the results. */
  readonly out: string;
}

async function runLocally(pipeline: CanonicalPipeline, settings: readonly string[]): Promise<LocalRun> {
  const file = join(folder, "pipeline.json");
  const out = join(folder, "out");
  writeFileSync(file, JSON.stringify(pipeline));
  const options = ["--json", "--operators", authorOperators, "--out", out];
  const child = spawn(
    process.execPath,
    [cli, "run", file, ...options, ...settings.flatMap((setting) => ["--set", setting])],
    { env: { ...process.env, STEMLINE_DEBUG: "1" }, stdio: ["ignore", "pipe", "pipe"] },
  );
  const code = new Promise((resolve) => child.on("close", resolve));
  const [stdout, stderr] = await Promise.all([textOf(child.stdout), textOf(child.stderr)]);
  expect({ code: await code, stderr }).toEqual({ code: 0, stderr: "" });
  const events = stdout
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line));
  const notes = events.filter(({ event, message }) => event === "log" && message === "note");
  return { notes: notes.map(({ fields }) => fields), out };
}

async function request(url: string): Promise<{ response: IncomingMessage; text: string }> {
  const response = await new Promise<IncomingMessage>((resolve, reject) => {
    get(url, resolve).on("error", reject);
  });
  return { response, text: await textOf(response) };
}

/** Texts of which nobody may learn more than a few characters. */
function secretsOf(credentials: TestCredentials): [string, ...string[]] {
  if (credentials.mode === "nkeys") return [credentials.seed];
  expect(existsSync(credentials.file)).toBe(true);
  const lines = readFileSync(credentials.file, "utf8").split("\n");
  const secrets = lines.filter((line) => /^[\w.-]{40,}$/.test(line));
  expect(secrets).toHaveLength(2);
  return [secrets[0]!, secrets[1]!];
}

function expectNoSecrets(
  logs: readonly LogLine[],
  credentials: TestCredentials,
  others: readonly string[] = [],
): void {
  const text = JSON.stringify(logs);
  const parts = secretsOf(credentials).flatMap((secret) => [secret.slice(0, 20), secret.slice(-20)]);
  for (const secret of [...parts, ...others]) expect(text).not.toContain(secret);
}
