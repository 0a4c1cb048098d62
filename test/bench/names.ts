/**
 * Names of benchmarks: OPERATION/VARIANT/WHO/AXIS/... WHO is left out where only we do it one way. What has the same name
 * but for WHO does the same work on the same input, and is compared.
 */

/** Limits that can be measured on the same bytes, what is compared with, and our own ways. */
const whos = [
  ...["stream", "memcpy", "direct", "naive", "javascript", "numpy"],
  ...["node", "scalar", "avx2", "avx512", "neon"],
] as const;
export type Who = (typeof whos)[number];

const limitWhos: readonly Who[] = ["stream", "memcpy", "direct"];
const baselineWhos: readonly Who[] = ["naive", "javascript", "scalar"];

/** Limits of operations whose own bytes are not measured alone: messages of this size lie in the L3 at best. */
const levelLimits: Readonly<Record<string, string>> = {
  analysis: "limit/stream/l3",
  crc: "limit/stream/l3",
  decode: "limit/stream/l3",
  encode: "limit/memcpy/l3",
  partial: "limit/stream/l3",
  reduce: "limit/stream/l3",
  shape: "limit/stream/l3",
  small: "limit/stream/l3",
};

/** Left out unless asked for: they take long. */
const onlyWhenAsked = ["shape", "host"];

const twoThreads = "/threads:2";

export function operationOf(name: string): string {
  return name.split("/")[0]!;
}

/** Who does it; null where that is not in the name, and for the machine's limits. */
export function whoOf(name: string): Who | null {
  if (operationOf(name) === "limit") return null;
  return whos.find((who) => name.split("/").includes(who)) ?? null;
}

/** The work: the name without WHO. */
export function workOf(name: string): string {
  const who = whoOf(name);
  return name
    .split("/")
    .filter((part) => part !== who)
    .join("/");
}

/** Name of the limit that a figure is compared with, of those that were measured. */
export function limitOf(name: string, measured: readonly string[]): string | null {
  if (operationOf(name) === "limit") return null;
  const same = companion(name, limitWhos, measured);
  if (same !== null) return same;
  const limit = levelLimits[operationOf(name)];
  return limit !== undefined && measured.includes(limit) ? limit : null;
}

/** Name of the plain way of doing the same; of two messages at once, one after the other. */
export function baselineOf(name: string, measured: readonly string[]): string | null {
  if (operationOf(name) === "limit") return null;
  const one = name.endsWith(twoThreads) ? name.slice(0, -twoThreads.length) : null;
  if (one !== null) return measured.includes(one) ? one : null;
  return companion(name, baselineWhos, measured);
}

/**
 * The names that match, with the limits and baselines that they are compared with. Without a filter, all but the shapes and
 * the operator processes.
 */
export function choose(all: readonly string[], filter: RegExp | null, everything: boolean): string[] {
  const matching = all.filter((name) =>
    filter === null ? everything || !onlyWhenAsked.includes(operationOf(name)) : filter.test(name),
  );
  const chosen = new Set(matching);
  for (const name of matching) {
    for (const other of [limitOf(name, all), baselineOf(name, all)]) if (other !== null) chosen.add(other);
  }
  return all.filter((name) => chosen.has(name) || operationOf(name) === "limit");
}

function companion(name: string, candidates: readonly Who[], measured: readonly string[]): string | null {
  const work = workOf(name);
  for (const who of candidates) {
    const found = measured.find((other) => whoOf(other) === who && workOf(other) === work);
    if (found !== undefined) return found;
  }
  return null;
}
