// What one operator's process, and a short pipeline, takes in and gives out, beside the same sender and sink with nothing
// between them. See docs/benchmarks.md, "Operator process". Linux only.
import { loadavg } from "node:os";
import { parseArgs } from "node:util";
import { ComReducer, centerOfMassPartial } from "../../../src/distiller/index.ts";
import buildIfStale from "../../global-setup.ts";
import { detectorFramesPerSecond, figuresOf, noisySpread, type Samples } from "../figures.ts";
import { type Case, cases, directName } from "./cases.ts";
import { type Chain, withChain } from "./chain.ts";
import {
  arrivalMs,
  type Load,
  type Memory,
  measure,
  median,
  memory,
  type Passage,
  quantile,
  sendSome,
} from "./measure.ts";
import { type BatchMessage, makeBatch } from "./message.ts";

const usage = `npm run bench:host -- [--quick] [--json] [--seconds S] [--filter REGEX]
  --quick         one round of one second
  --json          a line for each figure
  --seconds S     measuring time of each figure, default 4
  --filter REGEX  only cases whose name matches: host/partial/EVENTS/SIZE, host/pipeline/EVENTS/SIZE`;

const pacedShare = 0.5;

interface Figures {
  /** Median of the rounds. */
  readonly framesPerSecond: number;
  /** Input bytes, header included. */
  readonly megabytesPerSecond: number;
  /** By how much the best round is above the median, as a share. */
  readonly spread: number;
  /** Processor seconds a second, median of the rounds. */
  readonly cpu: Passage["cpu"];
  readonly latencyMs: Latency | null;
}

interface Latency {
  readonly p50: number;
  readonly p99: number;
}

interface Result {
  readonly name: string;
  /** Through the operators, and directly. */
  readonly samples: readonly Samples[];
  readonly framesPerMessage: number;
  readonly bytesIn: number;
  readonly bytesOut: number;
  readonly direct: Figures;
  readonly operators: Figures;
  /** Rate through the operators, as a share of the rate without. */
  readonly ratio: number;
  readonly timesDetector: number;
  /** At half of the rate through the operators; null for a pipeline. */
  readonly paced: (Latency & { readonly messagesPerSecond: number }) | null;
  /** Of the operators together: after the first reply, after the last, and the most at any time. */
  readonly residentMegabytes: { readonly start: number; readonly end: number; readonly peak: number };
  readonly loadAverage: number;
}

const settings = readSettings();
buildIfStale();
const results: Result[] = [];
for (const chosen of cases.filter(({ name }) => settings.filter.test(name))) {
  const result = await withChain({ ...chosen, numbered: false }, (chain) => runCase(chain, chosen));
  results.push(result);
  if (settings.json) for (const figure of figuresOf(result.samples)) console.log(JSON.stringify(figure));
  else console.error(`${result.name}: done`);
}
if (!settings.json) printTables();
const noisy = results.filter(
  ({ direct, operators }) => Math.max(direct.spread, operators.spread) > noisySpread,
);
if (noisy.length > 0) {
  const names = noisy.map(({ name }) => name).join(", ");
  console.error(
    `Noisy, the best round is more than 10 % above the median (marked !): ${names}. Load average ${loadavg()[0]}.`,
  );
}

