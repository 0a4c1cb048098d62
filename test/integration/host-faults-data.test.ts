import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import type { Pull, Push } from "zeromq";
import { readNpz } from "../../src/distiller/npz.ts";
import { type OperatorProcess, until } from "./support/deployment.ts";
import { sharedNats } from "./support/shared-nats.ts";
import {
  drainNumbers,
  endOf,
  errorsBecome,
  fixture,
  flood,
  message,
  metric,
  metricReaches,
  operator,
  range,
  receiveMetas,
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
  readonly sink: Pull;
}

/** The scripted operator between a played source and a played sink. */
async function running(parameters = {}, env: NodeJS.ProcessEnv = {}): Promise<Running> {
  const single = singleOperator(server, backend, parameters);
  const [source, process] = await Promise.all([single.bindSource(), single.run(fixture("scripted"), env)]);
  return { single, process, source, sink: await single.connectSink() };
}

/** Closes a played source when all that it has sent is on its way. */
async function closeWhenSent(source: Push): Promise<void> {
  source.linger = 30_000;
  const ended = new Promise((resolve) => source.events.on("end", resolve));
  source.close();
  await ended;
}

const lost = "stemline_connections_lost_total";
const rejected = "stemline_messages_rejected_total";
const failures = "stemline_kernel_failures_total";
const updates = "stemline_parameter_updates_total";
const triggers = "stemline_triggers_total";

describe("upstream and downstream", () => {
  test("an upstream that comes back on another port is followed, and nothing that had come is lost", async () => {
    const { single, process, source, sink } = await running();
    await sendNumbers(source, range(0, 8), { ms: 100 });
    await closeWhenSent(source);
    const next = await single.bindSource();
    await sendNumbers(next, range(8, 8));
    const numbers = await receiveNumbers(sink, 16);
    expect(numbers.filter((number) => number < 8)).toEqual(range(0, 8));
    expect(numbers.filter((number) => number >= 8)).toEqual(range(8, 8));
    expect((await endOf(process, "SIGTERM")).code).toBe(0);
  });

  test("an upstream that comes back on the same port is connected again", async () => {
    const { single, process, source, sink } = await running();
    await sendNumbers(source, range(0, 5));
    expect(await receiveNumbers(sink, 5)).toEqual(range(0, 5));
    const tcpPort = Number(source.lastEndpoint!.split(":").at(-1));
    await closeWhenSent(source);
    await metricReaches(process, 1, lost, { port: single.inputId });
    expect(await process.logged("connection ended")).toMatchObject({ level: "warn", port: single.inputId });
    const next = await single.bindSource({ tcpPort });
    await sendNumbers(next, range(5, 5));
    expect(await receiveNumbers(sink, 5)).toEqual(range(5, 5));
    expect((await endOf(process, "SIGTERM")).code).toBe(0);
  });

  test("a value that comes late, with the address from before, does not keep the newer one from being followed", async () => {
    const { single, process, source, sink } = await running();
    const key = `port.${single.upstreamId}`;
    const old = (await backend.read("stat", key))!;
    await sendNumbers(source, range(0, 5));
    expect(await receiveNumbers(sink, 5)).toEqual(range(0, 5));
    await closeWhenSent(source);
    const next = await single.bindSource();
    const current = (await backend.read("stat", key))!;
    await sendNumbers(next, range(5, 5));
    expect(await receiveNumbers(sink, 5)).toEqual(range(5, 5));
    // Nobody is at the old address any more.
    await backend.put("stat", key, old);
    await sleep(300);
    const sending = sendNumbers(next, range(10, 5));
    // The owner of the port puts its value every second.
    await backend.put("stat", key, current);
    expect(await receiveNumbers(sink, 5)).toEqual(range(10, 5));
    await sending;
    expect((await endOf(process, "SIGTERM")).counts).toMatchObject({ received: 15, sent: 15 });
  });

  test("data flows on while the key of the upstream port is deleted, set again, repeated or not valid", async () => {
    const { single, process, source, sink } = await running();
    const key = `port.${single.upstreamId}`;
    const value = (await backend.read("stat", key))!;
    let sent = 0;
    const flows = async () => {
      await sendNumbers(source, range(sent, 5));
      expect(await receiveNumbers(sink, 5)).toEqual(range(sent, 5));
      sent += 5;
    };
    await flows();
    await backend.remove("stat", key);
    await process.logged("upstream port is gone");
    await flows();
    for (let repeat = 0; repeat < 3; repeat += 1) await backend.put("stat", key, value);
    await flows();
    await backend.put("stat", key, '{"id": "neither JSON nor');
    expect(await process.logged("Port status: expected JSON")).toMatchObject({
      level: "error",
      code: "STEMLINE_WIRE_STATUS",
      upstream: single.upstreamId,
    });
    await flows();
    await backend.put("stat", key, value.replace(/port=\d+/, "port=many"));
    await until("the refusal of the address", () =>
      process.logs.some(({ code }) => code === "STEMLINE_WIRE_ADDRESS") ? true : null,
    );
    await flows();
    expect(await metric(process, lost)).toBe(0);
    expect((await endOf(process, "SIGTERM")).counts).toMatchObject({ received: sent, sent });
  });

  test("an operator waits for a downstream that is away and goes on without loss when it was idle", async () => {
    const { single, process, source, sink } = await running();
    await sendNumbers(source, range(0, 5));
    expect(await receiveNumbers(sink, 5)).toEqual(range(0, 5));
    sink.close();
    await metricReaches(process, 1, lost, { port: single.outputId });
    expect(await process.logged("connection ended")).toMatchObject({ level: "warn", port: single.outputId });
    await sendNumbers(source, range(5, 30));
    await sleep(300);
    const next = await single.connectSink();
    expect(await receiveNumbers(next, 30)).toEqual(range(5, 30));
    expect((await endOf(process, "SIGTERM")).counts).toMatchObject({ received: 35, sent: 35 });
  });

  test("a downstream that is cut off under load loses what it had, and the rest goes to the next one", async () => {
    const { single, process, source, sink } = await running();
    const load = flood(source, (number) => message({ number }, new Uint8Array(20_000)));
    const before = await receiveNumbers(sink, 200);
    sink.close();
    await metricReaches(process, 1, lost, { port: single.outputId });
    const next = await single.connectSink();
    const after = await receiveNumbers(next, 200);
    await load.stop();
    const stopping = endOf(process, "SIGTERM");
    after.push(...(await drainNumbers(next, stopping)));
    const { code, counts } = await stopping;
    expect(code).toBe(0);
    expect(before).toEqual(range(0, 200));
    expect(after).toEqual(range(after[0]!, after.length));
    expect(after[0]).toBeGreaterThanOrEqual(200);
    // What the process sent and nobody has is what was on the way to the sink that was closed.
    expect(counts!.received).toBe(after.at(-1)! + 1);
    expect(counts!.sent).toBe(counts!.received);
  });
});

