import { expect, test } from "vitest";
import { createBreather } from "../../../src/operator/event-loop.ts";

function workFor(milliseconds: number): void {
  const end = performance.now() + milliseconds;
  while (performance.now() < end);
}

test("timers run in a loop that never waits", async () => {
  const breathe = createBreather();
  let ran = false;
  setTimeout(() => {
    ran = true;
  }, 1);
  // Only promises in between: without a breath the timer would never come.
  for (let step = 0; step < 1000 && !ran; step += 1) {
    workFor(2);
    await breathe();
  }
  expect(ran).toBe(true);
});

test("a loop is not held up before it has kept others waiting", async () => {
  const breathe = createBreather();
  let turned = false;
  setImmediate(() => {
    turned = true;
  });
  for (let step = 0; step < 100; step += 1) await breathe();
  expect(turned).toBe(false);
  workFor(11);
  await breathe();
  expect(turned).toBe(true);
});
