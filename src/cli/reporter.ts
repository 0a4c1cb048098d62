import { relative } from "node:path";
import { fileURLToPath } from "node:url";
import { errorText } from "../errors.ts";
import type { OperatorFigures } from "../local/figures.ts";
import type { LogEntry, RunObserver, RunSummary, RunWarning } from "../local/runner.ts";
import { formatCount, formatSummary, formatWholeSeconds, framesDone, framesExpected } from "./format.ts";
import { progressBar, type Screen, StatusLine } from "./status-line.ts";

/** Shows a run to whoever watches it: a person at a terminal, a log file, or a program. */
export interface Reporter extends RunObserver {
  progress(operators: readonly OperatorFigures[]): void;
  warning(warning: RunWarning): void;
  log(entry: LogEntry): void;
  /** Something about the run as a whole. */
  note(text: string): void;
  end(summary: RunSummary, exitCode: number): void;
}

export interface ReporterOptions {
  /** Takes results: the summary, or every event as JSON. */
  readonly stdout: Screen;
  /** Takes everything else. */
  readonly stderr: Screen;
  readonly json: boolean;
  /** Shows every log line and the stack of every error. */
  readonly debug: boolean;
  /** Shows log lines of level info as well, and all of them. */
  readonly info?: boolean;
  /** Folder of sources, whose line is named with an error that came from it. */
  readonly sources?: string;
  /** The text of the summary; default: a table of all operators. */
  readonly format?: (summary: RunSummary) => string;
}

export function createReporter(options: ReporterOptions): Reporter {
  if (options.json) return new JsonReporter(options);
  return new TextReporter(options, options.stderr.isTTY ? new StatusLine(options.stderr) : null);
}

const plainIntervalMs = 3000;
const jsonIntervalMs = 500;
const maxLinesPerOperator = 3;

class TextReporter implements Reporter {
  readonly #options: ReporterOptions;
  readonly #statusLine: StatusLine | null;
  readonly #pace = new Pace();
  readonly #linesOf = new Map<string, number>();
  readonly #plainLine = new Interval(plainIntervalMs);

  constructor(options: ReporterOptions, statusLine: StatusLine | null) {
    this.#options = options;
    this.#statusLine = statusLine;
  }

