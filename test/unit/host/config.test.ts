import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { UsageError } from "../../../src/errors.ts";
import { type HostConfig, readFastLane, readHostConfig } from "../../../src/host/config.ts";

let folder: string;
let minimal: NodeJS.ProcessEnv;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "stemline-config-"));
  writeFileSync(join(folder, "user.creds"), "");
  writeFileSync(join(folder, "user.nk"), "  SUASECRET \r\nSUAOTHER\n");
  writeFileSync(join(folder, "empty.nk"), "\nSUASECRET\n");
  minimal = {
    INTERACTEM_AGENT_ID: "5BD6EF2A91C04D7E8000000000000001",
    NATS_CREDS_FILE: join(folder, "user.creds"),
    ZMQ_BIND_HOSTNAME: "nid001234",
    ZMQ_BIND_INTERFACE: "hsn0",
  };
});

afterAll(() => rmSync(folder, { recursive: true }));

const read = (env: NodeJS.ProcessEnv) => readHostConfig({ ...minimal, ...env });

/** Lines of the error after its first, without indent. */
function problems(env: NodeJS.ProcessEnv): string[] {
  try {
    readHostConfig(env);
  } catch (error) {
    if (!(error instanceof UsageError && error.code === "STEMLINE_HOST_CONFIG")) throw error;
    const [, ...lines] = error.message.split("\n  ");
    return lines;
  }
  throw new Error("expected a UsageError, got none");
}

const problemsWith = (env: NodeJS.ProcessEnv) => problems({ ...minimal, ...env });

test("what is not set has a default", () => {
  const expected: HostConfig = {
    operatorId: "5bd6ef2a-91c0-4d7e-8000-000000000001",
    natsUrl: "nats://localhost:4222",
    credentials: { mode: "creds", file: join(folder, "user.creds") },
    storage: "memory",
    zmqHostname: "nid001234",
    zmqInterface: "hsn0",
    logLevel: "info",
    inflight: 4,
    queueMessages: 4,
    maxMessageBytes: 1_073_741_824,
    natsWaitSeconds: 300,
    upstreamWaitSeconds: 300,
    shutdownSeconds: 8,
    metricsPort: null,
    metricsHost: "127.0.0.1",
    mountFolder: "/mnt",
    fastLane: true,
    healthFolder: null,
  };
  expect(readHostConfig(minimal)).toEqual(expected);
});

test("the fast lane is on unless it is switched off, also for a run that has no other configuration", () => {
  expect(read({ STEMLINE_FAST_LANE: "on" }).fastLane).toBe(true);
  expect(read({ STEMLINE_FAST_LANE: "off" }).fastLane).toBe(false);
  expect(problemsWith({ STEMLINE_FAST_LANE: "no" })).toEqual([
    'STEMLINE_FAST_LANE: expected one of "on", "off", got "no"',
  ]);
  expect(readFastLane({})).toBe(true);
  expect(readFastLane({ STEMLINE_FAST_LANE: "off" })).toBe(false);
  expect(() => readFastLane({ STEMLINE_FAST_LANE: "0" })).toThrow(UsageError);
});

test("an empty variable counts as one that is not set", () => {
  const names = [
    "NATS_SERVER_URL",
    "NATS_SECURITY_MODE",
    "NATS_STREAM_STORAGE_TYPE",
    "NKEYS_SEED_STR",
    "LOG_LEVEL",
    "STEMLINE_INFLIGHT",
    "STEMLINE_METRICS_PORT",
    "STEMLINE_METRICS_HOST",
  ];
  const empty = Object.fromEntries(names.map((name) => [name, ""]));
  expect(read(empty)).toEqual(readHostConfig(minimal));
  expect(problemsWith({ ZMQ_BIND_HOSTNAME: "" })).toEqual([
    "ZMQ_BIND_HOSTNAME: expected a host name or IP address, got nothing",
  ]);
});

