import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";

/** The command line as it is installed. */
export const cli = fileURLToPath(new URL("../../../dist/cli/main.js", import.meta.url));

export interface Result {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Starts a program as a user does in a folder; `text` grows while it runs. */
export function startCommand(
  cwd: string,
  command: string,
  args: readonly string[],
  env: NodeJS.ProcessEnv = {},
) {
  const child = spawn(command, args, {
    cwd,
    env: { ...process.env, STEMLINE_DEBUG: "", TERM: "xterm", ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const text = { stdout: "", stderr: "" };
  child.stdout.setEncoding("utf8").on("data", (chunk: string) => {
    text.stdout += chunk;
  });
  child.stderr.setEncoding("utf8").on("data", (chunk: string) => {
    text.stderr += chunk;
  });
  const result = new Promise<Result>((resolve) => child.on("close", (code) => resolve({ code, ...text })));
  return Object.assign(child, { result, text });
}
