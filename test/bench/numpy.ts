import { spawnSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { centerOfMassPartial } from "../../src/distiller/index.ts";
import { inputFile } from "./node-cases.ts";

/** Input files of each benchmark of numpy_reference.py; see inputs.cpp for the keys. */
export const numpyInputs: ReadonlyMap<string, string> = new Map([
  ...[10, 30, 100, 300].flatMap((events): [string, string][] => [
    [`com/none/numpy/${events}/l3`, `com/${events}/l3`],
    [`com/box/numpy/${events}/l3`, `com/${events}/l3`],
    [`partial/none/numpy/${events}/512`, `real/${events}/512`],
  ]),
  ["decode/json/numpy/32768", "real/10/512"],
  ["encode/json/numpy/32768", "real/10/512"],
  ["npz/numpy/512", "real/10/512"],
]);

export type Python = { readonly command: string; readonly version: string } | { readonly why: string };

/** A Python that has NumPy: the system's own first, since another may be before it in PATH. */
export function findPython(): Python {
  const reasons: string[] = [];
  for (const command of ["/usr/bin/python3", "python3"]) {
    const { status, stdout, stderr, error } = spawnSync(
      command,
      ["-c", "import numpy, platform; print(f'{numpy.__version__} on Python {platform.python_version()}')"],
      { encoding: "utf8" },
    );
    if (status === 0) return { command, version: stdout.trim() };
    reasons.push(`${command}: ${error?.message ?? stderr.trim().split("\n").at(-1)}`);
  }
  return { why: reasons.join("; ") };
}

/** Puts our replies beside the messages, which the reference is compared with. */
export async function writeReplies(folder: string, keys: readonly string[]): Promise<void> {
  for (const key of keys) {
    if (key.startsWith("com/")) continue;
    const reply = await centerOfMassPartial({
      meta: inputFile(folder, key, "meta"),
      data: inputFile(folder, key, "events"),
    });
    const path = join(folder, key.replaceAll("/", "-"));
    writeFileSync(`${path}.json`, reply.meta);
    writeFileSync(`${path}.npz`, reply.data);
  }
}
