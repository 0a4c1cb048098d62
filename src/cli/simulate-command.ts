import type { SimulateOptions } from "../distiller/simulate.ts";
import { UsageError } from "../errors.ts";
import { formatCount, plural } from "./format.ts";
import { progressBar, type Screen, StatusLine } from "./status-line.ts";

export interface SimulateCommandOptions {
  readonly scan?: readonly [number, number];
  readonly frame?: readonly [number, number];
  readonly dose?: number;
  readonly seed?: number;
  readonly framesPerPosition?: number;
}

/** `stemline simulate`: writes a counted scan and its true centre of mass. Returns what to tell the user. */
export async function simulateCommand(
  path: string,
  { scan, frame, dose, seed, framesPerPosition }: SimulateCommandOptions,
  stderr: Screen,
): Promise<string> {
  // Loaded here: images without the 4D Camera utilities have the other commands.
  const { simulate } = await import("../distiller/simulate.ts");
  const statusLine = stderr.isTTY ? new StatusLine(stderr) : null;
  const options: SimulateOptions = {
    path,
    ...(scan !== undefined && { scanShape: scan }),
    ...(frame !== undefined && { frameShape: frame }),
    ...(dose !== undefined && { dose }),
    ...(seed !== undefined && { seed }),
    ...(framesPerPosition !== undefined && { framesPerPosition }),
    onProgress: (frames, total) =>
      statusLine?.draw(`${progressBar(frames / total)}${formatCount(frames)} of ${plural(total, "frame")}`),
  };
  try {
    const { frames, events, truthPath, parametersPath } = await simulate(options);
    statusLine?.clear();
    return [
      `${path}: ${plural(frames, "frame")}, ${plural(events, "event")}.`,
      `${truthPath}: true centre of mass and potential.`,
      `${parametersPath}: parameters.`,
    ].join("\n");
  } finally {
    statusLine?.clear();
  }
}

/** `RxC`, rows and columns. */
export function parseShape(option: string): (text: string) => readonly [number, number] {
  return (text) => {
    const match = /^(\d+)x(\d+)$/i.exec(text);
    const rows = Number(match?.[1]);
    const columns = Number(match?.[2]);
    if (rows > 0 && columns > 0) return [rows, columns];
    throw wrongOption(option, "rows and columns as in 128x256", text);
  };
}

export function parseNumber(option: string): (text: string) => number {
  return (text) => {
    const value = text.trim() === "" ? Number.NaN : Number(text);
    if (Number.isFinite(value)) return value;
    throw wrongOption(option, "a number", text);
  };
}

function wrongOption(option: string, expected: string, text: string): UsageError {
  return new UsageError(
    "STEMLINE_CLI_OPTION",
    `${option}: expected ${expected}, got ${JSON.stringify(text)}`,
  );
}