describe("messages that cannot be used", () => {
  const header = (text: string) => [text, new Uint8Array(2)];
  const unusable: readonly [string, string, (string | Uint8Array)[]][] = [
    ["a header that is not JSON", "header", header('{"subject": "bytes"')],
    ["a header without a subject", "header", header('{"meta": {}, "tracking": null}')],
    ["a message in shared memory", "subject", header('{"subject": "shm", "meta": {}, "tracking": null}')],
    ["one part", "parts", ['{"subject": "bytes"}']],
    ["four parts", "parts", ["{}", "1", "2", "3"]],
  ];

  test("are refused, counted by reason and shown until the next output", async () => {
    const { single, process, source, sink } = await running();
    const expected: Record<string, number> = { header: 0, subject: 0, parts: 0 };
    for (const [index, [, reason, parts]] of unusable.entries()) {
      await source.send(parts);
      expected[reason]! += 1;
      await metricReaches(process, expected[reason]!, rejected, { reason });
      await errorsBecome(single, [/expected/]);
      await sendNumbers(source, [index]);
      expect(await receiveNumbers(sink, 1)).toEqual([index]);
      await errorsBecome(single, []);
    }
    expect(await metric(process, rejected)).toBe(unusable.length);
    expect(await metric(process, failures)).toBe(0);
    const { code, counts } = await endOf(process, "SIGTERM");
    expect(code).toBe(0);
    expect(counts).toMatchObject({ received: 10, sent: 5, rejected: 5, failed: 0 });
  });

  test("center-of-mass-partial refuses any number of invalid batches and computes the next good one", async () => {
    const single = singleOperator(server, backend);
    const source = await single.bindSource();
    const process = await single.run(operator("center-of-mass-partial"));
    const sink = await single.connectSink();
    for (let batch = 0; batch < 12; batch += 1) await source.send(goldenBatch("bad-data-too-short"));
    await metricReaches(process, 12, rejected);
    await errorsBecome(single, [/./]);
    await source.send(goldenBatch("missing-positions"));
    sink.receiveTimeout = 30_000;
    const [, , archive] = await sink.receive();
    expect(readNpz(archive!).com).toEqual(
      readNpz(golden("missing-positions/partial/5ee01d40ff/part2.npz")).com,
    );
    await errorsBecome(single, []);
    expect(await metric(process, failures)).toBe(0);
    const { code, counts } = await endOf(process, "SIGTERM");
    expect(code).toBe(0);
    expect(counts).toMatchObject({ received: 13, sent: 1, rejected: 12 });
  });

  test("a part over the limit is refused, and smaller ones come again", async () => {
    const { single, process, source, sink } = await running({}, { STEMLINE_MAX_MESSAGE_BYTES: "100000" });
    await sendNumbers(source, [1]);
    expect(await receiveNumbers(sink, 1)).toEqual([1]);
    await source.send(message({ number: 2 }, new Uint8Array(100_001)));
    await metricReaches(process, 1, lost, { port: single.inputId });
    const after = flood(source, (number) => message({ number: 3 + number }, new Uint8Array(100_000)));
    const numbers = await receiveNumbers(sink, 10);
    await after.stop();
    expect(numbers).not.toContain(2);
    expect(numbers).toEqual(range(numbers[0]!, 10));
    expect((await endOf(process, "SIGTERM")).code).toBe(0);
  });
});

