import { spawn } from "node:child_process";
import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { expect, onTestFinished, test } from "vitest";
import { until } from "./support/deployment.ts";
import { startBackend } from "./support/interactem-backend.ts";
import { startNatsServer } from "./support/nats-server.ts";
import { sharedNats } from "./support/shared-nats.ts";
import {
  endOf,
  fixture,
  outputOf,
  receiveMetas,
  receiveNumbers,
  sendNumbers,
  singleOperator,
} from "./support/single-operator.ts";

const { server, backend } = await sharedNats();

/** Nobody listens there. */
const deadNats = "nats://127.0.0.1:9";

/** A stack as JSON text has it, or as it is printed. */
const stack = /\\n\s+at |^\s+at .*:\d+:\d+/m;

test("an operator waits for a NATS server that is not there yet", async () => {
  const late = await startNatsServer();
  const lateBackend = await startBackend(late);
  onTestFinished(async () => {
    await lateBackend.close();
    await late.close();
  });
  const single = singleOperator(late, lateBackend);
  await late.kill();
  const process = single.deployment.startUnpublished(single.view, fixture("scripted"));
  expect(await process.logged("NATS cannot be reached")).toMatchObject({ level: "warn" });
  await late.start();
  await lateBackend.createStreams();
  await single.deployment.publish(single.view);
  const source = await single.bindSource();
  const sink = await single.connectSink();
  await process.status("running");
  await sendNumbers(source, [1, 2]);
  expect(await receiveNumbers(sink, 2)).toEqual([1, 2]);
  expect(await endOf(process, "SIGTERM")).toMatchObject({ code: 0, teardowns: 1 });
});

test("an operator whose NATS never comes ends with a clear line after the time to wait", async () => {
  const env = { NATS_SERVER_URL: deadNats, STEMLINE_NATS_WAIT_SECONDS: "1" };
  const process = await singleOperator(server, backend).start(fixture("scripted"), env);
  const { code, fatal } = await endOf(process);
  expect(code).toBe(1);
  expect(fatal).toMatchObject({ code: "STEMLINE_NATS_UNREACHABLE" });
  expect(fatal!.msg).toContain(deadNats);
  expect(outputOf(process)).not.toMatch(stack);
});

test("an operator without a pipeline ends with a clear line after the time to wait", async () => {
  const { deployment, view } = singleOperator(server, backend);
  const env = { STEMLINE_NATS_WAIT_SECONDS: "1" };
  const process = deployment.startUnpublished(view, fixture("scripted"), env);
  const { code, fatal } = await endOf(process);
  expect(code).toBe(1);
  expect(fatal).toMatchObject({ code: "STEMLINE_PIPELINE_MISSING" });
  expect(fatal!.msg).toContain(view.operator.id);
  expect(outputOf(process)).not.toMatch(stack);
});

test("NATS that is lost while an operator waits for its pipeline is waited for", async () => {
  const shaky = await startNatsServer();
  const shakyBackend = await startBackend(shaky, { storage: "file" });
  onTestFinished(async () => {
    await shakyBackend.close();
    await shaky.close();
  });
  const single = singleOperator(shaky, shakyBackend);
  const process = single.deployment.startUnpublished(single.view, fixture("scripted"));
  await process.logged("Connected to NATS");
  await shaky.kill();
  await process.logged("Lost the connection to NATS");
  await shaky.start();
  await single.deployment.publish(single.view);
  await single.bindSource();
  await process.status("running");
  expect(await endOf(process, "SIGTERM")).toMatchObject({ code: 0, teardowns: 1 });
});

test("a pipeline that is no JSON cannot be used", async () => {
  const { deployment, view } = singleOperator(server, backend);
  await backend.publishPipeline(view.operator.id, "{nonsense");
  const { code, fatal } = await endOf(deployment.startUnpublished(view, fixture("scripted")));
  expect(code).toBe(2);
  expect(fatal).toMatchObject({ code: "STEMLINE_PIPELINE_JSON" });
});

test("a parameter update counts while an operator waits for its upstream, too", async () => {
  const single = singleOperator(server, backend, { factor: 2 });
  const process = await single.start();
  await process.logged("waiting for the addresses of upstream ports");
  await until("the consumer of updates", () => {
    const isOurs = (subject: string) =>
      subject.includes("CREATE.par.") && subject.includes(single.canonicalId);
    return backend.recorded.some(({ subject }) => isOurs(subject)) || null;
  });
  // The consumer begins with what comes from now on.
  await sleep(200);
  await backend.updateParameter(single.canonicalId, "factor", "int", 9);
  await process.logged("parameter was changed");
  const source = await single.bindSource();
  const sink = await single.connectSink();
  await sendNumbers(source, [1]);
  expect(await receiveMetas(sink, 1)).toEqual([{ number: 1, factor: 9 }]);
  expect((await endOf(process, "SIGTERM")).code).toBe(0);
});

