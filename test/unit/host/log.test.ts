import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { expect, test } from "vitest";

const source = fileURLToPath(new URL("../../../src/host/log.ts", import.meta.url));
const operatorId = "5bd6ef2a-91c0-4d7e-8000-000000000001";

/** The lines that a program of its own writes with the log of a level; it ends right after the last one. */
async function written(level: string, program: string): Promise<Record<string, unknown>[]> {
  const text = [
    `import { createLog } from ${JSON.stringify(source)};`,
    `const log = createLog(${JSON.stringify(level)}, ${JSON.stringify(operatorId)});`,
    program,
    "process.exit();",
  ].join("\n");
  const args = ["--import", "tsx", "--input-type=module", "--eval", text];
  const { stdout, stderr } = await promisify(execFile)(process.execPath, args, {
    cwd: fileURLToPath(new URL("../../../", import.meta.url)),
  });
  expect(stderr).toBe("");
  return stdout.split("\n").flatMap((line) => (line === "" ? [] : [JSON.parse(line)]));
}

test("writes one JSON object a line with level, time, operator and the author's fields", async () => {
  const lines = await written(
    "debug",
    `log.trace({}, "too much");
    log.debug({ frames: 3 }, "details");
    const child = log.child({ label: "Station" });
    log.setBindings({ pipeline_id: "p" });
    child.warn({}, "from the child");
    log.error({ error: new RangeError("out of range", { cause: new Error("why") }) }, "failed");`,
  );
  expect(lines.map(({ time: _time, ...rest }) => rest)).toEqual([
    { level: "debug", operator_id: operatorId, frames: 3, msg: "details" },
    { level: "warn", operator_id: operatorId, label: "Station", msg: "from the child" },
    {
      level: "error",
      operator_id: operatorId,
      pipeline_id: "p",
      error: expect.objectContaining({
        type: "RangeError",
        message: expect.stringContaining("out of range"),
        stack: expect.stringContaining("RangeError: out of range"),
      }),
      msg: "failed",
    },
  ]);
  for (const { time } of lines) expect(new Date(time as string).toISOString()).toBe(time);
});

test("loses no line when the process ends at once", async () => {
  const lines = await written("info", `for (let n = 0; n < 2000; n += 1) log.info({ n }, "line");`);
  expect(lines.map(({ n }) => n)).toEqual(Array.from({ length: 2000 }, (_, n) => n));
});
