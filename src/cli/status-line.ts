import type { Writable } from "node:stream";

/** Where a command writes; `columns` is set for a terminal. */
export interface Screen extends Pick<Writable, "write"> {
  readonly isTTY?: boolean;
  readonly columns?: number;
}

/** One line at the bottom of a terminal that is drawn over and over. */
export class StatusLine {
  readonly #screen: Screen;
  #shown = "";

  constructor(screen: Screen) {
    this.#screen = screen;
  }

  /** Longest text that fits: one that fills the last column would wrap and could not be drawn over. */
  get width(): number {
    return Math.max(0, (this.#screen.columns || 80) - 1);
  }

  draw(text: string): void {
    const fitting = text.slice(0, this.width);
    if (fitting === this.#shown) return;
    this.#shown = fitting;
    this.#screen.write(`\r${fitting}\u001b[K`);
  }

  clear(): void {
    if (this.#shown === "") return;
    this.#shown = "";
    this.#screen.write("\r\u001b[K");
  }

  printAbove(line: string): void {
    const shown = this.#shown;
    this.clear();
    this.#screen.write(`${line}\n`);
    if (shown !== "") this.draw(shown);
  }
}

const barWidth = 24;

/** `[####----] `, or nothing when the end is not known. */
export function progressBar(fraction: number | null): string {
  if (fraction === null) return "";
  const filled = Math.round(fraction * barWidth);
  return `[${"#".repeat(filled)}${"-".repeat(barWidth - filled)}] `;
}
