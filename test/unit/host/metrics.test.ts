import { createServer } from "node:net";
import { expect, test } from "vitest";
import { HostMetrics, serveMetrics } from "../../../src/host/metrics.ts";
import type { AccelerationReport } from "../../../src/native/backends.ts";
import { accelerationOf, acceleratorFigures } from "./acceleration-report.ts";

/** Lines of the text format without comments, of one metric. */
async function lines(metrics: HostMetrics, name: string): Promise<string[]> {
  const text = await metrics.registry.metrics();
  return text.split("\n").filter((line) => line.startsWith(`stemline_${name}`));
}

test("shows the counts of every port as they are when somebody asks", async () => {
  const metrics = new HostMetrics();
  const left = metrics.port("received", "left");
  metrics.port("received", "right");
  const out = metrics.port("sent", "out");
  Object.assign(left, { messages: 3, bytes: 500 });
  out.messages = 2;
  const counts = async () => [
    await lines(metrics, "messages_received_total"),
    await lines(metrics, "bytes_received_total"),
    await lines(metrics, "messages_sent_total"),
  ];
  expect(await counts()).toEqual([
    ['stemline_messages_received_total{port="left"} 3', 'stemline_messages_received_total{port="right"} 0'],
    ['stemline_bytes_received_total{port="left"} 500', 'stemline_bytes_received_total{port="right"} 0'],
    ['stemline_messages_sent_total{port="out"} 2'],
  ]);
  left.messages += 1;
  // Asking does not count anything twice.
  expect((await counts())[0]).toContain('stemline_messages_received_total{port="left"} 4');
});

test("counts by reason and outcome, and sorts the time of calls into a histogram", async () => {
  const metrics = new HostMetrics();
  metrics.rejected.inc({ reason: "header" });
  metrics.rejected.inc({ reason: "STEMLINE_WIRE_BATCH" }, 2);
  metrics.triggers.inc({ outcome: "accepted" });
  metrics.setBackend("scalar");
  for (const seconds of [0.0004, 0.0004, 0.02, 20]) metrics.kernelSeconds.observe(seconds);
  expect(await lines(metrics, "messages_rejected_total")).toEqual([
    'stemline_messages_rejected_total{reason="header"} 1',
    'stemline_messages_rejected_total{reason="STEMLINE_WIRE_BATCH"} 2',
  ]);
  expect(await lines(metrics, "triggers_total")).toEqual(['stemline_triggers_total{outcome="accepted"} 1']);
  expect(await lines(metrics, "backend_info")).toEqual(['stemline_backend_info{backend="scalar"} 1']);
  const buckets = await lines(metrics, "kernel_seconds_bucket");
  const counts = Object.fromEntries(
    buckets.map((line) => [/le="(.*)"/.exec(line)![1]!, Number(line.split(" ")[1])]),
  );
  expect(counts).toMatchObject({ "0.0003": 0, "0.001": 2, "0.01": 2, "0.03": 3, "10": 3, "+Inf": 4 });
});

test("a GPU shows nothing before the first batch, then what was decided, and later what it does", async () => {
  const metrics = new HostMetrics();
  let report: AccelerationReport | null = null;
  metrics.followAcceleration(() => report);
  for (const name of ["info", "batches_total", "memory_bytes", "calibration_seconds"]) {
    expect(await lines(metrics, `accelerator_${name}`)).toEqual([]);
  }
  report = accelerationOf({ figures: null, reason: "driver-missing" });
  expect(await lines(metrics, "accelerator_info")).toEqual([
    'stemline_accelerator_info{device="0000:3b:00.0",state="driver-missing"} 1',
  ]);
  report = accelerationOf({});
  expect(await lines(metrics, "accelerator_info")).toEqual([
    'stemline_accelerator_info{device="0000:3b:00.0",state="used"} 1',
  ]);
  expect(await lines(metrics, "accelerator_calibration_seconds")).toEqual([
    'stemline_accelerator_calibration_seconds{operation="analysis",events="4096",by="cpu"} 0.004',
    'stemline_accelerator_calibration_seconds{operation="analysis",events="4096",by="cuda"} 0.001',
  ]);
  report = accelerationOf({
    figures: { ...acceleratorFigures, batches: 7, busy: 2, tooLarge: 1, failures: 3, off: true },
  });
  expect(await lines(metrics, "accelerator_info")).toEqual([
    'stemline_accelerator_info{device="0000:3b:00.0",state="off"} 1',
  ]);
  expect(await lines(metrics, "accelerator_batches_total")).toEqual([
    'stemline_accelerator_batches_total{outcome="computed"} 7',
    'stemline_accelerator_batches_total{outcome="busy"} 2',
    'stemline_accelerator_batches_total{outcome="too_large"} 1',
    'stemline_accelerator_batches_total{outcome="failed"} 3',
  ]);
  expect(await lines(metrics, "accelerator_memory_bytes")).toEqual([
    'stemline_accelerator_memory_bytes{memory="device"} 2000',
    'stemline_accelerator_memory_bytes{memory="pinned"} 1000',
  ]);
});

test("two operators in one process do not share figures", async () => {
  const [one, other] = [new HostMetrics(), new HostMetrics()];
  one.failures.inc(5);
  expect(await lines(other, "kernel_failures_total")).toEqual(["stemline_kernel_failures_total 0"]);
});

test("serves its text under /metrics until it is closed", async () => {
  const metrics = new HostMetrics();
  metrics.unread.inc(3);
  const server = await serveMetrics(metrics.registry, "127.0.0.1", 0);
  const url = `http://127.0.0.1:${server.port}`;
  const response = await fetch(`${url}/metrics`);
  expect(response.headers.get("content-type")).toBe(metrics.registry.contentType);
  expect(await response.text()).toContain("\nstemline_messages_unread_total 3\n");
  expect((await fetch(`${url}/other`)).status).toBe(404);
  expect((await fetch(`${url}/metrics`, { method: "POST" })).status).toBe(404);
  server.close();
  await expect(fetch(`${url}/metrics`)).rejects.toThrow();
});

test("says which address cannot be bound", async () => {
  const other = createServer();
  await new Promise<void>((resolve) => other.listen(0, "127.0.0.1", resolve));
  const { port } = other.address() as { port: number };
  await expect(serveMetrics(new HostMetrics().registry, "127.0.0.1", port)).rejects.toMatchObject({
    code: "STEMLINE_METRICS_BIND",
    message: expect.stringContaining(`127.0.0.1:${port}`),
  });
  other.close();
});
