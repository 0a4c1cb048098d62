import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import type { Push } from "zeromq";
import { readNpz } from "../../src/distiller/npz.ts";
import { type OperatorProcess, until } from "./support/deployment.ts";
import { sharedNats } from "./support/shared-nats.ts";
import {
  drainNumbers,
  endOf,
  fixture,
  flood,
  message,
  metric,
  metricReaches,
  operator,
  type ParameterSettings,
  range,
  receiveNumbers,
  type SingleOperator,
  sendNumbers,
  singleOperator,
} from "./support/single-operator.ts";

const { server, backend } = await sharedNats();

interface Running {
  readonly single: SingleOperator;
  readonly process: OperatorProcess;
  readonly source: Push;
}

async function running(
  env: NodeJS.ProcessEnv = {},
  runFile = fixture("scripted"),
  parameters: ParameterSettings = {},
): Promise<Running> {
  const single = singleOperator(server, backend, parameters);
  const [source, process] = await Promise.all([
    single.bindSource({ queueMessages: 4 }),
    single.run(runFile, env),
  ]);
  return { single, process, source };
}

const received = "stemline_messages_received_total";

/** Most that Linux keeps for one TCP connection, on both sides. */
function kernelBufferBytes(): number {
  const most = (name: string) =>
    Number(readFileSync(`/proc/sys/net/ipv4/${name}`, "utf8").trim().split(/\s+/)[2]);
  return most("tcp_rmem") + most("tcp_wmem");
}

/** Resolves when a metric has stopped growing. */
async function settled(process: OperatorProcess, name: string): Promise<number> {
  let last = -1;
  return until(`${name} to stop growing`, async () => {
    await sleep(500);
    const now = await metric(process, name);
    if (now === last && now > 0) return now;
    last = now;
    return null;
  });
}

for (const signal of ["SIGTERM", "SIGINT"] as const) {
  test(`${signal} under load ends in good order, and every message that came is at the sink`, async () => {
    const { single, process, source } = await running();
    const sink = await single.connectSink({ queueMessages: 2 });
    const load = flood(source, (number) => message({ number, ms: 5 }, new Uint8Array(30_000)));
    const numbers = await receiveNumbers(sink, 50);
    const ending = endOf(process, signal);
    numbers.push(...(await drainNumbers(sink, ending, 10)));
    const { code, counts, teardowns } = await ending;
    await load.stop();
    expect(code).toBe(0);
    expect(counts).toMatchObject({
      received: numbers.length,
      sent: numbers.length,
      rejected: 0,
      failed: 0,
      discarded: 0,
      unsentAtMost: 0,
    });
    expect(numbers).toEqual(range(0, numbers.length));
    expect(teardowns).toBe(1);
    expect(await single.keys()).toEqual([]);
  });
}

test("without a reader downstream the operator ends soon, and counts what it gives up", async () => {
  const { single, process, source } = await running({ STEMLINE_SHUTDOWN_SECONDS: "60" });
  const load = flood(source, (number) => message({ number }));
  const count = await settled(process, received);
  expect(count).toBe(4);
  const { code, counts, teardowns, tookMs } = await endOf(process, "SIGTERM");
  await load.stop();
  expect(code).toBe(1);
  expect(counts).toMatchObject({ level: "warn", sent: 0, unsentAtMost: 0 });
  // Those that wait in the process's own queue are given up, too.
  expect(counts!.received).toBeGreaterThan(count);
  expect(counts!.discarded).toBe(counts!.received);
  expect(teardowns).toBe(1);
  expect(tookMs).toBeLessThan(15_000);
  expect(await single.keys()).toEqual([]);
});

test("with a reader that has stopped reading the operator gives up in time, and counts what it has", async () => {
  const { single, process, source } = await running({ STEMLINE_SHUTDOWN_SECONDS: "2" });
  const sink = await single.connectSink({ queueMessages: 1 });
  const load = flood(source, (number) => message({ number }, new Uint8Array(200_000)));
  await settled(process, received);
  const { code, counts, tookMs } = await endOf(process, "SIGTERM");
  await load.stop();
  const numbers = await drainNumbers(sink, process.exit);
  expect(code).toBe(1);
  expect(counts).toMatchObject({ level: "warn", failed: 0, rejected: 0 });
  const { received: came, sent, discarded, unsentAtMost } = counts as unknown as Record<string, number>;
  expect(came).toBe(sent! + discarded!);
  expect(numbers).toEqual(range(0, numbers.length));
  expect(numbers.length).toBeLessThanOrEqual(sent!);
  expect(numbers.length).toBeGreaterThanOrEqual(sent! - unsentAtMost!);
  expect(tookMs).toBeLessThan(7500);
});

