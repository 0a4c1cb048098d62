import { setImmediate as nextTurn } from "node:timers/promises";

const maxTurnMs = 10;

/**
 * Makes a function that loops call after each step: it lets timers, signals and I/O run when the steps have kept them
 * waiting for 10 ms, which a chain of operators that never wait for I/O would do for ever.
 */
export function createBreather(): () => Promise<void> {
  let lastTurn = performance.now();
  return async () => {
    if (performance.now() - lastTurn < maxTurnMs) return;
    await nextTurn();
    lastTurn = performance.now();
  };
}