test("a pipeline without the operator cannot be used", async () => {
  const { deployment, view } = singleOperator(server, backend);
  const other = singleOperator(server, backend);
  await backend.publishPipeline(view.operator.id, other.deployment.pipeline);
  const process = deployment.startUnpublished(view, fixture("scripted"));
  const { code, fatal } = await endOf(process);
  expect(code).toBe(2);
  expect(fatal).toMatchObject({ code: "STEMLINE_PIPELINE_OPERATOR" });
  expect(fatal!.msg).toContain(view.operator.id);
  expect(outputOf(process)).not.toMatch(stack);
});

test("an operator whose upstream never comes names the port, and removes its keys", async () => {
  const single = singleOperator(server, backend);
  const process = await single.start(fixture("scripted"), { STEMLINE_UPSTREAM_WAIT_SECONDS: "1" });
  await until("the output port's key", async () => {
    return (await single.keys()).includes(`port.${single.outputId}`) || null;
  });
  const { code, fatal, teardowns } = await endOf(process);
  expect(code).toBe(1);
  expect(fatal).toMatchObject({ code: "STEMLINE_UPSTREAM_MISSING" });
  expect(fatal!.msg).toContain(single.upstreamId);
  expect(outputOf(process)).not.toMatch(stack);
  expect(await single.keys()).toEqual([]);
  expect(teardowns).toBe(1);
});

test("a setup that fails ends the operator, without teardown", async () => {
  const single = singleOperator(server, backend, { setup: "throws" });
  const { code, fatal, teardowns } = await endOf(await single.start());
  expect(code).toBe(1);
  expect(fatal!.msg).toContain("no camera");
  expect(teardowns).toBe(0);
  expect(await single.keys()).toEqual([]);
});

test("a parameter that does not fit cannot be used", async () => {
  const { code, fatal } = await endOf(await singleOperator(server, backend, { setup: "dances" }).start());
  expect(code).toBe(2);
  expect(fatal).toMatchObject({ code: "STEMLINE_PARAMETER_VALUE" });
});

for (const name of ["broken", "not-an-operator", "not-there"]) {
  test(`the run.ts "${name}" cannot be used`, async () => {
    const process = await singleOperator(server, backend).start(fixture(name));
    const { code, fatal } = await endOf(process);
    expect(code).toBe(2);
    expect(fatal!.msg).toContain(fixture(name));
    expect(outputOf(process)).not.toMatch(stack);
  });
}

test("an environment that is not usable is refused with all problems, and without secrets", async () => {
  const cli = fileURLToPath(new URL("../../dist/cli/main.js", import.meta.url));
  const seed = "SUAM-secret";
  const child = spawn(process.execPath, [cli, "operator", "start", fixture("scripted")], {
    env: {
      NATS_CREDS_FILE: `SU${"A".repeat(56)}`,
      INTERACTEM_AGENT_ID: "center",
      NATS_SERVER_URL: "http://user:hidden@somewhere",
      NATS_SECURITY_MODE: "nkeys",
      NKEYS_SEED_STR: seed,
      NKEYS_SEED_FILE: "/nowhere",
      ZMQ_BIND_INTERFACE: "127.0.0.1",
      STEMLINE_INFLIGHT: "none",
    },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8").on("data", (text: string) => {
      output += text;
    });
  }
  const [code] = await once(child, "close");
  expect(code).toBe(2);
  for (const name of [
    "INTERACTEM_AGENT_ID",
    "NATS_SERVER_URL",
    "NKEYS_SEED_STR",
    "ZMQ_BIND_HOSTNAME",
    "STEMLINE_INFLIGHT",
  ]) {
    expect(output).toContain(name);
  }
  expect(output).not.toMatch(/secret|hidden/);
  expect(output).not.toMatch(stack);
});

test("a signal ends an operator that waits for NATS", async () => {
  const process = await singleOperator(server, backend).start(fixture("scripted"), {
    NATS_SERVER_URL: deadNats,
  });
  await process.logged("NATS cannot be reached");
  const { code, tookMs } = await endOf(process, "SIGTERM");
  expect(code).toBe(0);
  expect(tookMs).toBeLessThan(15_000);
});

test("a signal ends an operator that waits for its pipeline", async () => {
  const { deployment, view } = singleOperator(server, backend);
  const process = deployment.startUnpublished(view, fixture("scripted"));
  await process.logged("Connected to NATS");
  const { code, tookMs } = await endOf(process, "SIGINT");
  expect(code).toBe(0);
  expect(tookMs).toBeLessThan(15_000);
});

test("a signal ends an operator that is in setup, without teardown", async () => {
  const single = singleOperator(server, backend, { setup: "hangs" });
  const process = await single.start();
  await process.logged("setup");
  const { code, tookMs, teardowns } = await endOf(process, "SIGTERM");
  expect(code).toBe(0);
  expect(tookMs).toBeLessThan(15_000);
  expect(teardowns).toBe(0);
  expect(await single.keys()).toEqual([]);
});

test("a signal ends an operator that waits for its upstream", async () => {
  const single = singleOperator(server, backend);
  const process = await single.start();
  await process.logged("waiting for the addresses of upstream ports");
  const { code, tookMs, teardowns } = await endOf(process, "SIGTERM");
  expect(code).toBe(0);
  expect(tookMs).toBeLessThan(15_000);
  expect(teardowns).toBe(1);
  expect(await single.keys()).toEqual([]);
});
