import { baselineOf, limitOf } from "./names.ts";

/** What was measured of one benchmark. */
export interface Samples {
  readonly name: string;
  /** Of each repetition: seconds a run. */
  readonly seconds: readonly number[];
  /** What one run works on; 0 where the word has no meaning. */
  readonly frames: number;
  readonly events: number;
  readonly bytes: number;
}

/** One line of `--json`; null where it does not apply. */
export interface Figure {
  readonly name: string;
  /** By the median run, as the two after it. */
  readonly nsPerFrame: number | null;
  readonly eventsPerSecond: number | null;
  /** Of what the work reads; of what it writes, where it reads nothing to speak of. */
  readonly bytesPerSecond: number | null;
  /** Name of the figure that no such work can pass. */
  readonly limit: string | null;
  readonly ratioToLimit: number | null;
  /** How many times as fast as the plain way: naive, JavaScript, the scalar backend, or one message at a time. */
  readonly ratioToBaseline: number | null;
  /** By how much the median is above the best: 0.1 is 10 %. */
  readonly spread: number;
}

/** Spread from which a figure is marked as noisy. */
export const noisySpread = 0.1;

export const detectorFramesPerSecond = 87_000;

/** Joins what was measured of the same name in several rounds. */
export function joinRounds(rounds: readonly Samples[]): Samples[] {
  const joined = new Map<string, Samples>();
  for (const samples of rounds) {
    const before = joined.get(samples.name);
    joined.set(samples.name, { ...samples, seconds: [...(before?.seconds ?? []), ...samples.seconds] });
  }
  return [...joined.values()];
}

export function figuresOf(all: readonly Samples[]): Figure[] {
  const names = all.map(({ name }) => name);
  const byName = new Map(all.map((samples) => [samples.name, samples]));
  return all.map((samples) => {
    const { name, frames, events, bytes } = samples;
    const seconds = medianSeconds(samples);
    const rate = (amount: number) => (amount > 0 ? amount / seconds : null);
    const limit = byName.get(limitOf(name, names) ?? "");
    const baseline = byName.get(baselineOf(name, names) ?? "");
    return {
      name,
      nsPerFrame: frames > 0 ? (seconds * 1e9) / frames : null,
      eventsPerSecond: rate(events),
      bytesPerSecond: rate(bytes),
      limit: limit?.name ?? null,
      ratioToLimit:
        limit === undefined || bytes === 0 ? null : bytes / seconds / (limit.bytes / medianSeconds(limit)),
      ratioToBaseline: baseline === undefined ? null : medianSeconds(baseline) / seconds,
      spread: seconds / Math.min(...samples.seconds) - 1,
    };
  });
}

export function medianSeconds({ seconds }: Samples): number {
  return [...seconds].sort((a, b) => a - b)[Math.floor(seconds.length / 2)]!;
}
