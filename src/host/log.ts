import { type DestinationStream, type Logger as PinoLogger, pino } from "pino";
import pretty from "pino-pretty";
import type { LogLevel } from "./config.ts";

/** A structured log whose entries carry the fields of all its ancestors. */
export type HostLog = PinoLogger;

/**
 * The log of one operator process: one JSON object a line on standard output, or text for people at a terminal. Written
 * at once, so that nothing is missing when the process ends.
 */
export function createLog(level: LogLevel, operatorId: string): HostLog {
  const output: DestinationStream = process.stdout.isTTY
    ? pretty({ sync: true, ignore: "operator_id,pipeline_id,canonical_id,label" })
    : pino.destination({ dest: 1, sync: true });
  return pino(
    {
      level,
      base: { operator_id: operatorId },
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      errorKey: "error",
    },
    output,
  );
}