test.each<[string, string, keyof HostConfig, unknown]>([
  [
    "INTERACTEM_AGENT_ID",
    "urn:uuid:5bd6ef2a-91c0-4d7e-8000-00000000000A",
    "operatorId",
    "5bd6ef2a-91c0-4d7e-8000-00000000000a",
  ],
  ["NATS_SERVER_URL", "nats://broker", "natsUrl", "nats://broker"],
  ["NATS_SERVER_URL", "tls://broker:1", "natsUrl", "tls://broker:1"],
  ["NATS_SERVER_URL", "ws://[::1]:8080/nats", "natsUrl", "ws://[::1]:8080/nats"],
  ["NATS_SERVER_URL", "wss://user:pa%40ss@broker", "natsUrl", "wss://user:pa%40ss@broker"],
  ["NATS_STREAM_STORAGE_TYPE", "file", "storage", "file"],
  ["LOG_LEVEL", "TRACE", "logLevel", "trace"],
  ["LOG_LEVEL", "DEBUG", "logLevel", "debug"],
  ["LOG_LEVEL", "info", "logLevel", "info"],
  ["LOG_LEVEL", "WARNING", "logLevel", "warn"],
  ["LOG_LEVEL", "warn", "logLevel", "warn"],
  ["LOG_LEVEL", "Error", "logLevel", "error"],
  ["LOG_LEVEL", "CRITICAL", "logLevel", "fatal"],
  ["LOG_LEVEL", "FATAL", "logLevel", "fatal"],
  ["STEMLINE_INFLIGHT", "1", "inflight", 1],
  ["STEMLINE_INFLIGHT", "256", "inflight", 256],
  ["STEMLINE_QUEUE", "1000", "queueMessages", 1000],
  ["STEMLINE_MAX_MESSAGE_BYTES", "1", "maxMessageBytes", 1],
  ["STEMLINE_MAX_MESSAGE_BYTES", "9007199254740991", "maxMessageBytes", Number.MAX_SAFE_INTEGER],
  ["STEMLINE_NATS_WAIT_SECONDS", "0", "natsWaitSeconds", 0],
  ["STEMLINE_UPSTREAM_WAIT_SECONDS", "2147483", "upstreamWaitSeconds", 2147483],
  ["STEMLINE_SHUTDOWN_SECONDS", "0.5", "shutdownSeconds", 0.5],
  ["STEMLINE_METRICS_PORT", "0", "metricsPort", 0],
  ["STEMLINE_METRICS_PORT", "65535", "metricsPort", 65535],
  ["STEMLINE_METRICS_HOST", "0.0.0.0", "metricsHost", "0.0.0.0"],
])("%s=%s sets %s", (name, text, member, value) => {
  expect(read({ [name]: text })).toEqual({ ...readHostConfig(minimal), [member]: value });
});

test.each([
  ["INTERACTEM_AGENT_ID", "operator-1", 'expected a UUID, got "operator-1"'],
  ["ZMQ_BIND_INTERFACE", " ", 'expected an IP address or network interface, got " "'],
  ["NATS_SECURITY_MODE", "NKEYS", 'expected one of "nkeys", "creds", got "NKEYS"'],
  ["NATS_STREAM_STORAGE_TYPE", "disk", 'expected one of "memory", "file", got "disk"'],
  [
    "LOG_LEVEL",
    "toString",
    'expected one of "TRACE", "DEBUG", "INFO", "WARN", "WARNING", "ERROR", "CRITICAL", "FATAL", got "toString"',
  ],
  ["STEMLINE_INFLIGHT", "0", 'expected an integer from 1 to 256, got "0"'],
  ["STEMLINE_INFLIGHT", "257", 'expected an integer from 1 to 256, got "257"'],
  ["STEMLINE_INFLIGHT", "4.0", 'expected an integer from 1 to 256, got "4.0"'],
  ["STEMLINE_INFLIGHT", "0x10", 'expected an integer from 1 to 256, got "0x10"'],
  ["STEMLINE_QUEUE", "1001", 'expected an integer from 1 to 1000, got "1001"'],
  ["STEMLINE_MAX_MESSAGE_BYTES", "1e9", 'expected an integer from 1 to 9007199254740991, got "1e9"'],
  [
    "STEMLINE_MAX_MESSAGE_BYTES",
    "9007199254740992",
    'expected an integer from 1 to 9007199254740991, got "9007199254740992"',
  ],
  ["STEMLINE_NATS_WAIT_SECONDS", "-1", 'expected seconds from 0 to 2147483, got "-1"'],
  ["STEMLINE_UPSTREAM_WAIT_SECONDS", "Infinity", 'expected seconds from 0 to 2147483, got "Infinity"'],
  ["STEMLINE_SHUTDOWN_SECONDS", "2147484", 'expected seconds from 0 to 2147483, got "2147484"'],
  ["STEMLINE_METRICS_PORT", "65536", 'expected an integer from 0 to 65535, got "65536"'],
  ["STEMLINE_METRICS_HOST", "a b", 'expected a host name or IP address, got "a b"'],
])("%s=%s is refused", (name, text, message) => {
  expect(problemsWith({ [name]: text })).toEqual([`${name}: ${message}`]);
});