test("a run that hangs sees its signal, and the operator ends in the time for a shutdown", async () => {
  const { single, process, source } = await running({ STEMLINE_SHUTDOWN_SECONDS: "2" });
  const sink = await single.connectSink();
  await sendNumbers(source, [0]);
  await sendNumbers(source, [1], { act: "hang" });
  await sendNumbers(source, [2, 3]);
  await process.logged("hangs");
  await metricReaches(process, 4, received);
  const { code, counts, teardowns, tookMs } = await endOf(process, "SIGTERM");
  expect(code).toBe(1);
  expect(process.logs.some(({ msg }) => msg === "sees the signal")).toBe(true);
  expect(counts).toMatchObject({ received: 4, sent: 1, discarded: 3, unsentAtMost: 0 });
  expect(await drainNumbers(sink, process.exit)).toEqual([0]);
  expect(teardowns).toBe(1);
  expect(tookMs).toBeLessThan(7500);
  expect(await single.keys()).toEqual([]);
});

test("a second signal ends the operator at once, with counts", async () => {
  const { single, process, source } = await running({ STEMLINE_SHUTDOWN_SECONDS: "60" });
  const sink = await single.connectSink();
  await sendNumbers(source, [0]);
  await sendNumbers(source, [1], { act: "hang" });
  await process.logged("hangs");
  expect(await receiveNumbers(sink, 1)).toEqual([0]);
  process.child.kill("SIGTERM");
  await process.logged("stopping");
  const { code, counts, tookMs } = await endOf(process, "SIGINT");
  expect(code).toBe(130);
  expect(counts).toMatchObject({ received: 2, sent: 1, discarded: 1 });
  expect(tookMs).toBeLessThan(15_000);
});

test("messages that have arrived and were not yet taken in are counted when they are given up", async () => {
  const env = { STEMLINE_SHUTDOWN_SECONDS: "1", STEMLINE_INFLIGHT: "1" };
  const { single, process, source } = await running(env);
  await single.connectSink();
  await sendNumbers(source, [0], { act: "hang" });
  await sendNumbers(source, range(1, 5));
  await process.logged("hangs");
  // With the sender's queue empty they are all there.
  await sleep(500);
  const { code, counts } = await endOf(process, "SIGTERM");
  expect(code).toBe(1);
  expect(counts).toMatchObject({ received: 6, sent: 0, discarded: 6, unsentAtMost: 0 });
});

test("a second signal cuts short the sending of what is queued, with an upper bound of what that costs", async () => {
  const { single, process, source } = await running({ STEMLINE_SHUTDOWN_SECONDS: "60" });
  const sink = await single.connectSink({ queueMessages: 1 });
  const count = 4;
  for (const number of range(0, count)) await source.send(message({ number }, new Uint8Array(16_000_000)));
  await metricReaches(process, count, "stemline_messages_sent_total");
  process.child.kill("SIGTERM");
  await process.logged("stopping");
  await sleep(1000);
  const { code, counts, tookMs } = await endOf(process, "SIGTERM");
  expect(code).toBe(130);
  expect(counts).toMatchObject({ received: count, sent: count, discarded: 0 });
  expect(counts!.unsentAtMost).toBeGreaterThan(0);
  expect(counts!.unsentAtMost).toBeLessThanOrEqual(count);
  expect(tookMs).toBeLessThan(10_000);
  sink.close();
});

test("a second signal does not wait for a teardown that hangs", async () => {
  const env = { STEMLINE_SHUTDOWN_SECONDS: "60" };
  const { single, process } = await running(env, fixture("scripted"), { teardown: "hangs" });
  process.child.kill("SIGTERM");
  await process.logged("teardown");
  const { code, tookMs } = await endOf(process, "SIGTERM");
  expect(code).toBe(130);
  expect(tookMs).toBeLessThan(10_000);
  expect(await single.keys()).toEqual([]);
});

test("a signal ends an operator whose run.ts is never loaded", async () => {
  const process = await singleOperator(server, backend).start(fixture("loads-for-ever"));
  await until("the run.ts to be loaded", () => (process.stderr().includes("loading") ? true : null));
  const { code, tookMs } = await endOf(process, "SIGTERM");
  expect(code).toBe(0);
  expect(tookMs).toBeLessThan(10_000);
  expect(process.logs.at(-1)!.msg).toBe("stopped before run.ts was loaded");
});

test("an operator whose upstream is only gone from NATS stops receiving all the same", async () => {
  const { single, process, source } = await running();
  const sink = await single.connectSink();
  await backend.remove("stat", `port.${single.upstreamId}`);
  await process.logged("upstream port is gone");
  const load = flood(source, (number) => message({ number }));
  const numbers = await receiveNumbers(sink, 100);
  const ending = endOf(process, "SIGTERM");
  numbers.push(...(await drainNumbers(sink, ending)));
  await load.stop();
  const { code, counts } = await ending;
  expect(code).toBe(0);
  const all = numbers.length;
  expect(counts).toMatchObject({ received: all, sent: all, discarded: 0, unsentAtMost: 0 });
  expect(numbers).toEqual(range(0, all));
});