  progress(operators: readonly OperatorFigures[]): void {
    const state = this.#pace.measure(operators);
    if (this.#statusLine !== null) {
      const text = describe(state);
      const withBar = `${progressBar(state.fraction)}${text}`;
      this.#statusLine.draw(withBar.length <= this.#statusLine.width ? withBar : text);
      return;
    }
    if (this.#plainLine.due()) this.#print(describe(state));
  }

  warning({ operator, message, error }: RunWarning): void {
    const { debug, sources } = this.#options;
    const stack = debug && error instanceof Error ? `\n${error.stack}` : "";
    const place = sources === undefined ? "" : placeIn(sources, error);
    this.#printOf(operator, `warning: ${operator}: ${message}${place}${stack}`);
  }

  log({ level, operator, fields, text }: LogEntry): void {
    const info = level === "info" && (this.#options.info ?? false);
    if (!this.#options.debug && !info && level !== "warn" && level !== "error") return;
    const details = Object.keys(fields).length === 0 ? "" : ` ${JSON.stringify(fields, jsonText)}`;
    const line = `${level}: ${operator}: ${text}${details}`;
    if (info) this.#print(line);
    else this.#printOf(operator, line);
  }

  note(text: string): void {
    this.#print(text);
  }

  end(summary: RunSummary): void {
    this.#statusLine?.clear();
    this.#options.stdout.write(`${(this.#options.format ?? formatSummary)(summary)}\n`);
    if (summary.failure === null) return;
    const { operator, reason, error } = summary.failure;
    const text = errorText(error);
    this.#print(`error: ${operator} ${reason}: ${text}`);
  }

  /** The first lines of an operator; the rest would only repeat them, and the summary has the number. */
  #printOf(operator: string, line: string): void {
    const count = (this.#linesOf.get(operator) ?? 0) + 1;
    this.#linesOf.set(operator, count);
    if (this.#options.debug || count <= maxLinesPerOperator) this.#print(line);
    else if (count === maxLinesPerOperator + 1)
      this.#print(`Further warnings of ${operator} are only counted.`);
  }

  #print(line: string): void {
    if (this.#statusLine !== null) this.#statusLine.printAbove(line);
    else this.#options.stderr.write(`${line}\n`);
  }
}

/** ` (run.ts:14:9)`: the innermost line in a file of the folder that led to the error; empty if there is none. */
function placeIn(folder: string, error: unknown): string {
  const frames = error instanceof Error ? (error.stack ?? "").split("\n") : [];
  for (const frame of frames) {
    const [, url, position] = /\(?((?:file:\/\/)?\/[^()?]*)(?:\?[^()]*)?:(\d+:\d+)\)?$/.exec(frame) ?? [];
    if (url === undefined) continue;
    const path = relative(folder, url.startsWith("file:") ? fileURLToPath(url) : url);
    if (!path.startsWith("..") && !path.includes("node_modules")) return ` (${path}:${position})`;
  }
  return "";
}

class JsonReporter implements Reporter {
  readonly #options: ReporterOptions;
  readonly #pace = new Pace();
  readonly #progressEvent = new Interval(jsonIntervalMs);

  constructor(options: ReporterOptions) {
    this.#options = options;
  }

  progress(operators: readonly OperatorFigures[]): void {
    const state = this.#pace.measure(operators);
    if (!this.#progressEvent.due()) return;
    const { frames, expectedFrames, framesPerSecond, secondsLeft } = state;
    this.#write({ event: "progress", frames, expectedFrames, framesPerSecond, secondsLeft, operators });
  }

  warning({ operator, message }: RunWarning): void {
    this.#write({ event: "warning", operator, message });
  }

  log({ level, operator, fields, text }: LogEntry): void {
    if (this.#options.debug || level === "warn" || level === "error") {
      this.#write({ event: "log", level, operator, message: text, fields });
    }
  }

  note(message: string): void {
    this.#write({ event: "note", message });
  }

  end({ failure, ...summary }: RunSummary, exitCode: number): void {
    const frames = framesDone(summary.operators);
    const text = errorText(failure?.error);
    this.#write({
      event: "summary",
      exitCode,
      ...summary,
      failure:
        failure === null ? null : { operator: failure.operator, reason: failure.reason, message: text },
      frames,
      framesPerSecond: frames / summary.elapsedSeconds,
    });
  }

  #write(event: object): void {
    this.#options.stdout.write(`${JSON.stringify(event, jsonText)}\n`);
  }
}

function jsonText(_key: string, value: unknown): unknown {
  if (typeof value === "bigint") return value.toString();
  return value instanceof Error ? value.message : value;
}

interface Progress {
  readonly frames: number;
  readonly expectedFrames: number | null;
  readonly messages: number;
  /** Since progress was first shown. */
  readonly framesPerSecond: number;
  readonly fraction: number | null;
  readonly secondsLeft: number | null;
}

/** Says once in a while that it is time; the first time is one interval after the first question. */
class Interval {
  readonly #milliseconds: number;
  #last: number | null = null;

  constructor(milliseconds: number) {
    this.#milliseconds = milliseconds;
  }

  due(): boolean {
    const now = performance.now();
    this.#last ??= now;
    if (now - this.#last < this.#milliseconds) return false;
    this.#last = now;
    return true;
  }
}

/** Turns running totals into rates. */
class Pace {
  #start: { readonly time: number; readonly frames: number } | null = null;

  measure(operators: readonly OperatorFigures[]): Progress {
    const frames = framesDone(operators);
    const expected = framesExpected(operators);
    const time = performance.now();
    this.#start ??= { time, frames };
    const seconds = (time - this.#start.time) / 1000;
    const framesPerSecond = seconds > 0 ? (frames - this.#start.frames) / seconds : 0;
    const known = expected > 0;
    return {
      frames,
      expectedFrames: known ? expected : null,
      messages: operators.reduce((sum, { messagesOut }) => sum + messagesOut, 0),
      framesPerSecond,
      fraction: known ? Math.min(1, frames / expected) : null,
      secondsLeft: known && framesPerSecond > 0 ? Math.max(0, expected - frames) / framesPerSecond : null,
    };
  }
}

function describe({
  frames,
  expectedFrames,
  messages,
  framesPerSecond,
  fraction,
  secondsLeft,
}: Progress): string {
  if (frames === 0) return `${formatCount(messages)} messages`;
  const total = expectedFrames === null ? "" : ` of ${formatCount(expectedFrames)}`;
  const percent = fraction === null ? "" : ` (${Math.floor(fraction * 100)}%)`;
  const left =
    secondsLeft === null || fraction === 1 ? "" : `, ${formatWholeSeconds(Math.ceil(secondsLeft))} left`;
  return `${formatCount(frames)}${total} frames${percent}, ${formatCount(framesPerSecond)} frames/s${left}`;
}
