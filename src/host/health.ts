import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { errorText } from "../errors.ts";
import type { HostLog } from "./log.ts";

const intervalMs = 5000;

/**
 * Shows a container's health check that this process is not stuck: while its event loop turns, the file
 * `stemline-<operator id>` in `folder` is written again every 5 s. Returns a function that ends that and removes the file.
 * A folder that cannot be written to is reported in the log once.
 */
export function showHealth(folder: string, operatorId: string, log: HostLog): () => void {
  const file = join(folder, `stemline-${operatorId}`);
  const write = () => writeFileSync(file, `${new Date().toISOString()}\n`);
  try {
    write();
  } catch (error) {
    log.warn({ file }, `the health check will find nothing: ${errorText(error)}`);
    return () => {};
  }
  const timer = setInterval(() => {
    try {
      write();
    } catch (error) {
      log.debug({ file }, `the health file cannot be written: ${errorText(error)}`);
    }
  }, intervalMs);
  return () => {
    clearInterval(timer);
    rmSync(file, { force: true });
  };
}
