import { accessSync, constants, readFileSync, statSync } from "node:fs";
import { homedir } from "node:os";
import { join, resolve } from "node:path";
import { type Problem, UsageError } from "../errors.ts";
import { expectedGot, formatProblems, oneOfList } from "../spec/problems.ts";
import { readUuid } from "../wire/uuid.ts";

/** How the operator shows NATS who it is. */
export type NatsCredentials =
  | { readonly mode: "nkeys"; readonly seed: string }
  | { readonly mode: "creds"; readonly file: string };

export type LogLevel = "trace" | "debug" | "info" | "warn" | "error" | "fatal";

/** Everything that the process of one operator is told through its environment. */
export interface HostConfig {
  /** Runtime id of the operator. */
  readonly operatorId: string;
  /** May hold user info: not for logs. */
  readonly natsUrl: string;
  readonly credentials: NatsCredentials;
  /** Where buckets are kept that have to be made. */
  readonly storage: "memory" | "file";
  /** Name that others connect to. */
  readonly zmqHostname: string;
  /** IP address or network interface that output ports bind. */
  readonly zmqInterface: string;
  readonly logLevel: LogLevel;
  /** Messages that may be between receiving and sending at a time. */
  readonly inflight: number;
  /** Messages that may wait in each connection's queue on our side. */
  readonly queueMessages: number;
  /** Largest part of a message that is received. */
  readonly maxMessageBytes: number;
  /** How long to wait for NATS at the start. */
  readonly natsWaitSeconds: number;
  /** How long to wait for the addresses of all upstream ports at the start. */
  readonly upstreamWaitSeconds: number;
  /** How long a shutdown may take. */
  readonly shutdownSeconds: number;
  /** Port of the metrics server: 0 for any free one, null for no server. */
  readonly metricsPort: number | null;
  readonly metricsHost: string;
  /** Folder in which the agent mounts what mount parameters name. */
  readonly mountFolder: string;
  /** Whether formats are used that only some readers accept, once all readers say that they do. */
  readonly fastLane: boolean;
  /** Folder of the file that a container's health check looks at; null for none. */
  readonly healthFolder: string | null;
}

type Environment = Readonly<Record<string, string | undefined>>;
type Reading<T> = { readonly value: T } | { readonly problem: Problem };
type Reader<T> = (env: Environment) => Reading<T>;

const natsSchemes = ["nats:", "tls:", "ws:", "wss:"];

const logLevels: Readonly<Record<string, LogLevel>> = {
  TRACE: "trace",
  DEBUG: "debug",
  INFO: "info",
  WARN: "warn",
  WARNING: "warn",
  ERROR: "error",
  CRITICAL: "fatal",
  FATAL: "fatal",
};

/** A timer of Node ends at once if it is set to more. */
const longestTimerSeconds = 2_147_483;

const readers: { readonly [Member in keyof HostConfig]: Reader<HostConfig[Member]> } = {
  operatorId: variable("INTERACTEM_AGENT_ID", "a UUID", readUuid),
  natsUrl: readNatsUrl,
  credentials: readCredentials,
  storage: choice("NATS_STREAM_STORAGE_TYPE", ["memory", "file"], "memory"),
  zmqHostname: variable("ZMQ_BIND_HOSTNAME", "a host name or IP address", readWord),
  zmqInterface: variable("ZMQ_BIND_INTERFACE", "an IP address or network interface", readWord),
  logLevel: variable("LOG_LEVEL", oneOfList(Object.keys(logLevels)), readLogLevel, "info"),
  inflight: integer("STEMLINE_INFLIGHT", 1, 256, 4),
  queueMessages: integer("STEMLINE_QUEUE", 1, 1000, 4),
  maxMessageBytes: integer("STEMLINE_MAX_MESSAGE_BYTES", 1, Number.MAX_SAFE_INTEGER, 2 ** 30),
  natsWaitSeconds: seconds("STEMLINE_NATS_WAIT_SECONDS", 300),
  upstreamWaitSeconds: seconds("STEMLINE_UPSTREAM_WAIT_SECONDS", 300),
  // Podman kills a container 10 s after it asked it to stop.
  shutdownSeconds: seconds("STEMLINE_SHUTDOWN_SECONDS", 8),
  metricsPort: integer("STEMLINE_METRICS_PORT", 0, 65535, null),
  metricsHost: variable("STEMLINE_METRICS_HOST", "a host name or IP address", readWord, "127.0.0.1"),
  fastLane: variable("STEMLINE_FAST_LANE", oneOfList(["on", "off"]), readSwitch, true),
  mountFolder: variable("STEMLINE_MOUNT_DIR", "a folder", (text) => text, "/mnt"),
  healthFolder: variable<string | null>("STEMLINE_HEALTH_DIR", "a folder", (text) => text, null),
};

