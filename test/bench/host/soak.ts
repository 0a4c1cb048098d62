import { setTimeout as delay } from "node:timers/promises";
import { type Chain, withChain } from "./chain.ts";
import { arrivalMs, median, memory } from "./measure.ts";
import { makeBatch } from "./message.ts";
import type { Received } from "./protocol.ts";

/** Most that the operator's memory may grow once it has warmed up, as a share. */
const allowedGrowth = 0.05;

/** Part of the time at the start in which memory may grow. */
const warmUpShare = 0.2;
/** V8 gives its heap of old objects its size in about so many messages; waited for during 60 % of the time at most. */
const warmUpMessages = 3500;
const mostWarmUpShare = 0.6;

/**
 * V8 lets the space of its young objects grow to 48 MB as it sees fit, on a busy machine minutes after the start. Kept small,
 * what grows is ours.
 */
const smallYoungGeneration = { NODE_OPTIONS: "--max-semi-space-size=2" };

const eventsPerFrame = 100;
const eventBytes = 1e6;
const sampleMs = 1000;

export interface SoakReport {
  readonly seconds: number;
  /** Messages that the sender gave to its socket. */
  readonly sent: number;
  /** Messages that reached the sink. */
  readonly received: number;
  readonly framesPerSecond: number;
  /** Resident memory of the operator in MB (10^6 bytes): medians of the first and the last fifth after the warm-up. */
  readonly earlyMegabytes: number;
  readonly lateMegabytes: number;
  readonly peakMegabytes: number;
  /** What the operator says itself. */
  readonly counts: Readonly<Record<string, unknown>>;
  /** What was violated; empty if all is well. */
  readonly problems: readonly string[];
}

/**
 * Sends messages through center-of-mass-partial at full speed for a while. Each message has a number, which must come out
 * of the operator in its turn; the operator's resident memory must stay as it is.
 */
export function soak(seconds: number, progress: (text: string) => void = () => {}): Promise<SoakReport> {
  return withChain({ partials: 1, emitEvery: null, numbered: true, env: smallYoungGeneration }, (chain) =>
    soakChain(chain, seconds, progress),
  );
}

async function soakChain(
  chain: Chain,
  seconds: number,
  progress: (text: string) => void,
): Promise<SoakReport> {
  const { sender, sink } = chain;
  const operator = chain.operators[0]!;
  const batch = makeBatch(eventsPerFrame, eventBytes);
  await sender.ask({ do: "load", parts: batch.parts });
  const patienceMs = (seconds + 60) * 1e3;
  const route = "operators";
  const messages = Number.POSITIVE_INFINITY;
  const command = { do: "send", route, seconds, messages, perSecond: null, numbered: true } as const;
  const [sentAt, resident] = await Promise.all([
    sender.ask(command, patienceMs),
    sample(operator.child.pid!, seconds, progress),
  ]);
  const { peak } = memory(operator.child.pid!);
  const received = await sink.ask({
    do: "take",
    route,
    messages: sentAt.length,
    withinMs: arrivalMs,
    withParts: false,
  });
  const [end] = await chain.stop();
  const settled = resident.slice(warmUpSamples(resident.length, sentAt));
  const fifth = Math.ceil(settled.length / 5);
  const early = median(settled.slice(0, fifth));
  const late = median(settled.slice(-fifth));
  const { code, counts } = end!;
  return {
    seconds,
    sent: sentAt.length,
    received: received.at.length,
    framesPerSecond: (received.at.length * batch.frames * 1e3) / (received.at.at(-1)! - received.at[0]!),
    earlyMegabytes: early,
    lateMegabytes: late,
    peakMegabytes: peak,
    counts,
    problems: [
      ...orderProblems(received, sentAt.length),
      ...countProblems(counts, sentAt.length),
      ...(code === 0 ? [] : [`the operator ended with ${code}`]),
      ...(late <= early * (1 + allowedGrowth) ? [] : [growthText(early, late)]),
    ],
  };
}

/** Resident megabytes of a process, once a second. */
async function sample(pid: number, seconds: number, progress: (text: string) => void): Promise<number[]> {
  const samples: number[] = [];
  const end = performance.now() + seconds * 1e3;
  while (performance.now() < end) {
    await delay(sampleMs);
    samples.push(memory(pid).resident);
    if (samples.length % 30 === 0) progress(`${samples.length} s: ${samples.at(-1)!.toFixed(0)} MB`);
  }
  return samples;
}

function orderProblems({ numbers }: Received, sent: number): string[] {
  if (numbers.length !== sent) return [`${sent} messages were sent, ${numbers.length} came`];
  const wrong = numbers.findIndex((number, index) => number !== index);
  return wrong < 0 ? [] : [`message ${numbers[wrong]} came where ${wrong} was due`];
}

function countProblems(counts: SoakReport["counts"], sent: number): string[] {
  const expected = { received: sent, sent, rejected: 0, failed: 0, discarded: 0, unsentAtMost: 0 };
  return Object.entries(expected)
    .filter(([name, count]) => counts[name] !== count)
    .map(([name, count]) => `the operator says ${name} ${counts[name]}, expected ${count}`);
}

/** How many samples, one a second, belong to the warm-up. */
function warmUpSamples(samples: number, sentAt: Float64Array): number {
  const warmAt = sentAt[warmUpMessages] ?? Number.POSITIVE_INFINITY;
  const seconds = (warmAt - sentAt[0]!) / 1e3;
  return Math.floor(Math.min(Math.max(samples * warmUpShare, seconds), samples * mostWarmUpShare));
}

function growthText(early: number, late: number): string {
  const percent = (100 * (late / early - 1)).toFixed(1);
  return `memory grew by ${percent} %, from ${early.toFixed(0)} to ${late.toFixed(0)} MB; allowed are ${100 * allowedGrowth} %`;
}
