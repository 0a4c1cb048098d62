import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { onTestFinished } from "vitest";

/** An import line for a run.ts outside this package, where the name `stemline` does not resolve. */
export const importStemline = `import * as stemline from ${JSON.stringify(
  new URL("../../../src/index.ts", import.meta.url).href,
)};\n`;

/** Makes a folder with the given files, which is removed when the test ends. */
export function operatorFolder(files: Readonly<Record<string, string>>): string {
  const folder = mkdtempSync(join(tmpdir(), "stemline-operator-"));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  for (const [name, text] of Object.entries({ "package.json": '{"type":"module"}', ...files })) {
    mkdirSync(dirname(join(folder, name)), { recursive: true });
    writeFileSync(join(folder, name), text);
  }
  return folder;
}
