import type { AccelerationReport } from "../native/backends.ts";
import type { Subscription } from "./control-plane.ts";
import type { HostLog } from "./log.ts";

const intervalMs = 1000;

/** Writes into the log what was decided about a GPU, once a batch has asked for it, and what happens to it later. */
export function watchAcceleration(
  readReport: () => AccelerationReport | null,
  log: HostLog,
  everyMs = intervalMs,
): Subscription {
  let decided = false;
  let failures = 0;
  const look = () => {
    const report = readReport();
    if (report === null) return;
    if (!decided) logDecision(report, log);
    decided = true;
    const { figures } = report;
    if (figures === null || figures.failures === failures) return;
    log.warn(
      { failures: figures.failures - failures, reason: figures.failure },
      figures.off
        ? "the GPU failed and is not used any more; the CPU computes"
        : "the GPU failed; the CPU computed those batches",
    );
    failures = figures.failures;
  };
  const timer = setInterval(look, everyMs);
  timer.unref();
  return {
    async stop() {
      clearInterval(timer);
      look();
    },
  };
}

function logDecision(report: AccelerationReport, log: HostLog): void {
  const { mode, cuda, device, figures, calibration, startMs, calibrationMs } = report;
  if (mode === "cpu") return;
  if (figures === null) {
    const level = mode === "cuda" ? "warn" : "info";
    log[level](
      { reason: cuda.reason, message: cuda.message, calibration },
      "no GPU is used; the CPU computes",
    );
    return;
  }
  const facts = { device: device?.name, pci_bus_id: device?.pciBusId, startMs, calibrationMs, calibration };
  log.info(facts, mode === "cuda" ? "the GPU computes" : "CPU and GPU compute what each is faster at");
}
