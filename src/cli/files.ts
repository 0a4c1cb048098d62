import { readFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { UsageError } from "../errors.ts";
import { reasonOf } from "../operator/file-reason.ts";
import { parseJsonText } from "../spec/json-text.ts";

/** Root of the installed package, seen from src/cli and from dist/cli alike. */
export const packageRoot = fileURLToPath(new URL("../../", import.meta.url));

export interface PackageFacts {
  readonly version: string;
  /** Oldest Node that the package runs on. */
  readonly minimumNode: string;
}

export function packageFacts(): PackageFacts {
  const text = readFileSync(join(packageRoot, "package.json"), "utf8");
  const { version, engines } = JSON.parse(text) as { version: string; engines: { node: string } };
  return { version, minimumNode: engines.node.replace(/^>=/, "") };
}

/** Throws UsageError `STEMLINE_CLI_FILE` when the file cannot be read, `STEMLINE_CLI_JSON` when it is not JSON. */
export async function readJsonFile(path: string): Promise<unknown> {
  const text = await readFile(path, "utf8").catch((cause: unknown) => {
    throw new UsageError("STEMLINE_CLI_FILE", `Cannot read ${path}: ${reasonOf(cause)}`, { cause });
  });
  try {
    return parseJsonText(text);
  } catch (cause) {
    throw new UsageError("STEMLINE_CLI_JSON", `${path} is not JSON: ${reasonOf(cause)}`, { cause });
  }
}
