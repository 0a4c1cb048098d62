import { expect, test } from "vitest";
import { soak } from "../bench/host/soak.ts";

test("half a minute at full speed loses nothing, keeps the order and leaves memory as it is", async () => {
  const report = await soak(30);
  expect(report.problems, JSON.stringify(report)).toEqual([]);
  expect(report.received).toBeGreaterThan(300);
});