async function runCase(
  chain: Chain,
  { eventsPerFrame, eventMegabytes, name, emitEvery }: Case,
): Promise<Result> {
  const batch = makeBatch(eventsPerFrame, eventMegabytes * 1e6);
  const messagesPerReply = emitEvery ?? 1;
  await chain.sender.ask({ do: "load", parts: batch.parts });
  const bytesOut = await checkReply(chain, batch, messagesPerReply);
  const before = residents(chain);

  const rounds: { direct: Passage; operators: Passage }[] = [];
  const { seconds } = settings;
  const load = { seconds, perSecond: null, messagesPerReply } satisfies Partial<Load>;
  while (rounds.length < settings.rounds) {
    const direct = await measure(chain, { ...load, route: "direct", messagesPerReply: 1 });
    rounds.push({ direct, operators: await measure(chain, { ...load, route: "operators" }) });
  }
  const direct = figures(
    rounds.map((round) => round.direct),
    batch,
  );
  const operators = figures(
    rounds.map((round) => round.operators),
    batch,
  );
  const paced =
    emitEvery === null
      ? await measurePaced(chain, (pacedShare * operators.framesPerSecond) / batch.frames)
      : null;
  const after = residents(chain);
  await endChain(chain);
  const total = (which: keyof Memory, of: readonly Memory[]) =>
    of.reduce((sum, entry) => sum + entry[which], 0);
  const samplesOf = (passage: keyof (typeof rounds)[number]): Samples => ({
    name: passage === "direct" ? directName(name) : name,
    seconds: rounds.map((round) => 1 / round[passage].messagesPerSecond),
    ...{ frames: batch.frames, events: batch.data.length / 4, bytes: batch.bytes },
  });
  return {
    name,
    samples: [samplesOf("operators"), samplesOf("direct")],
    framesPerMessage: batch.frames,
    bytesIn: batch.bytes,
    bytesOut,
    direct,
    operators,
    ratio: operators.framesPerSecond / direct.framesPerSecond,
    timesDetector: operators.framesPerSecond / detectorFramesPerSecond,
    paced,
    residentMegabytes: {
      start: total("resident", before),
      end: total("resident", after),
      peak: total("peak", after),
    },
    loadAverage: loadavg()[0]!,
  };
}

/** The first reply must be, byte for byte, what this process computes. Returns its size. */
async function checkReply(chain: Chain, batch: BatchMessage, messagesPerReply: number): Promise<number> {
  await sendSome(chain, "operators", messagesPerReply);
  const { parts, bytes } = await chain.sink.ask({
    do: "take",
    route: "operators",
    messages: 1,
    withinMs: arrivalMs,
    withParts: true,
  });
  const partial = await centerOfMassPartial(batch);
  const expected = messagesPerReply === 1 ? partial : await reduced(partial, messagesPerReply);
  for (const [index, part] of [expected.meta, expected.data].entries()) {
    if (Buffer.compare(parts[index + 1]!, part) !== 0)
      throw new Error(`part ${index + 1} of the reply is wrong`);
  }
  return bytes;
}

async function reduced(partial: { meta: Uint8Array; data: Uint8Array }, messages: number) {
  const reducer = new ComReducer();
  for (let i = 1; i < messages; i++) await reducer.add(partial, { emitEvery: messages });
  const [emission] = await reducer.add(partial, { emitEvery: messages });
  return emission!;
}

function figures(rounds: readonly Passage[], { frames, bytes }: BatchMessage): Figures {
  const rates = rounds.map(({ messagesPerSecond }) => messagesPerSecond);
  const rate = median(rates);
  const cpu = (side: keyof Passage["cpu"]) => median(rounds.map((round) => round.cpu[side]));
  return {
    framesPerSecond: rate * frames,
    megabytesPerSecond: (rate * bytes) / 1e6,
    spread: Math.max(...rates) / rate - 1,
    cpu: { sender: cpu("sender"), operators: cpu("operators"), sink: cpu("sink") },
    latencyMs: latency(rounds.flatMap(({ latencies }) => latencies)),
  };
}

function latency(values: readonly number[]): Latency | null {
  if (values.length === 0) return null;
  const ascending = [...values].sort((a, b) => a - b);
  return { p50: quantile(ascending, 0.5), p99: quantile(ascending, 0.99) };
}

async function measurePaced(chain: Chain, perSecond: number): Promise<Result["paced"]> {
  const { seconds } = settings;
  const load = { route: "operators", seconds, perSecond, messagesPerReply: 1 } as const;
  const { latencies, messagesPerSecond } = await measure(chain, load);
  return { messagesPerSecond, ...latency(latencies)! };
}

function residents({ operators }: Chain): Memory[] {
  return operators.map(({ child }) => memory(child.pid!));
}

