import { setTimeout as sleep } from "node:timers/promises";
import { expect, onTestFinished, test } from "vitest";
import type { Pull, Push } from "zeromq";
import { type OperatorProcess, until } from "./support/deployment.ts";
import { type Backend, startBackend } from "./support/interactem-backend.ts";
import { type NatsServer, startNatsServer } from "./support/nats-server.ts";
import {
  endOf,
  metric,
  metricReaches,
  range,
  receiveMetas,
  receiveNumbers,
  type SingleOperator,
  sendNumbers,
  singleOperator,
} from "./support/single-operator.ts";

interface Running {
  readonly server: NatsServer;
  readonly backend: Backend;
  readonly single: SingleOperator;
  readonly process: OperatorProcess;
  readonly source: Push;
  readonly sink: Pull;
}

/** A running operator on a NATS server of its own, which has passed its first messages on. */
async function running(storage: "memory" | "file"): Promise<Running> {
  const server = await startNatsServer();
  const backend = await startBackend(server, { storage });
  onTestFinished(async () => {
    await backend.close();
    await server.close();
  });
  const single = singleOperator(server, backend, { factor: 2 });
  const source = await single.bindSource();
  const process = await single.run();
  const sink = await single.connectSink();
  await process.status("running");
  await flows(source, sink, 0);
  return { server, backend, single, process, source, sink };
}

async function flows(source: Push, sink: Pull, from: number): Promise<void> {
  await sendNumbers(source, range(from, 20));
  expect(await receiveNumbers(sink, 20)).toEqual(range(from, 20));
}

/** The value of the parameter changes for later messages, and others are told. */
async function updateWorks({ backend, single, source, sink }: Running, value: number): Promise<void> {
  await backend.updateParameter(single.canonicalId, "factor", "int", value);
  await publishedFactor(backend, single, value);
  await sendNumbers(source, [value]);
  expect(await receiveMetas(sink, 1)).toEqual([{ number: value, factor: value }]);
}

async function publishedFactor(backend: Backend, single: SingleOperator, value: number): Promise<void> {
  await until(`published factor ${value}`, async () => {
    const body = await backend.parameter(single.canonicalId, "factor");
    return body !== null && JSON.parse(body).value === value ? true : null;
  });
}

async function triggerWorks({ backend, single, sink }: Running, factor: number): Promise<void> {
  expect(JSON.parse(await backend.requestTrigger(single.canonicalId, "emit")).status).toBe("ok");
  expect(await receiveMetas(sink, 1)).toEqual([{ trigger: "emit", factor }]);
}

/** Kills the server and has data flow for longer than the operator needs to see it. */
async function cutOff({ server, process, source, sink }: Running): Promise<void> {
  await server.kill();
  await process.logged("Lost the connection to NATS");
  await metricReaches(process, 0, "stemline_nats_connected");
  for (let round = 1; round <= 3; round += 1) {
    await flows(source, sink, 100 * round);
    await sleep(400);
  }
}

/** The operator puts its keys since the server is there again, and not only the server has kept them. */
async function keysArePut({ backend, single }: Running, since: number): Promise<void> {
  const ids = [single.view.operator.id, single.inputId, single.outputId];
  await until("keys to be put again", () => {
    const subjects = backend.recorded.slice(since).map(({ subject }) => subject);
    const put = (bucket: string, id: string) =>
      subjects.some((subject) => subject.startsWith(`$KV.${bucket}.`) && subject.endsWith(id));
    return ids.every((id) => put("stat", id) && put("met", id)) ? true : null;
  });
  expect(await single.keys()).toHaveLength(6);
}

async function endsInGoodOrder({ single, process }: Running): Promise<void> {
  const { code, counts, teardowns } = await endOf(process, "SIGTERM");
  expect(code).toBe(0);
  expect(counts).toMatchObject({ rejected: 0, failed: 0, discarded: 0, unsentAtMost: 0 });
  expect(teardowns).toBe(1);
  expect(await single.keys()).toEqual([]);
}

test("a killed NATS server stops no data; when it is back with its state, everything works again", async () => {
  const all = await running("file");
  const { server, backend, process, source, sink } = all;
  await updateWorks(all, 3);
  await cutOff(all);
  const since = backend.recorded.length;
  await server.start();
  await metricReaches(process, 1, "stemline_nats_connected");
  await keysArePut(all, since);
  await updateWorks(all, 5);
  await triggerWorks(all, 5);
  await flows(source, sink, 900);
  expect(await metric(process, "stemline_connections_lost_total")).toBe(0);
  expect(await metric(process, "stemline_parameter_updates_total", { outcome: "taken" })).toBe(2);
  await endsInGoodOrder(all);
});

test("a NATS server that comes back without its state gets buckets, keys and parameters again", async () => {
  const all = await running("memory");
  const { server, backend, single, process, source, sink } = all;
  await updateWorks(all, 3);
  await cutOff(all);
  server.wipe();
  const since = backend.recorded.length;
  await server.start();
  await metricReaches(process, 1, "stemline_nats_connected");
  // The operator has made the buckets itself: the backend makes nothing before this.
  await until("the operator's keys", async () => {
    const keys = await single.keys().catch(() => []);
    return keys.length === 6 ? true : null;
  });
  await keysArePut(all, since);
  await flows(source, sink, 800);
  await backend.createStreams();
  await publishedFactor(backend, single, 3);
  await updateWorks(all, 5);
  await triggerWorks(all, 5);
  await flows(source, sink, 900);
  expect(await metric(process, "stemline_connections_lost_total")).toBe(0);
  await endsInGoodOrder(all);
});

test("pictures that cannot be shown while NATS is away are left out, and data goes on", async () => {
  const all = await running("file");
  const { server, process, source, sink } = all;
  const shown = "stemline_displays_total";
  const show = async (from: number) => {
    await sendNumbers(source, range(from, 15), { act: "show" });
    expect(await receiveNumbers(sink, 15)).toEqual(range(from, 15));
  };
  await show(0);
  expect(await metric(process, shown, { outcome: "shown" })).toBe(15);
  await cutOff(all);
  await show(15);
  expect(await metric(process, shown, { outcome: "left out" })).toBe(15);
  await server.start();
  await metricReaches(process, 1, "stemline_nats_connected");
  await show(30);
  expect(await metric(process, shown, { outcome: "shown" })).toBe(30);
  expect(await metric(process, "stemline_kernel_failures_total")).toBe(0);
  await endsInGoodOrder(all);
});

test("an operator that is stopped while NATS is away has sent everything and ends in time", async () => {
  const all = await running("memory");
  await cutOff(all);
  const { code, counts, teardowns, tookMs } = await endOf(all.process, "SIGTERM");
  expect(code).toBe(0);
  expect(counts).toMatchObject({ received: 80, sent: 80, discarded: 0, unsentAtMost: 0 });
  expect(teardowns).toBe(1);
  expect(tookMs).toBeLessThan(10_000);
});