/**
 * Reads the configuration of an operator's process. An empty variable counts as one that is not set. Reads the seed file
 * if there is one, and looks whether the credentials file is there.
 *
 * @throws UsageError `STEMLINE_HOST_CONFIG` with every problem, one in each line; secrets are left out.
 */
export function readHostConfig(env: NodeJS.ProcessEnv): HostConfig {
  return readMembers(env, readers);
}

/** The part of the configuration that says how NATS is reached. Throws as `readHostConfig` does. */
export function readNatsConfig(
  env: NodeJS.ProcessEnv,
): Pick<HostConfig, "natsUrl" | "credentials" | "storage"> {
  const { natsUrl, credentials, storage } = readers;
  return readMembers(env, { natsUrl, credentials, storage });
}

/** The part of the configuration that a run without a network heeds as well. Throws as `readHostConfig` does. */
export function readFastLane(env: NodeJS.ProcessEnv): boolean {
  return readMembers(env, { fastLane: readers.fastLane }).fastLane;
}

function readMembers<Member extends keyof HostConfig>(
  env: Environment,
  wanted: { readonly [Name in Member]: Reader<HostConfig[Name]> },
): Pick<HostConfig, Member> {
  const problems: Problem[] = [];
  const members = Object.entries<Reader<unknown>>(wanted).map(([member, read]) => {
    const reading = read(env);
    if ("problem" in reading) problems.push(reading.problem);
    return [member, "value" in reading ? reading.value : undefined];
  });
  if (problems.length > 0) {
    throw new UsageError(
      "STEMLINE_HOST_CONFIG",
      `The environment variables of the operator are not valid:${formatProblems(problems)}`,
    );
  }
  // The type of `wanted` says what Object.entries forgets.
  return Object.fromEntries(members) as unknown as Pick<HostConfig, Member>;
}

/** Reads one variable; without a fallback it must be set. */
function variable<T>(
  name: string,
  expected: string,
  read: (text: string) => T | undefined,
  fallback?: T,
): Reader<T> {
  return (env) => {
    const text = setting(env, name);
    const value = text === undefined ? fallback : read(text);
    return value === undefined ? problem(name, expectedGot(expected, text)) : { value };
  };
}

function choice<T extends string>(name: string, choices: readonly T[], fallback: T): Reader<T> {
  return variable(name, oneOfList(choices), (text) => choices.find((value) => value === text), fallback);
}

function integer<Fallback extends number | null>(
  name: string,
  min: number,
  max: number,
  fallback: Fallback,
): Reader<number | Fallback> {
  const read = (text: string) => (/^\d+$/.test(text) ? inRange(Number(text), min, max) : undefined);
  return variable<number | Fallback>(name, `an integer from ${min} to ${max}`, read, fallback);
}

function seconds(name: string, fallback: number): Reader<number> {
  const read = (text: string) =>
    /^\d+(\.\d+)?$/.test(text) ? inRange(Number(text), 0, longestTimerSeconds) : undefined;
  return variable(name, `seconds from 0 to ${longestTimerSeconds}`, read, fallback);
}

function inRange(value: number, min: number, max: number): number | undefined {
  return value >= min && value <= max ? value : undefined;
}

function readWord(text: string): string | undefined {
  return /^\S+$/.test(text) ? text : undefined;
}

function readSwitch(text: string): boolean | undefined {
  return text === "on" ? true : text === "off" ? false : undefined;
}

