import {
  errorText,
  HostError,
  ParameterError,
  PipelineError,
  SpecError,
  StemlineError,
  UsageError,
} from "../errors.ts";
import type { Operator } from "../operator/define-operator.ts";
import { loadOperator } from "../operator/load-operator.ts";
import { readHostConfig } from "./config.ts";
import { showHealth } from "./health.ts";
import { type HostReport, runHost } from "./host.ts";
import { createLog, type HostLog } from "./log.ts";
import { HostMetrics, type MetricsServer, serveMetrics } from "./metrics.ts";
import { connectControlPlane } from "./nats-control-plane.ts";
import { createZmqMessenger } from "./zmq-messenger.ts";

/** Exit codes of an operator's process. */
export const hostExitCodes = {
  /** Stopped as asked; everything that was received was computed and sent. */
  stopped: 0,
  /** The operator failed, something it needs could not be reached, or messages were given up. */
  failed: 1,
  /** Configuration, operator or pipeline cannot be used as they are. */
  unusable: 2,
  /** Stopped at once by a second signal. */
  gaveUp: 130,
} as const;

/**
 * Runs the operator of one run.ts in a deployed pipeline, configured by the environment, until SIGTERM or SIGINT. A
 * second signal ends it at once. Returns the exit code.
 *
 * Throws UsageError `STEMLINE_HOST_CONFIG`; everything else that goes wrong is in the log.
 */
export async function startOperator(runFile: string, env: NodeJS.ProcessEnv): Promise<number> {
  const config = readHostConfig(env);
  const log = createLog(config.logLevel, config.operatorId);
  const stop = new AbortController();
  const giveUp = new AbortController();
  let signals = 0;
  const onSignal = (signal: NodeJS.Signals) => {
    signals += 1;
    log.info({ signal }, signals === 1 ? "signal received" : "another signal: giving up");
    if (signals > 1) giveUp.abort();
    stop.abort();
  };
  let uncaught: HostError | null = null;
  const onUncaught = (error: unknown) => {
    uncaught ??= new HostError("STEMLINE_UNCAUGHT", `Outside of run, uncaught: ${errorText(error)}`, {
      cause: error,
    });
    log.error({ error }, `an error that nobody caught: ${errorText(error)}`);
    stop.abort(uncaught);
  };
  // Left on: a signal during the last moments must not kill what is being written.
  process.on("SIGTERM", onSignal).on("SIGINT", onSignal);
  // Instead of the command line's own handler, which ends the process at once.
  process.removeAllListeners("uncaughtException").on("uncaughtException", onUncaught);

  const hideHealth =
    config.healthFolder === null ? null : showHealth(config.healthFolder, config.operatorId, log);
  const metrics = new HostMetrics();
  let server: MetricsServer | null = null;
  try {
    const operator = await unlessAborted(loadOperator(runFile), stop.signal);
    if (operator === null) {
      if (uncaught !== null) return concludeFailure(uncaught, log);
      log.info({}, "stopped before run.ts was loaded");
      return hostExitCodes.stopped;
    }
    if (config.metricsPort !== null) {
      server = await serveMetrics(metrics.registry, config.metricsHost, config.metricsPort);
      log.info({ host: config.metricsHost, port: server.port }, "metrics are served");
    }
    const report = await runHost({
      config,
      operator,
      log,
      metrics,
      stop: stop.signal,
      giveUp: giveUp.signal,
      connectControlPlane: (hostLog, signal) =>
        connectControlPlane({
          url: config.natsUrl,
          credentials: config.credentials,
          name: `operator-${config.operatorId}`,
          storage: config.storage,
          waitSeconds: config.natsWaitSeconds,
          log: hostLog,
          signal,
        }),
      createMessenger: (observer) =>
        createZmqMessenger({
          hostname: config.zmqHostname,
          interface: config.zmqInterface,
          queueMessages: config.queueMessages,
          maxMessageBytes: config.maxMessageBytes,
          observer,
        }),
    });
    // One that came during the shutdown is not in the report.
    return conclude({ ...report, failure: report.failure ?? uncaught }, log);
  } catch (error) {
    return concludeFailure(error, log);
  } finally {
    server?.close();
    hideHealth?.();
  }
}

/** Null if the signal comes first: what run.ts does when it is loaded may have no end. */
async function unlessAborted(loading: Promise<Operator>, signal: AbortSignal): Promise<Operator | null> {
  const aborted = new Promise<null>((resolve) => {
    if (signal.aborted) resolve(null);
    signal.addEventListener("abort", () => resolve(null), { once: true });
  });
  return Promise.race([loading, aborted]);
}

function conclude({ failure, gaveUp, ...counts }: HostReport, log: HostLog): number {
  const lost = counts.discarded + counts.unsentAtMost;
  log[lost > 0 ? "warn" : "info"](counts, lost > 0 ? "stopped; messages were given up" : "stopped");
  if (failure !== null) return concludeFailure(failure, log);
  if (gaveUp) return hostExitCodes.gaveUp;
  return lost > 0 ? hostExitCodes.failed : hostExitCodes.stopped;
}

function concludeFailure(error: unknown, log: HostLog): number {
  const known = error instanceof StemlineError;
  log.fatal(known ? { code: error.code } : { error }, `the operator ended: ${errorText(error)}`);
  const unusable = [UsageError, PipelineError, ParameterError, SpecError].some(
    (kind) => error instanceof kind,
  );
  return unusable ? hostExitCodes.unusable : hostExitCodes.failed;
}
