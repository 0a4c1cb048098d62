import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { createReporter, type Reporter } from "../../../src/cli/reporter.ts";
import { type MutableFigures, startFigures } from "../../../src/local/figures.ts";
import type { RunSummary } from "../../../src/local/runner.ts";

class Output {
  readonly isTTY: boolean;
  columns = 80;
  text = "";

  constructor(isTTY: boolean) {
    this.isTTY = isTTY;
  }

  write(text: string): boolean {
    this.text += text;
    return true;
  }
}

let stdout: Output;
let stderr: Output;
let source: MutableFigures;

const reporter = (terminal: boolean, options: { json?: boolean; debug?: boolean } = {}): Reporter => {
  stdout = new Output(false);
  stderr = new Output(terminal);
  return createReporter({ stdout, stderr, json: false, debug: false, ...options });
};

const advance = (to: Reporter, milliseconds: number, frames: number) => {
  vi.advanceTimersByTime(milliseconds);
  source.frames += frames;
  to.progress([source]);
};

const summary = (change: Partial<RunSummary> = {}): RunSummary => ({
  outcome: "finished",
  failure: null,
  elapsedSeconds: 2,
  operators: [source],
  files: [],
  ...change,
});

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["performance"] });
  source = startFigures("id", "Source", 1, true);
  source.expectedFrames = 1000;
});
afterEach(() => {
  vi.useRealTimers();
});

/** What a terminal shows after the text, line by line. */
function screen(text: string): string[] {
  return text.split("\n").map((line) => line.replaceAll("\u001b[K", "").split("\r").at(-1)!);
}

describe("on a terminal", () => {
  test("draws one line over and over, never as wide as the screen", () => {
    const shown = reporter(true);
    shown.progress([source]);
    advance(shown, 1000, 100);
    expect(screen(stderr.text)).toEqual([
      "[##----------------------] 100 of 1,000 frames (10%), 100 frames/s, 9 s left",
    ]);
    stderr.columns = 60;
    advance(shown, 1000, 100);
    expect(screen(stderr.text)).toEqual(["200 of 1,000 frames (20%), 100 frames/s, 8 s left"]);
    stderr.columns = 20;
    advance(shown, 1000, 800);
    expect(screen(stderr.text)).toEqual(["1,000 of 1,000 fram"]);
  });

  test("keeps warnings above the line and leaves nothing of it behind", () => {
    const shown = reporter(true);
    advance(shown, 100, 0);
    shown.warning({ operator: "Source", message: "lost", error: null });
    expect(screen(stderr.text)).toEqual(["warning: Source: lost", "[------------------------] 0 messages"]);
    shown.end(summary(), 0);
    expect(screen(stderr.text)).toEqual(["warning: Source: lost", ""]);
    expect(stdout.text).toMatch(/^operator .*\nSource .*\n\nFinished after 2\.00 s\.\n$/);
  });
});

describe("without a terminal", () => {
  test("prints a plain line every three seconds", () => {
    const shown = reporter(false);
    shown.progress([source]);
    for (let step = 0; step < 70; step += 1) advance(shown, 100, 10);
    expect(stderr.text).toBe(
      "300 of 1,000 frames (30%), 100 frames/s, 7 s left\n600 of 1,000 frames (60%), 100 frames/s, 4 s left\n",
    );
  });

  test("repeats the warnings of an operator three times at most", () => {
    const shown = reporter(false);
    for (let count = 0; count < 9; count += 1)
      shown.warning({ operator: "Source", message: `${count}`, error: null });
    shown.log({ level: "warn", operator: "Other", fields: { frames: 3n }, text: "dropped" });
    shown.log({ level: "info", operator: "Other", fields: {}, text: "not shown" });
    expect(stderr.text.split("\n")).toEqual([
      "warning: Source: 0",
      "warning: Source: 1",
      "warning: Source: 2",
      "Further warnings of Source are only counted.",
      'warn: Other: dropped {"frames":"3"}',
      "",
    ]);
  });

  test("says why a run failed", () => {
    const shown = reporter(false);
    const failure = { operator: "Source", reason: "failed 10 times in a row", error: new Error("no disk") };
    shown.end(summary({ outcome: "failed", failure }), 1);
    expect(stderr.text).toBe("error: Source failed 10 times in a row: no disk\n");
  });
});

test("for programs every line is JSON on standard output", () => {
  const shown = reporter(false, { json: true });
  shown.progress([source]);
  advance(shown, 1000, 250);
  shown.warning({ operator: "Source", message: "lost", error: new Error("lost") });
  shown.note("stopping");
  shown.end(summary({ failure: { operator: "Source", reason: "r", error: new Error("m") } }), 1);
  const events = stdout.text
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line));
  expect(events.map(({ event }) => event)).toEqual(["progress", "warning", "note", "summary"]);
  expect(events[0]).toMatchObject({
    frames: 250,
    expectedFrames: 1000,
    framesPerSecond: 250,
    secondsLeft: 3,
  });
  expect(events[3]).toMatchObject({
    exitCode: 1,
    frames: 250,
    failure: { operator: "Source", reason: "r", message: "m" },
  });
  expect(stderr.text).toBe("");
});