test("a flush that fails is a failure: what the operator had left is lost", async () => {
  const { process } = await running({}, fixture("scripted"), { flush: "throws" });
  const { code, counts, fatal, teardowns } = await endOf(process, "SIGTERM");
  expect(code).toBe(1);
  expect(fatal!.msg).toContain("cannot flush");
  expect(counts).toMatchObject({ failed: 1 });
  expect(teardowns).toBe(1);
});

test("an error that nobody caught during the shutdown is written and makes it a failure", async () => {
  const { process } = await running({}, fixture("scripted"), { teardown: "rejects-unseen" });
  const { code, fatal } = await endOf(process, "SIGTERM");
  expect(code).toBe(1);
  expect(fatal).toMatchObject({ code: "STEMLINE_UNCAUGHT" });
  expect(fatal!.msg).toContain("teardown fails outside");
});

test("center-of-mass-reduce emits what it knows of a scan that is under way", async () => {
  const settings = { replace_nans: false, emit_every: 0 };
  const { process, single, source } = await running({}, operator("center-of-mass-reduce"), settings);
  const sink = await single.connectSink();
  const folder = fileURLToPath(
    new URL("../golden/batches/missing-positions/partial/5ee01d40ff/", import.meta.url),
  );
  const partial = ["part0.json", "part1.json", "part2.npz"].map((name) => readFileSync(folder + name));
  await source.send(partial);
  await metricReaches(process, 1, received);
  const { code, counts } = await endOf(process, "SIGTERM");
  expect(code).toBe(0);
  expect(counts).toMatchObject({ received: 1, sent: 1, discarded: 0 });
  sink.receiveTimeout = 10_000;
  const [, , archive] = await sink.receive();
  expect(readNpz(archive!).com).toEqual(readNpz(partial[2]!).com);
});

test("nothing is lost when source, operator and sink are stopped in this order", async () => {
  const single = singleOperator(server, backend);
  const { deployment } = single;
  const env = { STEMLINE_SHUTDOWN_SECONDS: "30", STEMLINE_METRICS_PORT: "0" };
  const [source, middle, sink] = await Promise.all([
    deployment.start(deployment.view("Source"), fixture("numbers"), env),
    deployment.start(single.view, fixture("scripted"), env),
    deployment.start(deployment.view("Sink"), fixture("counter"), env),
  ]);
  await until("messages at the sink", async () => ((await metric(sink, received)) > 300 ? true : null));
  const ends = [];
  for (const process of [source, middle, sink]) ends.push(await endOf(process, "SIGTERM"));
  expect(ends.map(({ code }) => code)).toEqual([0, 0, 0]);
  const { sent } = ends[0]!.counts as unknown as { sent: number };
  expect(sent).toBeGreaterThan(300);
  expect(ends[1]!.counts).toMatchObject({ received: sent, sent });
  expect(ends[2]!.counts).toMatchObject({ received: sent });
  expect(await sink.logged("counted")).toMatchObject({ messages: sent, inOrder: sent });
});

test("a slow sink slows the source down, and memory stays bounded", async () => {
  const { single, process, source } = await running();
  const megabyte = 2 ** 20;
  const sink = await single.connectSink({ queueMessages: 2 });
  const load = flood(source, (number) => message({ number }, new Uint8Array(megabyte)));
  const before = await receiveNumbers(sink, 100);
  const resident = await metric(process, "process_resident_memory_bytes");
  await settled(process, received);
  const stuck = load.sent;
  await sleep(500);
  expect(load.sent).toBe(stuck);
  // The queues of the source, the operator and the sink, and the calls in flight; and what the kernel holds for the two
  // connections. Unbounded ones would have taken thousands by now.
  const queues = 4 + (4 + 2) + 4 + (4 + 1) + (2 + 2);
  expect(stuck - before.length).toBeLessThanOrEqual(queues + Math.ceil((2 * kernelBufferBytes()) / megabyte));
  const after = await receiveNumbers(sink, 200);
  expect([...before, ...after]).toEqual(range(0, 300));
  expect(load.sent).toBeGreaterThan(stuck);
  await settled(process, received);
  const grown = (await metric(process, "process_resident_memory_bytes")) - resident;
  expect(grown).toBeLessThan(100 * megabyte);
  const ending = endOf(process, "SIGTERM");
  await drainNumbers(sink, ending);
  expect((await ending).code).toBe(0);
  await load.stop();
});