function readLogLevel(text: string): LogLevel | undefined {
  const name = text.toUpperCase();
  return Object.hasOwn(logLevels, name) ? logLevels[name] : undefined;
}

function readNatsUrl(env: Environment): Reading<string> {
  const name = "NATS_SERVER_URL";
  const text = setting(env, name) ?? "nats://localhost:4222";
  const url = URL.canParse(text) ? new URL(text) : null;
  if (url?.hostname && natsSchemes.includes(url.protocol)) return { value: text };
  const expected = "a URL such as nats://host:4222 with nats, tls, ws or wss";
  // Everything up to the last @ may be user and password, and so may what should be a port.
  const shown = text.replace(/^(\w+:\/\/)?.*@/s, "$1...@").replace(/:(?!\/\/|\d+(\/|$)).*/s, ":...");
  return problem(name, expectedGot(expected, shown));
}

function readCredentials(env: Environment): Reading<NatsCredentials> {
  const mode = choice("NATS_SECURITY_MODE", ["nkeys", "creds"], "creds")(env);
  if ("problem" in mode) return mode;
  return mode.value === "nkeys" ? readSeed(env) : readCredsFile(env);
}

function readCredsFile(env: Environment): Reading<NatsCredentials> {
  const name = "NATS_CREDS_FILE";
  const path = setting(env, name);
  const file = path === undefined ? "" : resolve(expandHome(env, path));
  if (!isFile(file)) return problem(name, expectedGot("a file that exists", path));
  return isReadable(file) ? { value: { mode: "creds", file } } : unreadable(name, file);
}

function readSeed(env: Environment): Reading<NatsCredentials> {
  const seed = setting(env, "NKEYS_SEED_STR");
  const path = setting(env, "NKEYS_SEED_FILE");
  if (seed !== undefined && path !== undefined) {
    return problem("NKEYS_SEED_STR", "expected either this or NKEYS_SEED_FILE, got both");
  }
  if (seed !== undefined) return { value: { mode: "nkeys", seed } };
  if (path === undefined) {
    return problem("NKEYS_SEED_STR", "expected a seed here or its file in NKEYS_SEED_FILE, got neither");
  }
  const file = expandHome(env, path);
  if (isFile(file) && !isReadable(file)) return unreadable("NKEYS_SEED_FILE", file);
  const line = firstLine(file);
  return line
    ? { value: { mode: "nkeys", seed: line } }
    : problem("NKEYS_SEED_FILE", expectedGot("a file with a seed in its first line", path));
}

function isFile(path: string): boolean {
  try {
    return statSync(path).isFile();
  } catch {
    return false;
  }
}

function isReadable(file: string): boolean {
  try {
    accessSync(file, constants.R_OK);
    return true;
  } catch {
    return false;
  }
}

/** In a container, whose users are others than those of the machine, this says why a mounted file cannot be read. */
function unreadable(name: string, file: string): { readonly problem: Problem } {
  const { mode, uid, gid } = statSync(file);
  const rights = `mode ${(mode & 0o777).toString(8).padStart(4, "0")}, user ${uid}, group ${gid}`;
  const reader = `user ${process.getuid?.()} of group ${process.getgid?.()}`;
  return problem(name, `expected a file that ${reader} may read, got ${file} with ${rights}`);
}

/** Undefined if the file cannot be read. */
function firstLine(file: string): string | undefined {
  try {
    return readFileSync(file, "utf8").split("\n", 1)[0]!.trim();
  } catch {
    return undefined;
  }
}

function expandHome(env: Environment, path: string): string {
  return /^~(?=\/|$)/.test(path) ? join(setting(env, "HOME") ?? homedir(), path.slice(1)) : path;
}

function setting(env: Environment, name: string): string | undefined {
  return env[name] || undefined;
}

function problem(name: string, message: string): { readonly problem: Problem } {
  return { problem: { path: name, message: withoutSecrets(message) } };
}

/** A seed may have been given to the wrong variable. */
function withoutSecrets(text: string): string {
  return text.replaceAll(/\bS[A-Z][A-Z2-7]{30,}/g, "S...");
}
