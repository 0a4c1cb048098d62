import { setTimeout as delay } from "node:timers/promises";
import { StemlineError } from "../errors.ts";
import type { Logger } from "../operator/define-operator.ts";
import type { ControlPlane, Subscription } from "./control-plane.ts";
import type { HostMetrics } from "./metrics.ts";
import { atMostEvery } from "./pace.ts";
import type { HostParameters } from "./parameters.ts";

const retryMs = 1000;
const warningMs = 10_000;

export interface ParameterExchangeOptions {
  readonly canonicalId: string;
  readonly parameters: HostParameters;
  readonly control: ControlPlane;
  readonly metrics: HostMetrics;
  readonly log: Logger;
  /** Ends the publishing. */
  readonly signal: AbortSignal;
}

/**
 * Takes updates of parameters over, from now on, and publishes the values as they are: all at the start and when NATS was
 * away, since a server may come back without its state, and one after each update.
 */
export function exchangeParameters(options: ParameterExchangeOptions): Subscription {
  const { canonicalId, parameters, control, metrics, log, signal } = options;
  /** Names of parameters whose present value others may not know. */
  const pending = new Set<string>();
  const isWarningDue = atMostEvery(warningMs);
  let publishing = false;

  async function publishOne(name: string): Promise<void> {
    pending.delete(name);
    try {
      await control.publishParameter(canonicalId, name, parameters.acknowledgement(name));
    } catch (error) {
      // The others are not kept waiting for it.
      pending.add(name);
      if (isWarningDue()) log.warn({ error, parameter: name }, "a parameter value cannot be published yet");
    }
  }

  async function publishPending(): Promise<void> {
    publishing = true;
    while (pending.size > 0 && control.connected && !signal.aborted) {
      for (const name of [...pending]) await publishOne(name);
      if (pending.size > 0) await delay(retryMs);
    }
    publishing = false;
  }

  function publish(names: readonly string[]): void {
    for (const name of names) pending.add(name);
    if (!publishing) void publishPending();
  }

  function takeOver(body: Uint8Array): boolean {
    try {
      const name = parameters.update(body);
      metrics.parameterUpdates.inc({ outcome: "taken" });
      log.info({ parameter: name, value: parameters.current[name] }, "parameter was changed");
      // After the update was acknowledged.
      setImmediate(() => publish([name]));
      return true;
    } catch (error) {
      if (!(error instanceof StemlineError)) throw error;
      metrics.parameterUpdates.inc({ outcome: "refused" });
      log.warn({ code: error.code }, `parameter update was refused: ${error.message}`);
      return false;
    }
  }

  control.onConnectionChange((connected) => {
    if (connected) publish(parameters.names);
  });
  publish(parameters.names);
  return control.consumeParameterUpdates(canonicalId, takeOver);
}
