import { expect, test } from "vitest";
import { soak } from "../bench/host/soak.ts";

test("three quarters of a minute at full speed loses nothing, keeps the order and leaves memory as it is", async () => {
  const report = await soak(45);
  expect(report.problems, JSON.stringify(report)).toEqual([]);
  expect(report.received).toBeGreaterThan(300);
});
