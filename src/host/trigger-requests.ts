import type { Logger } from "../operator/define-operator.ts";
import type { RuntimeOperator } from "../spec/expand-pipeline.ts";
import { readTriggerRequest, triggerReply } from "../wire/trigger.ts";
import type { ControlPlane, Subscription } from "./control-plane.ts";
import type { Engine } from "./engine.ts";
import type { HostMetrics } from "./metrics.ts";

/** Answers requests to run a trigger, and hands those that can be run to the engine. */
export function answerTriggerRequests(
  operator: RuntimeOperator,
  options: {
    readonly engine: Engine;
    readonly control: ControlPlane;
    readonly metrics: HostMetrics;
    readonly log: Logger;
  },
): Subscription {
  const { engine, control, metrics, log } = options;
  const triggers = operator.triggers ?? [];

  function refuse(message: string): string {
    metrics.triggers.inc({ outcome: "refused" });
    log.warn({}, `trigger was refused: ${message}`);
    return triggerReply("error", message);
  }

  return control.answerTriggers(operator.canonical_id, (body) => {
    const name = readTriggerRequest(body);
    if (name === null) return refuse("Invalid trigger request");
    const trigger = triggers.find((candidate) => candidate.name === name);
    if (trigger === undefined) {
      const names = triggers.map((candidate) => candidate.name).join(", ") || "none";
      return refuse(
        `Trigger '${name}' not found in spec for operator ${operator.image} available triggers: ${names}`,
      );
    }
    if (!engine.trigger(name, trigger.mode === "drain")) {
      return refuse(`Trigger '${name}' cannot be run now: too many wait already, or the operator is ending`);
    }
    metrics.triggers.inc({ outcome: "accepted" });
    log.info({ trigger: name }, "trigger accepted");
    return triggerReply("ok", "Trigger accepted");
  });
}
