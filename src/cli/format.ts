import type { OperatorFigures } from "../local/figures.ts";
import type { RunSummary } from "../local/runner.ts";

/** What NCEM's 4D Camera delivers, the rate that a live pipeline has to keep up with. */
export const detectorFramesPerSecond = 87_000;

const wholeNumber = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });

export function formatCount(value: number): string {
  return wholeNumber.format(value);
}

export function formatBytes(bytes: number): string {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let value = bytes;
  let unit = 0;
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${unit === 0 || value >= 100 ? value.toFixed(0) : value.toFixed(1)} ${units[unit]}`;
}

export function formatSeconds(seconds: number): string {
  if (seconds < 0.1) return `${(seconds * 1000).toFixed(1)} ms`;
  return seconds < 60
    ? `${seconds.toFixed(seconds < 10 ? 2 : 1)} s`
    : formatWholeSeconds(Math.round(seconds));
}

export function formatWholeSeconds(seconds: number): string {
  return seconds < 60 ? `${seconds} s` : `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
}

/** `1.3 x`, with as many digits as mean something. */
export function formatRatio(ratio: number): string {
  return `${ratio >= 100 ? formatCount(ratio) : ratio.toFixed(ratio >= 10 ? 1 : 2)} x`;
}

export function plural(count: number, one: string, many = `${one}s`): string {
  return `${formatCount(count)} ${count === 1 ? one : many}`;
}

/** Columns separated by two spaces; the first is aligned to the left, the others to the right. */
export function formatTable(rows: readonly (readonly string[])[]): string {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  const pad = (cell: string, column: number) =>
    column === 0 ? cell.padEnd(widths[column]!) : cell.padStart(widths[column]!);
  return rows.map((row) => row.map(pad).join("  ").trimEnd()).join("\n");
}

/** Frames that went into the pipeline: what its sources gave out, or else the most that any operator counted. */
export function framesDone(operators: readonly OperatorFigures[]): number {
  const fromSources = operators.filter(({ source }) => source).reduce((sum, { frames }) => sum + frames, 0);
  return fromSources > 0 ? fromSources : Math.max(0, ...operators.map(({ frames }) => frames));
}

export function framesExpected(operators: readonly OperatorFigures[]): number {
  return operators.reduce((sum, { expectedFrames }) => sum + expectedFrames, 0);
}

/** The last thing a run prints: a table of its operators, totals, losses and files. */
export function formatSummary(summary: RunSummary): string {
  const header = [
    "operator",
    "replicas",
    "in",
    "out",
    "bytes in",
    "bytes out",
    "frames",
    "busy",
    "frames/s",
    "detector",
  ];
  const rows = summary.operators.map((figures) => {
    const rate = figures.busySeconds > 0 ? figures.frames / figures.busySeconds : 0;
    return [
      figures.label,
      formatCount(figures.replicas),
      formatCount(figures.messagesIn),
      formatCount(figures.messagesOut),
      formatBytes(figures.bytesIn),
      formatBytes(figures.bytesOut),
      figures.frames === 0 ? "-" : formatCount(figures.frames),
      formatSeconds(figures.busySeconds),
      figures.frames === 0 ? "-" : formatCount(rate),
      figures.frames === 0 ? "-" : formatRatio(rate / detectorFramesPerSecond),
    ];
  });
  const lines = [formatTable([header, ...rows]), "", totalLine(summary), ...lossLines(summary.operators)];
  if (summary.files.length > 0) {
    lines.push(
      `${plural(summary.files.length, "file")} written:`,
      ...summary.files.map((file) => `  ${file}`),
    );
  }
  return lines.join("\n");
}

/** What a run says of one operator among its helpers, in a line or two. */
export function formatOperatorSummary(summary: RunSummary, index: number, out: string | undefined): string {
  const { label, messagesIn, messagesOut, frames, busySeconds } = summary.operators[index]!;
  const counted = frames === 0 ? "" : ` ${plural(frames, "frame")},`;
  const messages = `${plural(messagesIn, "message")} in, ${formatCount(messagesOut)} out`;
  const time = `${formatSeconds(busySeconds)} busy of ${formatSeconds(summary.elapsedSeconds)}`;
  const files = summary.files.length === 0 ? [] : [`${plural(summary.files.length, "file")} in ${out}.`];
  return [`${label}: ${messages},${counted} ${time}.`, ...lossLines(summary.operators), ...files].join("\n");
}

const outcomeText = {
  finished: "Finished",
  failed: "Failed",
  interrupted: "Interrupted",
  aborted: "Given up",
};

function totalLine({ outcome, elapsedSeconds, operators }: RunSummary): string {
  const frames = framesDone(operators);
  const elapsed = `${outcomeText[outcome]} after ${formatSeconds(elapsedSeconds)}`;
  if (frames === 0) return `${elapsed}.`;
  const rate = frames / elapsedSeconds;
  const ratio = formatRatio(rate / detectorFramesPerSecond);
  return `${elapsed}: ${plural(frames, "frame")}, ${formatCount(rate)} frames/s, ${ratio} the detector's ${formatCount(detectorFramesPerSecond)}.`;
}

function lossLines(operators: readonly OperatorFigures[]): string[] {
  return operators.flatMap(({ label, failures, discarded, droppedFrames, firstError }) => {
    const losses = [
      failures > 0 && `${plural(failures, "call")} failed`,
      discarded > 0 && `${plural(discarded, "message")} thrown away`,
      droppedFrames > 0 && `${plural(droppedFrames, "frame")} dropped`,
    ].filter((loss) => loss !== false);
    if (losses.length === 0) return [];
    return [`${label}: ${losses.join(", ")}${firstError === null ? "" : `; first error: ${firstError}`}`];
  });
}