/** The operators must say themselves that they lost nothing. */
async function endChain(chain: Chain): Promise<void> {
  for (const { code, counts } of await chain.stop()) {
    const { rejected, failed, discarded, unsentAtMost } = counts;
    const lost = [rejected, failed, discarded, unsentAtMost].some((count) => count !== 0);
    if (code !== 0 || lost) throw new Error(`an operator ended with ${code} and ${JSON.stringify(counts)}`);
  }
}

function printTables(): void {
  print("Through the operators, as fast as they take messages", [
    ["case", "frames", "MB in", "MB out", "direct kframes/s", "MB/s", "spread"].concat([
      "operators kframes/s",
      "MB/s",
      "spread",
      "of direct",
      "x detector",
      "load",
    ]),
    ...results.map((result) => [
      result.name,
      String(result.framesPerMessage),
      (result.bytesIn / 1e6).toFixed(2),
      (result.bytesOut / 1e6).toFixed(2),
      ...rateCells(result.direct),
      ...rateCells(result.operators),
      `${(100 * result.ratio).toFixed(0)} %`,
      result.timesDetector.toFixed(1),
      result.loadAverage.toFixed(1),
    ]),
  ]);
  print("Processor seconds a second, of sender / operators / sink, and memory of the operators in MB", [
    ["case", "direct", "operators", "start", "end", "peak"],
    ...results.map(({ name, direct, operators, residentMegabytes: { start, end, peak } }) => [
      name,
      cpuCell(direct),
      cpuCell(operators),
      ...[start, end, peak].map((megabytes) => megabytes.toFixed(0)),
    ]),
  ]);
  print("Latency in ms, message in to message out", [
    ["case", "direct p50", "p99", "full load p50", "p99", "paced msg/s", "p50", "p99"],
    ...results
      .filter(({ paced }) => paced !== null)
      .map(({ name, direct, operators, paced }) => [
        name,
        ...latencyCells(direct.latencyMs),
        ...latencyCells(operators.latencyMs),
        paced!.messagesPerSecond.toFixed(0),
        ...latencyCells(paced),
      ]),
  ]);
}

function rateCells({ framesPerSecond, megabytesPerSecond, spread }: Figures): string[] {
  const mark = spread > noisySpread ? " !" : "";
  return [
    (framesPerSecond / 1e3).toFixed(0),
    megabytesPerSecond.toFixed(0),
    `${(100 * spread).toFixed(0)} %${mark}`,
  ];
}

function cpuCell({ cpu: { sender, operators, sink } }: Figures): string {
  return [sender, operators, sink].map((share) => share.toFixed(2)).join(" / ");
}

function latencyCells(values: Latency | null): string[] {
  return values === null ? ["", ""] : [values.p50.toFixed(1), values.p99.toFixed(1)];
}

function print(title: string, rows: readonly (readonly string[])[]): void {
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)));
  const lines = rows.map((row) => row.map((cell, column) => cell.padStart(widths[column]!)).join("  "));
  console.log(`\n${title}\n${lines.join("\n")}`);
}

function readSettings() {
  try {
    const { values } = parseArgs({
      options: {
        quick: { type: "boolean", default: false },
        json: { type: "boolean", default: false },
        seconds: { type: "string" },
        filter: { type: "string", default: "" },
        help: { type: "boolean", default: false },
      },
    });
    if (values.help) {
      console.log(usage);
      process.exit(0);
    }
    const { quick, json } = values;
    const filter = new RegExp(values.filter);
    const seconds = Number(values.seconds ?? (quick ? 1 : 4));
    if (!(seconds > 0)) throw new Error(`--seconds: expected a number above 0, got "${values.seconds}"`);
    if (!cases.some(({ name }) => filter.test(name))) throw new Error(`--filter: no case matches ${filter}`);
    return { json, filter, seconds, rounds: quick ? 1 : 3 };
  } catch (error) {
    console.error(`${error instanceof Error ? error.message : error}\n${usage}`);
    process.exit(1);
  }
}