describe("parameter updates and triggers", () => {
  const publications = (canonicalId: string) =>
    backend.recorded.filter(({ subject }) => subject.startsWith(`par.op.${canonicalId}.`)).length;
  const terminations = () =>
    backend.recorded.filter(({ subject, body }) => subject.startsWith("$JS.ACK.par.") && body === "+TERM")
      .length;

  test("updates that do not fit are terminated and change nothing", async () => {
    const { single, process, source, sink } = await running({ factor: 2, folder: "/somewhere" });
    const { canonicalId } = single;
    await until("the values at the start", () => backend.parameter(canonicalId, "factor"));
    await process.status("running");
    const before = { publications: publications(canonicalId), terminations: terminations() };
    const refused: [string, string, unknown][] = [
      ["factor", "int", "many"],
      ["factor", "int", 2.5],
      ["unknown", "int", 3],
      ["folder", "mount", "/elsewhere"],
      ["factor", "integer", 3],
    ];
    // One after the other, since the stream keeps only the last update of a parameter.
    for (const [index, [name, type, value]] of refused.entries()) {
      await backend.updateParameter(canonicalId, name, type, value);
      await metricReaches(process, index + 1, updates, { outcome: "refused" });
    }
    backend.connection.publish(`par.op.upd.${canonicalId}.factor`, "{");
    await metricReaches(process, 6, updates, { outcome: "refused" });
    await until("terminations", () => (terminations() === before.terminations + 6 ? true : null));
    expect(publications(canonicalId)).toBe(before.publications);
    expect(await metric(process, updates, { outcome: "taken" })).toBe(0);
    await sendNumbers(source, [1]);
    expect(await receiveMetas(sink, 1)).toEqual([{ number: 1, factor: 2 }]);
    expect(await single.errors()).toEqual([]);
    expect((await endOf(process, "SIGTERM")).code).toBe(0);
  });

  test("an update that fits is acknowledged and counts for later messages; text is taken for a number", async () => {
    const { single, process, source, sink } = await running({ factor: 2 });
    const { canonicalId } = single;
    const published = (value: number) =>
      until(`factor ${value}`, async () => {
        const body = JSON.parse((await backend.parameter(canonicalId, "factor")) ?? "{}");
        return body.value === value ? body : null;
      });
    expect(await published(2)).toEqual({
      canonical_operator_id: canonicalId,
      name: "factor",
      type: "int",
      value: 2,
    });
    await sendNumbers(source, [1]);
    expect(await receiveMetas(sink, 1)).toEqual([{ number: 1, factor: 2 }]);
    await process.status("running");
    for (const [value, taken] of [
      [5, 5],
      ["120", 120],
    ] as const) {
      await backend.updateParameter(canonicalId, "factor", "int", value);
      await published(taken);
      await sendNumbers(source, [taken]);
      expect(await receiveMetas(sink, 1)).toEqual([{ number: taken, factor: taken }]);
    }
    expect(await metric(process, updates, { outcome: "taken" })).toBe(2);
    expect((await endOf(process, "SIGTERM")).code).toBe(0);
  });

  test("triggers that are unknown or malformed are answered, counted and not run", async () => {
    const { single, process, sink } = await running();
    const { canonicalId } = single;
    const ask = async (name: string, body?: string) =>
      JSON.parse(await backend.requestTrigger(canonicalId, name, body)) as {
        status: string;
        message: string;
      };
    const unknown = await ask("nope");
    expect(unknown.status).toBe("error");
    expect(unknown.message).toMatch(/^Trigger 'nope' not found .*: emit$/);
    for (const body of ["emit", "{}", '{"trigger": 1}', ""]) {
      expect(await ask("emit", body)).toEqual({ status: "error", message: "Invalid trigger request" });
    }
    expect(await metric(process, triggers, { outcome: "refused" })).toBe(5);
    expect(await ask("emit")).toEqual({ status: "ok", message: "Trigger accepted" });
    expect(await receiveMetas(sink, 1)).toEqual([{ trigger: "emit", factor: 1 }]);
    expect(await metric(process, triggers, { outcome: "accepted" })).toBe(1);
    expect((await endOf(process, "SIGTERM")).counts).toMatchObject({ received: 0, sent: 1 });
  });
});

