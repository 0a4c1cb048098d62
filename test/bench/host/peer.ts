// A sender or a sink with plain ZeroMQ sockets in a process of its own, which does what its parent tells it: what stands
// before and behind the operators in a pipeline.
import { setTimeout as delay } from "node:timers/promises";
import { Pull, Push } from "zeromq";
import {
  monotonicMs,
  type PeerCommand,
  type PeerReplies,
  queueMessages,
  type Received,
  type Route,
  type SendCommand,
  type TakeCommand,
} from "./protocol.ts";

const senders = new Map<Route, Push>();
const inboxes = new Map<Route, Inbox>();
let loaded: readonly Uint8Array[] = [];
let lastReply: Promise<void> = Promise.resolve();

process.on("message", (command: PeerCommand) => {
  lastReply = lastReply
    .then(() => obey(command))
    .then(
      (reply) => void process.send!({ reply }),
      (error: unknown) => void process.send!({ error: error instanceof Error ? error.stack : String(error) }),
    );
});
process.on("disconnect", () => process.exit());

async function obey(command: PeerCommand): Promise<PeerReplies[PeerCommand["do"]]> {
  switch (command.do) {
    case "listen": {
      const socket = new Push({ linger: 0, sendHighWaterMark: queueMessages });
      await socket.bind("tcp://127.0.0.1:*");
      senders.set(command.route, socket);
      return socket.lastEndpoint!;
    }
    case "load":
      loaded = command.parts;
      return null;
    case "send":
      return send(senders.get(command.route)!, command);
    case "connect": {
      const socket = new Pull({ linger: 0, receiveHighWaterMark: queueMessages });
      socket.connect(command.address);
      inboxes.set(command.route, new Inbox(socket));
      return null;
    }
    case "take":
      return inboxes.get(command.route)!.take(command);
  }
}

async function send(
  socket: Push,
  { seconds, messages, perSecond, numbered }: SendCommand,
): Promise<Float64Array> {
  const sentAt: number[] = [];
  const start = monotonicMs();
  const end = start + seconds * 1e3;
  while (sentAt.length < messages) {
    if (perSecond !== null) await sleepUntil(start + (sentAt.length * 1e3) / perSecond);
    const now = monotonicMs();
    if (now >= end) break;
    const parts = numbered ? withNumber(loaded, sentAt.length) : loaded;
    sentAt.push(now);
    await socket.send([...parts]);
  }
  return Float64Array.from(sentAt);
}

async function sleepUntil(time: number): Promise<void> {
  const left = time - monotonicMs();
  if (left > 0) await delay(left);
}

/** The message with a number of its own. Its meta ends with the `current_batch_index`, a MessagePack uint32. */
function withNumber([header, meta, data]: readonly Uint8Array[], number: number): Uint8Array[] {
  const copy = Buffer.from(meta!);
  copy.writeUInt32BE(number, copy.length - 4);
  return [header!, copy, data!];
}

/** Receives all the time and notes what came, without keeping it. */
class Inbox {
  #at: number[] = [];
  #numbers: number[] = [];
  #bytes = 0;
  #parts: readonly Uint8Array[] = [];
  #wake = () => {};

  constructor(socket: Pull) {
    void this.#receive(socket);
  }

  async take({ messages, withinMs, withParts }: TakeCommand): Promise<Received> {
    const deadline = delay(withinMs, "late" as const);
    while (this.#at.length < messages) {
      const more = new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
      if ((await Promise.race([more, deadline])) === "late") break;
    }
    const received = {
      at: Float64Array.from(this.#at),
      numbers: Float64Array.from(this.#numbers),
      bytes: this.#bytes,
      parts: withParts ? this.#parts : [],
    };
    this.#at = [];
    this.#numbers = [];
    this.#bytes = 0;
    return received;
  }

  async #receive(socket: Pull): Promise<void> {
    for await (const parts of socket) {
      this.#at.push(monotonicMs());
      this.#numbers.push(numberOf(parts));
      this.#bytes += parts.reduce((sum, part) => sum + part.length, 0);
      this.#parts = parts;
      this.#wake();
    }
  }
}

/** The `current_batch_index` at the end of a partial result's meta. */
function numberOf(parts: readonly Buffer[]): number {
  const end = parts[1]?.subarray(-40).toString("latin1") ?? "";
  return Number(/"current_batch_index":(\d+)\}$/.exec(end)?.[1] ?? Number.NaN);
}
