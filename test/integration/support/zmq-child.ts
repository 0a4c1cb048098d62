import { setTimeout as delay } from "node:timers/promises";
import { Push } from "zeromq";
import { createZmqMessenger } from "../../../src/host/zmq-messenger.ts";
import { createBreather } from "../../../src/operator/event-loop.ts";
import { connectAddress, parseAddress } from "../../../src/wire/address.ts";

/** Programs, for a Node with --expose-gc, that zmq-messenger.test.ts runs in processes of their own: `zmq-child.ts <program> <argument>`. */
const programs: Record<string, (argument: string) => Promise<void>> = {
  /** Numbers its messages and sends them to the given endpoint as fast as it can, as a Python peer would. */
  async "send-numbers"(endpoint) {
    const socket = new Push({ linger: 0 });
    socket.bindSync(endpoint);
    process.send!(socket.lastEndpoint);
    for (let number = 0; ; number += 1) await socket.send([String(number), Buffer.alloc(2000, number)]);
  },

  /** Sends 150 messages of 4 MB, and reports by how much its memory grew. */
  async "send-large"() {
    const messenger = createZmqMessenger(options);
    process.send!(connectAddress(parseAddress(await messenger.openOutput("out"))));
    const grown = await watchMemory(async () => {
      for (let number = 0; number < 150; number += 1) {
        await messenger.send("out", [Buffer.alloc(4e6, number)]);
        await breathe();
      }
    });
    await messenger.close(30_000);
    process.send!(grown);
  },

  /** Receives such messages slowly, and reports by how much its memory grew. */
  async "receive-large"(endpoint) {
    const messenger = createZmqMessenger(options);
    messenger.openInput("in");
    messenger.connect("in", "upstream", [endpoint]);
    const grown = await watchMemory(async () => {
      for (let number = 0; number < 150; number += 1) {
        await messenger.receive();
        await delay(10);
      }
    });
    await messenger.close(0);
    process.send!(grown);
  },

  /** Has messages left and connections open when it closes, and nothing else to do. */
  async "close-and-end"(endpoint) {
    const messenger = createZmqMessenger(options);
    process.send!(connectAddress(parseAddress(await messenger.openOutput("out"))));
    messenger.openInput("in");
    messenger.connect("in", "upstream", [endpoint, "tcp://127.0.0.1:9"]);
    void messenger.receive();
    while (messenger.peers("out") === 0) await delay(5);
    const sending = (async () => {
      for (;;) await messenger.send("out", [Buffer.alloc(4e6)]);
    })().catch(() => {});
    await delay(500);
    process.send!(await messenger.close(200));
    await sending;
    process.disconnect();
  },

  /** Closes within half a second, with messages of two parts left; tells when it has begun, and what came of it. */
  async "close-soon"() {
    const messenger = createZmqMessenger(options);
    process.send!(connectAddress(parseAddress(await messenger.openOutput("out"))));
    while (messenger.peers("out") === 0) await delay(5);
    const sending = (async () => {
      for (;;) await messenger.send("out", [Buffer.alloc(4e6), Buffer.alloc(4e6)]);
    })().catch(() => {});
    await delay(500);
    const closing = messenger.close(500);
    await sending;
    process.send!("closing");
    process.send!(await closing);
    process.disconnect();
  },
};

const options = { hostname: "127.0.0.1", interface: "127.0.0.1", queueMessages: 2, maxMessageBytes: 2 ** 30 };

/**
 * As the engine does after each message: a queue that always has room, as a slow machine's has, would keep the event loop
 * from turning, and ZeroMQ gives buffers back in a turn.
 */
const breathe = createBreather();

/** How much more memory was needed at a time; garbage does not count. */
async function watchMemory(work: () => Promise<void>): Promise<number> {
  const before = process.memoryUsage.rss();
  let largest = before;
  const timer = setInterval(() => {
    globalThis.gc!();
    largest = Math.max(largest, process.memoryUsage.rss());
  }, 5);
  await work();
  clearInterval(timer);
  return largest - before;
}

const [, , program, argument] = process.argv;
await programs[program!]!(argument!);
