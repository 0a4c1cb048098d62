import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { connect, createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { encodeAccount, encodeOperator, encodeUser, fmtCreds } from "@nats-io/jwt";
import { createAccount, createOperator, createUser, type KeyPair } from "@nats-io/nkeys";

/** What a client shows to get in; the form that `connectControlPlane` takes. */
export type TestCredentials =
  | { readonly mode: "nkeys"; readonly seed: string }
  | { readonly mode: "creds"; readonly file: string };

export interface NatsServerOptions {
  /** Who may come in: one user nkey in the configuration (the default), or users with JWTs of one account. */
  readonly auth?: "nkeys" | "creds";
  /** Both listeners ask for TLS; the certificate, for 127.0.0.1 and localhost, is its own CA. */
  readonly tls?: boolean;
  /** Largest message in bytes; default the server's, 1 MiB. */
  readonly maxPayload?: number;
}

/** A nats-server with JetStream of its own on ports that stay the same when it is started again. */
export interface NatsServer {
  readonly port: number;
  /** Of the process, or null without one. */
  readonly pid: number | null;
  /** `nats://`, or `tls://` with TLS. */
  readonly url: string;
  /** `ws://`, or `wss://` with TLS. */
  readonly websocketUrl: string;
  readonly credentials: TestCredentials;
  /** Well-formed credentials that this server refuses. */
  readonly wrongCredentials: TestCredentials;
  /** Give it to a process as NODE_EXTRA_CA_CERTS; null without TLS. */
  readonly caFile: string | null;
  /** Names of the clients that are connected. */
  clientNames(): Promise<string[]>;
  /** The variables with which interactEM starts an operator that is to use this server. */
  readonly environment: Readonly<Record<string, string>>;
  /**
   * Starts the process; resolves when clients can connect. What was stored in files is there again. A server that is
   * started with `refuseAll` knows none of the credentials.
   */
  start(options?: { readonly refuseAll?: boolean }): Promise<void>;
  /** Ends the process with SIGTERM, as an operator of the server does. */
  stop(): Promise<void>;
  /** Ends the process with SIGKILL. */
  kill(): Promise<void>;
  /** Stops and continues the process: a server that accepts bytes and says nothing. */
  pause(): void;
  resume(): void;
  /** Forgets everything stored in files; only while the process is not running. */
  wipe(): void;
  /** Kills the process and removes its folder. */
  close(): Promise<void>;
}

/** Prepares a server, without a process so far. */
export async function prepareNatsServer(options: NatsServerOptions = {}): Promise<NatsServer> {
  const folder = mkdtempSync(join(tmpdir(), "stemline-nats-"));
  const store = join(folder, "store");
  const [port, websocketPort, monitorPort] = await freePorts();
  const tls = options.tls ? makeCertificate(folder) : null;
  const access = options.auth === "creds" ? await jwtAccess(folder) : nkeyAccess();
  const configuration = (authorization: string): string =>
    [
      `listen: "127.0.0.1:${port}"`,
      `http: "127.0.0.1:${monitorPort}"`,
      `jetstream { store_dir: ${JSON.stringify(store)} }`,
      `websocket { listen: "127.0.0.1:${websocketPort}", ${tls === null ? "no_tls: true" : tls.block} }`,
      tls === null ? "" : tls.block,
      options.maxPayload === undefined ? "" : `max_payload: ${options.maxPayload}`,
      authorization,
    ].join("\n");
  const config = join(folder, "nats-server.conf");

  let child: ChildProcess | null = null;
  let output = "";

  async function start({ refuseAll = false } = {}): Promise<void> {
    writeFileSync(config, configuration(refuseAll ? onlyUser(createUser()) : access.config));
    mkdirSync(store, { recursive: true });
    const started = spawn("nats-server", ["-c", config], { stdio: ["ignore", "ignore", "pipe"] });
    child = started;
    output = "";
    started.stderr.setEncoding("utf8").on("data", (text: string) => {
      output = (output + text).slice(-20_000);
    });
    for (const listening of [port, websocketPort]) {
      while (!(await accepts(listening))) {
        if (started.exitCode !== null) throw new Error(`nats-server ended at once:\n${output}`);
        await sleep(20);
      }
    }
  }

  async function end(signal: NodeJS.Signals): Promise<void> {
    const running = child;
    child = null;
    if (running === null || running.exitCode !== null || running.signalCode !== null) return;
    const ended = new Promise((resolve) => running.once("exit", resolve));
    running.kill(signal);
    await ended;
  }

  const url = `${tls === null ? "nats" : "tls"}://127.0.0.1:${port}`;
  return {
    port,
    get pid() {
      return child?.pid ?? null;
    },
    url,
    websocketUrl: `${tls === null ? "ws" : "wss"}://127.0.0.1:${websocketPort}`,
    credentials: access.credentials,
    wrongCredentials: access.wrongCredentials,
    caFile: tls?.certificate ?? null,
    environment: {
      NATS_SERVER_URL: url,
      ...credentialVariables(access.credentials),
      ...(tls === null ? {} : { NODE_EXTRA_CA_CERTS: tls.certificate }),
    },
    async clientNames() {
      const response = await fetch(`http://127.0.0.1:${monitorPort}/connz`);
      const { connections } = (await response.json()) as { connections: { name?: string }[] };
      return connections.map(({ name }) => name ?? "");
    },
    start,
    stop: () => end("SIGTERM"),
    kill: () => end("SIGKILL"),
    pause: () => void child?.kill("SIGSTOP"),
    resume: () => void child?.kill("SIGCONT"),
    wipe: () => rmSync(store, { recursive: true, force: true }),
    async close() {
      await end("SIGKILL");
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** A running server; `close` it in the end. */
export async function startNatsServer(options: NatsServerOptions = {}): Promise<NatsServer> {
  const server = await prepareNatsServer(options);
  await server.start();
  return server;
}

function credentialVariables(credentials: TestCredentials): Record<string, string> {
  return credentials.mode === "nkeys"
    ? { NATS_SECURITY_MODE: "nkeys", NKEYS_SEED_STR: credentials.seed }
    : { NATS_SECURITY_MODE: "creds", NATS_CREDS_FILE: credentials.file };
}

interface Access {
  readonly config: string;
  readonly credentials: TestCredentials;
  readonly wrongCredentials: TestCredentials;
}

const text = new TextDecoder();

const onlyUser = (user: KeyPair): string => `authorization { users: [ { nkey: ${user.getPublicKey()} } ] }`;

function nkeyAccess(): Access {
  const user = createUser();
  return {
    config: onlyUser(user),
    credentials: { mode: "nkeys", seed: text.decode(user.getSeed()) },
    wrongCredentials: { mode: "nkeys", seed: text.decode(createUser().getSeed()) },
  };
}

async function jwtAccess(folder: string): Promise<Access> {
  const operator = createOperator();
  const system = createAccount();
  const account = createAccount();
  // What an account JWT leaves out is 0, which means none.
  const limits = {
    ...{ conn: -1, leaf: -1, subs: -1, data: -1, payload: -1, imports: -1, exports: -1, wildcards: true },
    ...{ mem_storage: -1, disk_storage: -1, streams: -1, consumer: -1 },
  };
  const claims = {
    operator: await encodeOperator("test", operator, { system_account: system.getPublicKey() }),
    system: await encodeAccount("SYS", system, {}, { signer: operator }),
    account: await encodeAccount("interactem", account, { limits }, { signer: operator }),
  };
  const credentials = async (name: string, issuer: KeyPair): Promise<TestCredentials> => {
    const user = createUser();
    const file = join(folder, `${name}.creds`);
    writeFileSync(file, fmtCreds(await encodeUser(name, user, issuer), user));
    return { mode: "creds", file };
  };
  return {
    config: [
      `operator: ${claims.operator}`,
      `system_account: ${system.getPublicKey()}`,
      "resolver: MEMORY",
      `resolver_preload: { ${system.getPublicKey()}: ${claims.system}, ${account.getPublicKey()}: ${claims.account} }`,
    ].join("\n"),
    credentials: await credentials("operator", account),
    wrongCredentials: await credentials("stranger", createAccount()),
  };
}

function makeCertificate(folder: string): { readonly certificate: string; readonly block: string } {
  const certificate = join(folder, "certificate.pem");
  const key = join(folder, "key.pem");
  execFileSync(
    "openssl",
    [
      ...["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"],
      ...["-subj", "/CN=stemline test", "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"],
      ...["-days", "2", "-keyout", key, "-out", certificate],
    ],
    { stdio: "ignore" },
  );
  const files = `cert_file: ${JSON.stringify(certificate)}, key_file: ${JSON.stringify(key)}`;
  return { certificate, block: `tls { ${files} }` };
}

/** Three ports of 127.0.0.1 that nobody listens on. */
async function freePorts(): Promise<[number, number, number]> {
  const listeners = await Promise.all([listenAnywhere(), listenAnywhere(), listenAnywhere()]);
  const ports = listeners.map((listener) => (listener.address() as { port: number }).port);
  await Promise.all(listeners.map((listener) => new Promise((resolve) => listener.close(resolve))));
  return [ports[0]!, ports[1]!, ports[2]!];
}

function listenAnywhere(): Promise<Server> {
  return new Promise((resolve, reject) => {
    const listener = createServer().once("error", reject);
    listener.listen(0, "127.0.0.1", () => resolve(listener));
  });
}

function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1");
    socket.once("error", () => resolve(false));
    socket.once("connect", () => {
      socket.destroy();
      resolve(true);
    });
  });
}
