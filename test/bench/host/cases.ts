/** Chains of operators that are measured, and what is sent through them. */
export interface Case {
  /** host/CHAIN/EVENTS A FRAME/BYTES OF EVENTS IN A MESSAGE. */
  readonly name: string;
  readonly eventsPerFrame: number;
  /** Events in a message, in units of 10^6 bytes. */
  readonly eventMegabytes: number;
  readonly partials: number;
  /** Messages between two results of a reduce; null: no reduce. */
  readonly emitEvery: number | null;
}

export const cases: readonly Case[] = [
  ...[10, 100, 300].flatMap((eventsPerFrame) =>
    [1, 4].map((eventMegabytes) => ({
      ...{ name: `host/partial/${eventsPerFrame}/${eventMegabytes}MB`, eventsPerFrame, eventMegabytes },
      ...{ partials: 1, emitEvery: null },
    })),
  ),
  { name: "host/pipeline/10/1MB", eventsPerFrame: 10, eventMegabytes: 1, partials: 2, emitEvery: 5 },
];

/** Name of the same sender and sink with nothing between them. */
export function directName(name: string): string {
  return name.replace(/^host\/\w+/, "$&/direct");
}

export const hostNames: readonly string[] = cases.flatMap(({ name }) => [name, directName(name)]);