describe("a run that fails", () => {
  for (const [act, error] of [
    ["throw", /^number 2 is refused$/],
    ["reject", /^number 2 is rejected$/],
  ] as const) {
    test(`by "${act}" loses its message, and its error is shown until the next output`, async () => {
      const { single, process, source, sink } = await running();
      await sendNumbers(source, [1]);
      await sendNumbers(source, [2], { act });
      expect(await receiveNumbers(sink, 1)).toEqual([1]);
      await errorsBecome(single, [error]);
      await sendNumbers(source, [3]);
      expect(await receiveNumbers(sink, 1)).toEqual([3]);
      await errorsBecome(single, []);
      expect(await metric(process, failures)).toBe(1);
      const { code, counts } = await endOf(process, "SIGTERM");
      expect(code).toBe(0);
      expect(counts).toMatchObject({ received: 3, sent: 2, failed: 1, discarded: 0 });
    });
  }

  test("half way has sent what it had made", async () => {
    const { single, process, source, sink } = await running();
    await sendNumbers(source, [1], { act: "half" });
    expect(await receiveNumbers(sink, 1)).toEqual([1]);
    await errorsBecome(single, [/^number 1 ends half way$/]);
    await sendNumbers(source, [2]);
    expect(await receiveNumbers(sink, 1)).toEqual([2]);
    await errorsBecome(single, []);
    expect((await endOf(process, "SIGTERM")).counts).toMatchObject({ received: 2, sent: 2, failed: 1 });
  });

  test("nine times in a row goes on, and counts anew after a success", async () => {
    const { process, source, sink } = await running();
    for (let round = 0; round < 2; round += 1) {
      await sendNumbers(source, range(0, 9), { act: "throw" });
      await sendNumbers(source, [9]);
      expect(await receiveNumbers(sink, 1)).toEqual([9]);
    }
    const { code, counts } = await endOf(process, "SIGTERM");
    expect(code).toBe(0);
    expect(counts).toMatchObject({ received: 20, sent: 2, failed: 18 });
  });

  test("ten times in a row ends the operator, which shows the error before and removes its keys", async () => {
    const { single, process, source, sink } = await running();
    await sendNumbers(source, [0]);
    expect(await receiveNumbers(sink, 1)).toEqual([0]);
    await sendNumbers(source, range(1, 10), { act: "throw" });
    const { code, counts, fatal, teardowns } = await endOf(process);
    expect(code).toBe(1);
    expect(fatal).toMatchObject({ code: "STEMLINE_RUN_FAILED" });
    expect(fatal!.msg).toContain("number 10 is refused");
    expect(counts).toMatchObject({ received: 11, sent: 1, failed: 10, discarded: 0 });
    expect(teardowns).toBe(1);
    expect(await single.keys()).toEqual([]);
    const last = backend.recorded.findLast(
      ({ subject, body }) => subject === `$KV.stat.op.${process.id}` && body !== "",
    );
    expect(JSON.parse(last!.body)).toMatchObject({
      status: "shutting_down",
      error_messages: [{ message: "number 1 is refused" }],
    });
  });

  test("with an error that has no text is a failure like others", async () => {
    const { process, source, sink } = await running();
    await sendNumbers(source, [1, 2], { act: "throw-odd" });
    await sendNumbers(source, [3]);
    expect(await receiveNumbers(sink, 1)).toEqual([3]);
    expect((await endOf(process, "SIGTERM")).counts).toMatchObject({ received: 3, sent: 1, failed: 2 });
  });

  for (const act of ["throw-later", "throw-text-later", "reject-unseen", "abort-unseen"]) {
    test(`outside of run by "${act}" ends the operator in good order`, async () => {
      const { single, process, source, sink } = await running();
      await sendNumbers(source, [1], { act });
      expect(await receiveNumbers(sink, 1)).toEqual([1]);
      const { code, fatal, counts, teardowns } = await endOf(process);
      expect(code).toBe(1);
      expect(fatal).toMatchObject({ code: "STEMLINE_UNCAUGHT" });
      expect(fatal!.msg).toContain("number 1 fails outside of run");
      expect(counts).toMatchObject({ received: 1, sent: 1 });
      expect(teardowns).toBe(1);
      expect(await single.keys()).toEqual([]);
    });
  }
});

const batches = fileURLToPath(new URL("../golden/batches/", import.meta.url));
const golden = (path: string) => readFileSync(batches + path);
const goldenBatch = (name: string) =>
  ["part0.json", "part1.msgpack", "part2.bin"].map((part) => golden(`${name}/${part}`));
