import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const tsx = pathToFileURL(createRequire(import.meta.url).resolve("tsx")).href;

/** Arguments for a Node process, of any version, that runs or imports TypeScript sources. */
export function nodeArguments(...args: readonly string[]): string[] {
  return ["--import", tsx, ...(args[0] === "-e" ? ["--input-type=module"] : []), ...args];
}