describe("NATS_SERVER_URL", () => {
  const expected = "NATS_SERVER_URL: expected a URL such as nats://host:4222 with nats, tls, ws or wss, got";

  test.each([
    ["localhost:4222", '"localhost:4222"'],
    ["http://broker:4222", '"http://broker:4222"'],
    ["nats://", '"nats://"'],
    ["nats://broker:99999", '"nats://broker:99999"'],
    ["http://operator:hunter2@broker", '"http://...@broker"'],
    ["operator:hunter2@broker", '"...@broker"'],
    ["nats://operator:hun@ter2\n@bro ker", '"nats://...@bro ker"'],
    ["nats://operator:hunter2", '"nats://operator:..."'],
    ["operator:hunter2", '"operator:..."'],
  ])("%s is refused without showing user info", (url, shown) => {
    expect(problemsWith({ NATS_SERVER_URL: url })).toEqual([`${expected} ${shown}`]);
  });
});

describe("credentials", () => {
  const nkeys = { NATS_SECURITY_MODE: "nkeys" };
  const seed = { mode: "nkeys", seed: "SUASECRET" };

  test("a seed is taken from its variable or from the first line of its file", () => {
    expect(read({ ...nkeys, NKEYS_SEED_STR: "SUASECRET" }).credentials).toEqual(seed);
    const NKEYS_SEED_FILE = join(folder, "user.nk");
    expect(read({ ...nkeys, NKEYS_SEED_FILE, NATS_CREDS_FILE: undefined }).credentials).toEqual(seed);
  });

  test("~ is the home folder", () => {
    expect(read({ ...nkeys, HOME: folder, NKEYS_SEED_FILE: "~/user.nk" }).credentials).toEqual(seed);
    expect(read({ HOME: folder, NATS_CREDS_FILE: "~/user.creds" }).credentials).toEqual({
      mode: "creds",
      file: join(folder, "user.creds"),
    });
  });

  test("a relative path becomes absolute", () => {
    const path = relative(process.cwd(), join(folder, "user.creds"));
    expect(read({ NATS_CREDS_FILE: path }).credentials).toEqual({
      mode: "creds",
      file: join(folder, "user.creds"),
    });
  });

  test("neither or both of the seed's variables are refused", () => {
    expect(problemsWith(nkeys)).toEqual([
      "NKEYS_SEED_STR: expected a seed here or its file in NKEYS_SEED_FILE, got neither",
    ]);
    const both = { NKEYS_SEED_STR: "SUASECRET", NKEYS_SEED_FILE: join(folder, "user.nk") };
    expect(problemsWith({ ...nkeys, ...both })).toEqual([
      "NKEYS_SEED_STR: expected either this or NKEYS_SEED_FILE, got both",
    ]);
  });

  test.each(["missing.nk", "empty.nk", "."])("a seed file %s is refused", (name) => {
    const path = join(folder, name);
    expect(problemsWith({ ...nkeys, NKEYS_SEED_FILE: path })).toEqual([
      `NKEYS_SEED_FILE: expected a file with a seed in its first line, got ${quoted(path)}`,
    ]);
  });

  test.each(["missing.creds", ".", "user.creds/x"])("a credentials file %s is refused", (name) => {
    const path = `${folder}/${name}`;
    expect(problemsWith({ NATS_CREDS_FILE: path })).toEqual([
      `NATS_CREDS_FILE: expected a file that exists, got ${quoted(path)}`,
    ]);
  });

  test("are required", () => {
    expect(problemsWith({ NATS_CREDS_FILE: "" })).toEqual([
      "NATS_CREDS_FILE: expected a file that exists, got nothing",
    ]);
  });
});

/** As error messages quote it. */
function quoted(path: string): string {
  return JSON.stringify(path);
}

test("every problem is listed at once", () => {
  expect(
    problems({ STEMLINE_QUEUE: "many", LOG_LEVEL: "LOUD", NATS_SERVER_URL: "broker" }).map(variableOf),
  ).toEqual([
    "INTERACTEM_AGENT_ID",
    "NATS_SERVER_URL",
    "NATS_CREDS_FILE",
    "ZMQ_BIND_HOSTNAME",
    "ZMQ_BIND_INTERFACE",
    "LOG_LEVEL",
    "STEMLINE_QUEUE",
  ]);
});

const variableOf = (line: string) => line.split(":", 1)[0];
