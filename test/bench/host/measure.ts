import { readFileSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import type { Chain } from "./chain.ts";
import { monotonicMs, type Route } from "./protocol.ts";

/** Linux counts processor time in hundredths of a second. */
const ticksPerSecond = 100;

/** Sending goes on before and after the time that is measured. */
const warmUpSeconds = 1;
const overhangSeconds = 0.3;

/** How long after the last message was sent its reply may come. */
export const arrivalMs = 20_000;

export interface Load {
  readonly route: Route;
  readonly seconds: number;
  /** Messages a second; null: as many as are taken. */
  readonly perSecond: number | null;
  /** Messages that lead to one reply. */
  readonly messagesPerReply: number;
}

/** What went through in a stretch of time. */
export interface Passage {
  readonly messagesPerSecond: number;
  /** From giving a message to the sender's socket to having its reply, in ms, ascending. Empty for operators that join. */
  readonly latencies: readonly number[];
  /** Processor seconds a second. */
  readonly cpu: ProcessorShares;
}

export interface ProcessorShares {
  readonly sender: number;
  readonly operators: number;
  readonly sink: number;
}

/** Sends for a while and looks at a stretch in the middle. Fails if a reply does not come. */
export async function measure(chain: Chain, load: Load): Promise<Passage> {
  const { sender, sink } = chain;
  const { route, perSecond, messagesPerReply } = load;
  const seconds = warmUpSeconds + load.seconds + overhangSeconds;
  const messages = Number.POSITIVE_INFINITY;
  const sending = sender.ask({ do: "send", route, seconds, messages, perSecond, numbered: false });
  const [sentAt, { from, to, cpu }] = await Promise.all([sending, watch(chain, load.seconds)]);
  const missing = (messagesPerReply - (sentAt.length % messagesPerReply)) % messagesPerReply;
  if (missing > 0) await sendSome(chain, route, missing);
  const replies = (sentAt.length + missing) / messagesPerReply;
  const { at } = await sink.ask({
    do: "take",
    route,
    messages: replies,
    withinMs: arrivalMs,
    withParts: false,
  });
  if (at.length !== replies) throw new Error(`${replies} replies expected, got ${at.length}`);

  const first = at.findIndex((time) => time >= from);
  const last = at.findLastIndex((time) => time <= to);
  if (last - first < 1) throw new Error(`too few replies in ${load.seconds} s to tell a rate`);
  // From reply to reply: a window that is cut in the middle of a message would count it whole or not at all.
  const messagesPerSecond = ((last - first) * messagesPerReply * 1e3) / (at[last]! - at[first]!);
  const latencies = messagesPerReply > 1 ? [] : Array.from(at, (time, i) => time - sentAt[i]!);
  return { messagesPerSecond, latencies: latencies.slice(first, last + 1).sort((a, b) => a - b), cpu };
}

/** Sends some messages as fast as they are taken. */
export async function sendSome({ sender }: Chain, route: Route, messages: number): Promise<void> {
  await sender.ask({ do: "send", route, seconds: 60, messages, perSecond: null, numbered: false });
}

/** Waits for the warm-up, then takes the processor time of a stretch, which is from `from` to `to` on the common clock. */
async function watch(
  { sender, operators, sink }: Chain,
  seconds: number,
): Promise<{ from: number; to: number; cpu: ProcessorShares }> {
  const used = () => ({
    sender: processorSeconds(sender.pid),
    operators: operators.reduce((sum, { child }) => sum + processorSeconds(child.pid!), 0),
    sink: processorSeconds(sink.pid),
  });
  await delay(warmUpSeconds * 1e3);
  const from = monotonicMs();
  const before = used();
  await delay(seconds * 1e3);
  const to = monotonicMs();
  const after = used();
  const share = (name: keyof ProcessorShares) => ((after[name] - before[name]) * 1e3) / (to - from);
  return { from, to, cpu: { sender: share("sender"), operators: share("operators"), sink: share("sink") } };
}

function processorSeconds(pid: number): number {
  // The name, in parentheses, may hold anything; the 14th and 15th fields are user and system time.
  const fields = readFileSync(`/proc/${pid}/stat`, "latin1")
    .replace(/^.*\) /s, "")
    .split(" ");
  return (Number(fields[11]) + Number(fields[12])) / ticksPerSecond;
}

export interface Memory {
  /** Resident megabytes (10^6 bytes) now, and the most so far. */
  readonly resident: number;
  readonly peak: number;
}

export function memory(pid: number): Memory {
  const text = readFileSync(`/proc/${pid}/status`, "latin1");
  const megabytes = (name: string) =>
    (Number(new RegExp(`^${name}:\\s+(\\d+) kB`, "m").exec(text)![1]) * 1024) / 1e6;
  return { resident: megabytes("VmRSS"), peak: megabytes("VmHWM") };
}

/** The value below which that share of ascending values lies. */
export function quantile(ascending: readonly number[], share: number): number {
  return ascending[Math.min(ascending.length - 1, Math.floor(ascending.length * share))]!;
}

export function median(values: readonly number[]): number {
  return quantile(
    [...values].sort((a, b) => a - b),
    0.5,
  );
}
