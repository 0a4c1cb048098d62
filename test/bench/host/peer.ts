// A sender or a sink in a process of its own, which does what its parent tells it: what stands before and behind the
// operators in a pipeline. Its sockets are those of the operators, so that as little as possible of the machine goes into it.
import { setTimeout as delay } from "node:timers/promises";
import { ZmqSocket } from "../../../src/host/zmq-socket.ts";
import { type Bytes, releaseParts, viewOf } from "../../../src/wire/bytes.ts";
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

const senders = new Map<Route, ZmqSocket>();
const inboxes = new Map<Route, Inbox>();
let loaded: readonly Bytes[] = [];
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
      const socket = push();
      senders.set(command.route, socket);
      return socket.endpoint;
    }
    case "load":
      loaded = await outsideOfJavaScript(command.parts);
      return null;
    case "send":
      return send(senders.get(command.route)!, command);
    case "connect": {
      inboxes.set(command.route, new Inbox(pull(command.address), command.numbered));
      return null;
    }
    case "take":
      return inboxes.get(command.route)!.take(command);
  }
}

function push(): ZmqSocket {
  return new ZmqSocket("tcp://127.0.0.1:*", { pulls: false, highWaterMark: queueMessages, ipv6: false }, {});
}

function pull(address: string): ZmqSocket {
  return new ZmqSocket(address, { pulls: true, highWaterMark: queueMessages, ipv6: false }, {});
}

/** The same parts as they come from a socket: those are sent any number of times without a copy. */
async function outsideOfJavaScript(parts: readonly Uint8Array[]): Promise<readonly Bytes[]> {
  const output = push();
  const input = pull(output.endpoint);
  const [received] = await Promise.all([input.receive(), output.send(parts)]);
  input.close();
  output.close();
  return received!;
}

async function send(
  socket: ZmqSocket,
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
    while (!(await socket.send(parts)));
  }
  return Float64Array.from(sentAt);
}

async function sleepUntil(time: number): Promise<void> {
  const left = time - monotonicMs();
  if (left > 0) await delay(left);
}

/** The message with a number of its own. Its meta ends with the `current_batch_index`, a MessagePack uint32. */
function withNumber([header, meta, data]: readonly Bytes[], number: number): Bytes[] {
  const copy = Buffer.from(viewOf(meta!));
  copy.writeUInt32BE(number, copy.length - 4);
  return [header!, copy, data!];
}

/** Receives all the time and notes what came, without keeping it. */
class Inbox {
  #at: number[] = [];
  #numbers: number[] = [];
  #bytes = 0;
  #parts: readonly Bytes[] = [];
  #wake = () => {};
  readonly #numbered: boolean;

  constructor(socket: ZmqSocket, numbered: boolean) {
    this.#numbered = numbered;
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
      parts: withParts ? this.#parts.map((part) => viewOf(part)) : [],
    };
    this.#at = [];
    this.#numbers = [];
    this.#bytes = 0;
    return received;
  }

  async #receive(socket: ZmqSocket): Promise<void> {
    for (;;) {
      const parts = await socket.receive();
      if (parts === null) return;
      this.#at.push(monotonicMs());
      if (this.#numbered) this.#numbers.push(numberOf(parts));
      this.#bytes += parts.reduce((sum, part) => sum + part.byteLength, 0);
      releaseParts(this.#parts);
      this.#parts = parts;
      this.#wake();
    }
  }
}

/** The `current_batch_index` at the end of a partial result's meta. */
function numberOf([, meta]: readonly Bytes[]): number {
  const end = Buffer.from(viewOf(meta!).subarray(-40)).toString("latin1");
  return Number(/"current_batch_index":(\d+)\}$/.exec(end)?.[1] ?? Number.NaN);
}
