import { setTimeout as delay } from "node:timers/promises";

/** A function that is true at most once in that time. */
export function atMostEvery(intervalMs: number): () => boolean {
  let last = Number.NEGATIVE_INFINITY;
  return () => {
    const now = performance.now();
    if (now - last < intervalMs) return false;
    last = now;
    return true;
  };
}

/** Waits for `work`, but no longer than that, nor after `signal` was aborted; true if it was finished by then. */
export async function within(ms: number, work: Promise<unknown>, signal?: AbortSignal): Promise<boolean> {
  const timer = new AbortController();
  const signals = signal === undefined ? timer.signal : AbortSignal.any([timer.signal, signal]);
  try {
    return await Promise.race([
      work.then(() => true),
      delay(ms, false, { signal: signals }).catch(() => false),
    ]);
  } finally {
    timer.abort();
  }
}
