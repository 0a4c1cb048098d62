import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, utimesSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { showHealth } from "../../../src/host/health.ts";
import type { HostLog } from "../../../src/host/log.ts";

const id = "5bd6ef2a-91c0-4d7e-8000-000000000001";
let folder: string;
const warnings: string[] = [];
const log = { warn: (_: object, text: string) => warnings.push(text), debug() {} } as unknown as HostLog;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "stemline-health-"));
  warnings.length = 0;
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
  rmSync(folder, { recursive: true, force: true });
});

test("the file is there at once, is written again every 5 s, and goes away at the end", () => {
  const file = join(folder, `stemline-${id}`);
  const hide = showHealth(folder, id, log);
  expect(readFileSync(file, "utf8")).toMatch(/^\d{4}-\d\d-\d\dT.*Z\n$/);
  utimesSync(file, 1000, 1000);
  vi.advanceTimersByTime(4900);
  expect(statSync(file).mtimeMs).toBe(1_000_000);
  vi.advanceTimersByTime(200);
  expect(statSync(file).mtimeMs).toBeGreaterThan(1_000_000);
  hide();
  expect(existsSync(file)).toBe(false);
  vi.advanceTimersByTime(20_000);
  expect(existsSync(file)).toBe(false);
  expect(warnings).toEqual([]);
});

test("a folder that is not there is reported once", () => {
  const hide = showHealth(join(folder, "none"), id, log);
  vi.advanceTimersByTime(20_000);
  hide();
  expect(warnings).toEqual([expect.stringContaining("the health check will find nothing: ")]);
});

test("a folder that goes away later does not end the process", () => {
  const hide = showHealth(folder, id, log);
  rmSync(folder, { recursive: true });
  vi.advanceTimersByTime(20_000);
  hide();
  expect(warnings).toEqual([]);
});
