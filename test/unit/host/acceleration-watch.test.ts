import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { watchAcceleration } from "../../../src/host/acceleration-watch.ts";
import type { HostLog } from "../../../src/host/log.ts";
import type { AccelerationReport } from "../../../src/native/backends.ts";
import { accelerationOf, acceleratorFigures } from "./acceleration-report.ts";

let lines: [level: string, text: string, fields: object][] = [];
const log = {
  info: (fields: object, text: string) => lines.push(["info", text, fields]),
  warn: (fields: object, text: string) => lines.push(["warn", text, fields]),
} as unknown as HostLog;

beforeEach(() => {
  lines = [];
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

/** Lines of the log after each of these reports has been there for a second. */
async function logged(...reports: (AccelerationReport | null)[]) {
  let report: AccelerationReport | null = null;
  const watch = watchAcceleration(() => report, log);
  for (report of reports) vi.advanceTimersByTime(1000);
  await watch.stop();
  vi.advanceTimersByTime(10_000);
  return lines;
}

test("the decision is written once, when there is one, with its figures", async () => {
  const report = accelerationOf({});
  expect(await logged(null, report, report, report)).toEqual([
    [
      "info",
      "CPU and GPU compute what each is faster at",
      {
        device: "First GPU",
        pci_bus_id: "0000:3b:00.0",
        startMs: 100,
        calibrationMs: 20,
        calibration: report.calibration,
      },
    ],
  ]);
});

test("nothing is written without a batch, nor where nobody has looked for a GPU", async () => {
  expect(await logged(null, null)).toEqual([]);
  expect(await logged(accelerationOf({ mode: "cpu", figures: null }))).toEqual([]);
});

test.each([
  ["auto", "info"],
  ["cuda", "warn"],
] as const)(
  "with STEMLINE_BACKEND=%s a GPU that is not used is worth a line of level %s",
  async (mode, level) => {
    const said = await logged(accelerationOf({ mode, figures: null, reason: "driver-too-old" }));
    expect(said).toEqual([
      [
        level,
        "no GPU is used; the CPU computes",
        expect.objectContaining({ reason: "driver-too-old", message: "because of driver-too-old" }),
      ],
    ]);
  },
);

test("each failure is counted and told, at most one line a second, and that it was the last", async () => {
  const failed = (failures: number, failure: string, off = false) =>
    accelerationOf({ mode: "cuda", figures: { ...acceleratorFigures, failures, failure, off } });
  const said = await logged(
    failed(0, ""),
    failed(2, "out of memory"),
    failed(2, "out of memory"),
    failed(3, "lost", true),
    failed(3, "lost", true),
  );
  expect(said.map(([level, text]) => [level, text])).toEqual([
    ["info", "the GPU computes"],
    ["warn", "the GPU failed; the CPU computed those batches"],
    ["warn", "the GPU failed and is not used any more; the CPU computes"],
  ]);
  expect(said[1]![2]).toEqual({ failures: 2, reason: "out of memory" });
  expect(said[2]![2]).toEqual({ failures: 1, reason: "lost" });
});

test("what came in the last second is told at the end", async () => {
  let report: AccelerationReport | null = null;
  const watch = watchAcceleration(() => report, log);
  report = accelerationOf({});
  await watch.stop();
  expect(lines.length).toBe(1);
});
