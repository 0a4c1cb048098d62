import { createServer, type Server } from "node:http";
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from "prom-client";
import { HostError } from "../errors.ts";
import type { AccelerationReport } from "../native/backends.ts";

/** Messages and bytes of one port since the start. */
export interface PortCount {
  messages: number;
  bytes: number;
}

/** Bounds from what a small batch takes to what a detector at full rate leaves no time for. */
const kernelSecondsBuckets = [0.0001, 0.0003, 0.001, 0.002, 0.003, 0.005, 0.01, 0.03, 0.1, 0.3, 1, 3, 10];

/** What one process has done since its start, for other programs to read. Nothing here depends on the rate of messages. */
export class HostMetrics {
  readonly registry = new Registry();
  readonly #ports = new Map<string, PortCount>();

  readonly rejected = this.#counter("messages_rejected_total", "Received messages that were refused", [
    "reason",
  ]);
  readonly failures = this.#counter(
    "kernel_failures_total",
    "Calls of run that failed; each lost its message",
  );
  readonly discarded = this.#counter(
    "messages_discarded_total",
    "Received or computed messages that were given up at shutdown",
  );
  readonly unread = this.#counter("messages_unread_total", "Messages to output ports that nobody reads");
  readonly frames = this.#counter("frames_total", "Frames that run said it took in or gave out");
  readonly droppedFrames = this.#counter("frames_dropped_total", "Frames that run left out as not usable");
  readonly parameterUpdates = this.#counter("parameter_updates_total", "Parameter updates", ["outcome"]);
  readonly triggers = this.#counter("triggers_total", "Requests to run a trigger", ["outcome"]);
  readonly connectionsLost = this.#counter("connections_lost_total", "Connections that ended", ["port"]);
  readonly pipelineMetrics = this.#counter(
    "pipeline_metrics_total",
    "Ways of tracked messages at their last operator",
    ["outcome"],
  );
  readonly displays = this.#counter("displays_total", "Pictures and tables to be shown", ["outcome"]);
  /** 1 for the state in force. */
  readonly fastLane = this.#gauge("fast_lane_info", "1 for the state that a format of messages is in", [
    "format",
    "state",
  ]);
  readonly natsConnected = this.#gauge("nats_connected", "1 while NATS is connected");
  readonly kernelSeconds = new Histogram({
    name: "stemline_kernel_seconds",
    help: "Time of one call of run",
    buckets: kernelSecondsBuckets,
    registers: [this.registry],
  });

  /** Messages, and calls without one, that are between receiving and sending. The caller keeps them up to date. */
  readonly underWay = { waitingForRun: 0, running: 0, waitingForSend: 0 };

  constructor() {
    collectDefaultMetrics({ register: this.registry });
    const { underWay } = this;
    this.#gauge("messages_in_flight", "Messages between receiving and sending", [], (gauge) =>
      gauge.set(underWay.waitingForRun + underWay.running + underWay.waitingForSend),
    );
    this.#gauge(
      "queue_depth",
      "Messages that wait for run, or with their results for being sent",
      ["queue"],
      (gauge) => {
        gauge.set({ queue: "run" }, underWay.waitingForRun);
        gauge.set({ queue: "send" }, underWay.waitingForSend);
      },
    );
  }

  /** The counts of a port, which the caller keeps up to date. */
  port(direction: "received" | "sent", portId: string): PortCount {
    const count = { messages: 0, bytes: 0 };
    this.#ports.set(`${direction} ${portId}`, count);
    this.#portMetrics(direction);
    return count;
  }

  /** Says which backend computes. */
  setBackend(name: string): void {
    this.#gauge("backend_info", "1 for the compute backend in use", ["backend"]).set({ backend: name }, 1);
  }

  /** Shows what a GPU does, once a batch has asked for one. */
  followAcceleration(readReport: () => AccelerationReport | null): void {
    this.#gauge(
      "accelerator_info",
      "1 for the GPU, by its PCI bus id, and what became of it: used, off after a failure, or a reason why it is not used",
      ["device", "state"],
      (gauge) => {
        gauge.reset();
        const report = readReport();
        if (report === null || report.mode === "cpu") return;
        const { figures, device, cuda } = report;
        const state = figures === null ? (cuda.reason ?? "none") : figures.off ? "off" : "used";
        gauge.set({ device: device?.pciBusId ?? "none", state }, 1);
      },
    );
    this.#gauge(
      "accelerator_calibration_seconds",
      "Time for a batch of so many events, measured at the start",
      ["operation", "events", "by"],
      (gauge) => {
        for (const { operation, events, cpuMs, cudaMs } of readReport()?.calibration ?? []) {
          gauge.set({ operation, events, by: "cpu" }, cpuMs / 1000);
          gauge.set({ operation, events, by: "cuda" }, cudaMs / 1000);
        }
      },
    );
    this.#gauge("accelerator_memory_bytes", "Memory taken for the GPU's work", ["memory"], (gauge) => {
      const figures = readReport()?.figures;
      if (figures == null) return;
      gauge.set({ memory: "device" }, figures.deviceBytes);
      gauge.set({ memory: "pinned" }, figures.pinnedBytes);
    });
    new Counter({
      name: "stemline_accelerator_batches_total",
      help: "Batches that the GPU was asked for; all but those computed were left to the CPU",
      labelNames: ["outcome"],
      registers: [this.registry],
      collect() {
        this.reset();
        const figures = readReport()?.figures;
        if (figures == null) return;
        this.inc({ outcome: "computed" }, figures.batches);
        this.inc({ outcome: "busy" }, figures.busy);
        this.inc({ outcome: "too_large" }, figures.tooLarge);
        this.inc({ outcome: "failed" }, figures.failures);
      },
    });
  }

  #portMetrics(direction: "received" | "sent"): void {
    if (this.registry.getSingleMetric(`stemline_messages_${direction}_total`) !== undefined) return;
    const ports = this.#ports;
    for (const unit of ["messages", "bytes"] as const) {
      new Counter({
        name: `stemline_${unit}_${direction}_total`,
        help: `${unit} ${direction} by a port`,
        labelNames: ["port"],
        registers: [this.registry],
        // Copied when somebody asks, so that counting a message costs two additions.
        collect() {
          this.reset();
          for (const [key, count] of ports) {
            const [of, port = ""] = key.split(" ");
            if (of === direction) this.inc({ port }, count[unit]);
          }
        },
      });
    }
  }

  #counter(name: string, help: string, labelNames: string[] = []): Counter {
    return new Counter({ name: `stemline_${name}`, help, labelNames, registers: [this.registry] });
  }

  #gauge(name: string, help: string, labelNames: string[] = [], update = (_gauge: Gauge) => {}): Gauge {
    return new Gauge({
      name: `stemline_${name}`,
      help,
      labelNames,
      registers: [this.registry],
      // When somebody asks.
      collect() {
        update(this);
      },
    });
  }
}

/** A running metrics server. */
export interface MetricsServer {
  readonly port: number;
  close(): void;
}

/**
 * Serves the metrics in Prometheus' text format under `/metrics`.
 *
 * @throws HostError `STEMLINE_METRICS_BIND` if the port cannot be bound.
 */
export async function serveMetrics(registry: Registry, host: string, port: number): Promise<MetricsServer> {
  const server: Server = createServer(async ({ method, url }, response) => {
    if (!["GET", "HEAD"].includes(method ?? "") || url?.split("?", 1)[0] !== "/metrics") {
      response.writeHead(404).end();
      return;
    }
    response.setHeader("Content-Type", registry.contentType);
    response.end(await registry.metrics());
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", (cause) => {
      const message = `The metrics server cannot be bound to ${host}:${port}: ${cause.message}`;
      reject(new HostError("STEMLINE_METRICS_BIND", message, { cause }));
    });
    server.listen(port, host, resolve);
  });
  // Whatever happens to it later is no reason to end an operator.
  server.on("error", () => {});
  // The process ends when its work does, whoever is still connected here.
  server.unref();
  const address = server.address();
  return {
    port: typeof address === "object" && address !== null ? address.port : port,
    close() {
      server.close();
      server.closeAllConnections();
    },
  };
}
