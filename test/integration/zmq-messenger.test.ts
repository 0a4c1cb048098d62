import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { networkInterfaces } from "node:os";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { afterEach, describe, expect, it } from "vitest";
import { Pull, Push, type Socket } from "zeromq";
import type { Messenger } from "../../src/host/messenger.ts";
import { createZmqMessenger, type ZmqMessengerOptions } from "../../src/host/zmq-messenger.ts";
import { connectAddress, parseAddress } from "../../src/wire/address.ts";
import { type Bytes, viewOf } from "../../src/wire/bytes.ts";

const loopback = "127.0.0.1";
const hasIpv6 = networkInterfaces().lo?.some(({ address }) => address === "::1") ?? false;

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

function createMessenger(options: Partial<ZmqMessengerOptions> = {}): Messenger {
  const messenger = createZmqMessenger({
    hostname: loopback,
    interface: loopback,
    queueMessages: 4,
    maxMessageBytes: 2 ** 30,
    ...options,
  });
  cleanups.push(() => messenger.close(0));
  return messenger;
}

/** A messenger with input ports that are connected to endpoints, one upstream port for each. */
function createReceiver(
  ports: Record<string, string[]>,
  options: Partial<ZmqMessengerOptions> = {},
): Messenger {
  const messenger = createMessenger(options);
  for (const [portId, endpoints] of Object.entries(ports)) {
    messenger.openInput(portId);
    for (const endpoint of endpoints) messenger.connect(portId, `upstream at ${endpoint}`, [endpoint]);
  }
  return messenger;
}

async function openOutput(messenger: Messenger, portId = "out"): Promise<string> {
  return connectAddress(parseAddress(await messenger.openOutput(portId)));
}

function textOf(part: Bytes | undefined): string {
  return new TextDecoder().decode(viewOf(part!));
}

interface RawPush {
  readonly socket: Push;
  readonly endpoint: string;
  /** Connections that were made and that ended, so far. */
  readonly seen: { accepted: number; ended: number };
}

/** What an upstream operator of another make looks like: a queue of 1000 messages. */
function rawPush(endpoint = `tcp://${loopback}:*`): RawPush {
  const socket = new Push({ linger: 0 });
  cleanups.push(() => socket.close());
  const seen = { accepted: 0, ended: 0 };
  socket.events.on("accept", () => {
    seen.accepted += 1;
  });
  socket.events.on("disconnect", () => {
    seen.ended += 1;
  });
  socket.bindSync(endpoint);
  return { socket, endpoint: socket.lastEndpoint!, seen };
}

function rawPull(endpoint: string): Pull {
  const socket = new Pull({ linger: 0, receiveHighWaterMark: 1 });
  cleanups.push(() => socket.close());
  socket.connect(endpoint);
  return socket;
}

/** Closes a socket; resolves when its address is free. */
function closed(socket: Socket): Promise<unknown> {
  const ended = new Promise((resolve) => socket.events.on("end", resolve));
  socket.close();
  return ended;
}

async function sendNumbers(socket: Push, from: number, count: number, padding = 0): Promise<void> {
  for (let number = from; number < from + count; number += 1) {
    await socket.send([String(number), Buffer.alloc(padding)]);
  }
}

/** Sends numbers from 0 on as fast as it can until the socket is closed. */
async function flood(socket: Push): Promise<void> {
  for (let number = 0; !socket.closed; number += 1) {
    await socket.send([String(number), Buffer.alloc(10_000)]).catch(() => {});
  }
}

/** Takes messages until `count` have come, or null. */
async function takeNumbers(messenger: Messenger, count = Number.POSITIVE_INFINITY): Promise<number[]> {
  const numbers: number[] = [];
  while (numbers.length < count) {
    const message = await messenger.receive();
    if (message === null) break;
    numbers.push(Number(textOf(message.parts[0])));
  }
  return numbers;
}

function range(from: number, to: number): number[] {
  return Array.from({ length: to - from }, (_, index) => from + index);
}

/**
 * Number of messages that a socket still gets from a sender that has closed. Another takes the sender's address and sends
 * the last one: how long the kernel takes to hand over the rest is its own affair.
 */
async function countRest(socket: Pull, endpoint: string): Promise<number> {
  // It waits until the rest was read, and the socket connects again.
  void rawPush(endpoint).socket.send(["the end"]);
  for (let count = 0; ; count += 1) {
    const [first] = await socket.receive();
    if (String(first) === "the end") return count;
  }
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await delay(5);
}

/** Sends until a message has to wait; returns how many were taken, the one that waits, and how it ended. */
async function fill(messenger: Messenger, lengthBytes: number) {
  let accepted = 0;
  for (;;) {
    const sending = messenger.send("out", [Buffer.from(String(accepted)), Buffer.alloc(lengthBytes)]).then(
      () => {
        accepted += 1;
        return "sent";
      },
      (error) => error.code as string,
    );
    if ((await Promise.race([sending, delay(500, "waits")])) === "waits") {
      return { accepted: () => accepted, last: sending };
    }
  }
}

function startChild(program: string, argument = ""): ChildProcess {
  const file = fileURLToPath(new URL("./support/zmq-child.ts", import.meta.url));
  const child = fork(file, [program, argument], {
    execArgv: ["--import", "tsx", "--expose-gc"],
    stdio: "inherit",
  });
  const ended = once(child, "exit");
  cleanups.push(() => {
    child.kill("SIGKILL");
    return ended;
  });
  return child;
}

function nextReport<T>(child: ChildProcess): Promise<T> {
  return new Promise((resolve, reject) => {
    const refuse = (code: number | null) =>
      reject(new Error(`the process ended with ${code} and did not report`));
    child.once("exit", refuse);
    child.once("message", (report) => {
      child.off("exit", refuse);
      resolve(report as T);
    });
  });
}

describe("messages", () => {
  it("carries two and three parts, empty ones and large ones, byte for byte", async () => {
    const sender = createMessenger();
    const receiver = createReceiver({ in: [await openOutput(sender)] });
    const large = new Uint8Array(10_000_003);
    for (let index = 0; index < large.length; index += 1) large[index] = (index * index) >>> 7;
    const messages = [
      [Buffer.from("header"), Buffer.from([1, 2, 3])],
      [Buffer.from("header"), new Uint8Array(0), large],
      [new Uint8Array(0), Buffer.from("last"), new Uint8Array(0)],
    ];
    for (const parts of messages) await sender.send("out", parts);
    for (const parts of messages) {
      const message = await receiver.receive();
      expect(message?.portId).toBe("in");
      expect(message?.parts.map((part) => part.byteLength)).toEqual(parts.map((part) => part.byteLength));
      for (const [index, part] of parts.entries())
        expect(Buffer.compare(viewOf(message!.parts[index]!), part)).toBe(0);
    }
  });

  it("sends the part of a larger buffer that a view shows", async () => {
    const sender = createMessenger();
    const receiver = createReceiver({ in: [await openOutput(sender)] });
    const whole = Uint8Array.from({ length: 1000 }, (_, index) => index);
    await sender.send("out", [whole.subarray(100, 103), whole.subarray(300, 700)]);
    const message = await receiver.receive();
    expect(message?.parts.map((part) => [...viewOf(part)])).toEqual([
      [100, 101, 102],
      [...whole.subarray(300, 700)],
    ]);
  });

  it("keeps output ports apart", async () => {
    const sender = createMessenger();
    const receiver = createReceiver({
      left: [await openOutput(sender, "to left")],
      right: [await openOutput(sender, "to right")],
    });
    await sender.send("to right", [Buffer.from("r")]);
    await sender.send("to left", [Buffer.from("l")]);
    const received = [await receiver.receive(), await receiver.receive()];
    const texts = received.map((message) => `${message?.portId} ${textOf(message?.parts[0])}`);
    expect(texts.sort()).toEqual(["left l", "right r"]);
  });

  it("stays whole while receivers come and go", async () => {
    const sender = createMessenger({ queueMessages: 1000 });
    const endpoint = await openOutput(sender);
    const parts = ["first", "second", "third"].map((text) => Buffer.from(text));
    let ended = false;
    const sending = (async () => {
      while (!ended) await sender.send("out", parts);
    })();
    for (let round = 0; round < 40; round += 1) {
      const socket = rawPull(endpoint);
      for (let count = 0; count < (round % 5) * 30; count += 1) {
        expect((await socket.receive()).map(String)).toEqual(["first", "second", "third"]);
      }
      socket.close();
    }
    ended = true;
    rawPull(endpoint);
    await sending;
  });
});

describe("addresses", () => {
  it("tells the name to connect to, the interface and the port", async () => {
    const messenger = createMessenger({ hostname: "localhost", interface: "lo" });
    const address = await messenger.openOutput("out");
    expect(address).toMatch(/^tcp:\/\/\?hostname=localhost&interface=lo&port=\d+$/);
    await messenger.openOutput("other");
    const receiver = createReceiver({ in: [connectAddress(parseAddress(address))] });
    await messenger.send("out", [Buffer.from("through lo")]);
    expect(textOf((await receiver.receive())?.parts[0])).toBe("through lo");
  });

  it.skipIf(!hasIpv6)("binds and connects to IPv6 addresses", async () => {
    const messenger = createMessenger({ hostname: "::1", interface: "::1" });
    const endpoint = await openOutput(messenger);
    expect(endpoint).toMatch(/^tcp:\/\/\[::1\]:\d+$/);
    const receiver = createReceiver({ in: [endpoint] });
    await messenger.send("out", [Buffer.from("six")]);
    expect(textOf((await receiver.receive())?.parts[0])).toBe("six");
  });

  it("refuses an interface that is not there", async () => {
    const messenger = createMessenger({ interface: "192.0.2.7" });
    await expect(messenger.openOutput("out")).rejects.toMatchObject({
      name: "HostError",
      code: "STEMLINE_PORT_BIND",
      message: expect.stringContaining("192.0.2.7"),
    });
    expect(await messenger.close(100)).toEqual({ unsentAtMost: 0 });
  });

  it("refuses an address that ZeroMQ cannot read", () => {
    const messenger = createReceiver({ in: [] });
    expect(() => messenger.connect("in", "upstream", ["tcp://nowhere"])).toThrow(
      expect.objectContaining({
        code: "STEMLINE_PORT_CONNECT",
        message: expect.stringContaining("tcp://nowhere"),
      }),
    );
  });
});

describe("turns", () => {
  it("are equal for input ports with unequal rates", async () => {
    const [fast, slow] = [rawPush(), rawPush()];
    const receiver = createReceiver({ fast: [fast.endpoint], slow: [slow.endpoint] });
    await sendNumbers(fast.socket, 0, 300, 1000);
    await sendNumbers(slow.socket, 0, 8, 1000);
    await delay(300);
    const ports: (string | undefined)[] = [];
    for (let count = 0; count < 16; count += 1) {
      ports.push((await receiver.receive())?.portId);
      // Until both have a message again.
      await delay(10);
    }
    expect(ports.filter((port) => port === "slow")).toHaveLength(8);
  });

  it("do not depend on how many upstream ports an input port has", async () => {
    const pushes = [rawPush(), rawPush(), rawPush(), rawPush()];
    const [single, ...several] = pushes;
    const receiver = createReceiver({
      single: [single!.endpoint],
      several: several.map(({ endpoint }) => endpoint),
    });
    for (const [index, { socket }] of pushes.entries()) await sendNumbers(socket, index * 1000, 100, 1000);
    await delay(300);
    const numbers: number[] = [];
    while (numbers.length < 24) {
      numbers.push(...(await takeNumbers(receiver, 1)));
      await delay(10);
    }
    const shares = pushes.map((_, index) => numbers.filter((number) => Math.floor(number / 1000) === index));
    expect(shares.map((share) => share.length)).toEqual([12, 4, 4, 4]);
  });
});

describe("connections of an input port", () => {
  it("are made once for an address, whoever wants it, and end when nobody does", async () => {
    const [first, second] = [rawPush(), rawPush()];
    const receiver = createReceiver({ in: [] });
    receiver.connect("in", "a", [first.endpoint]);
    receiver.connect("in", "a", [first.endpoint]);
    receiver.connect("in", "b", [first.endpoint]);
    await sendNumbers(first.socket, 0, 1);
    expect(await takeNumbers(receiver, 1)).toEqual([0]);
    receiver.connect("in", "a", [second.endpoint]);
    await sendNumbers(second.socket, 100, 1);
    expect(await takeNumbers(receiver, 1)).toEqual([100]);
    await delay(300);
    expect([first.seen, second.seen]).toEqual([
      { accepted: 1, ended: 0 },
      { accepted: 1, ended: 0 },
    ]);
    receiver.connect("in", "b", [second.endpoint]);
    await until(() => first.seen.ended === 1);
    await sendNumbers(second.socket, 200, 1);
    expect(await takeNumbers(receiver, 1)).toEqual([200]);
    expect(second.seen).toEqual({ accepted: 1, ended: 0 });
  });

  it("follow an upstream port to a new address without losing what had arrived from the old one", async () => {
    const [before, after] = [rawPush(), rawPush()];
    const receiver = createReceiver({ in: [] });
    receiver.connect("in", "a", [before.endpoint]);
    await sendNumbers(before.socket, 0, 5, 50_000);
    await delay(200);
    receiver.connect("in", "a", [after.endpoint]);
    await sendNumbers(after.socket, 100, 5, 50_000);
    await delay(300);
    expect(before.seen.ended).toBe(0);
    const numbers = await takeNumbers(receiver, 10);
    expect(numbers.filter((number) => number < 100)).toEqual(range(0, 5));
    expect(numbers.filter((number) => number >= 100)).toEqual(range(100, 105));
    await until(() => before.seen.ended === 1);
  });

  it("leave an old address in the end even if it never falls silent", async () => {
    const [before, after] = [rawPush(), rawPush()];
    const receiver = createReceiver({ in: [] });
    receiver.connect("in", "a", [before.endpoint]);
    void flood(before.socket);
    await takeNumbers(receiver, 50);
    receiver.connect("in", "a", [after.endpoint]);
    void flood(after.socket);
    while (before.seen.ended === 0) await receiver.receive();
    expect(await takeNumbers(receiver, 50)).toHaveLength(50);
    expect(after.seen).toEqual({ accepted: 1, ended: 0 });
  });

  it("stay if an upstream port returns to its old address at once", async () => {
    const [home, away] = [rawPush(), rawPush()];
    const receiver = createReceiver({ in: [] });
    receiver.connect("in", "a", [home.endpoint]);
    await sendNumbers(home.socket, 0, 1);
    await takeNumbers(receiver, 1);
    receiver.connect("in", "a", [away.endpoint]);
    receiver.connect("in", "a", [home.endpoint]);
    await until(() => away.seen.ended === 1);
    for (let number = 1; number < 20; number += 1) {
      await sendNumbers(home.socket, number, 1);
      expect(await takeNumbers(receiver, 1)).toEqual([number]);
    }
    expect(home.seen).toEqual({ accepted: 1, ended: 0 });
  });

  it("come back when an upstream process dies and another one takes its address", async () => {
    const events: string[] = [];
    const first = startChild("send-numbers", `tcp://${loopback}:*`);
    const endpoint = await nextReport<string>(first);
    const receiver = createReceiver(
      { in: [endpoint] },
      {
        observer: {
          connected: (port, address) => events.push(`${port} connected ${address === endpoint}`),
          disconnected: (port, address) => events.push(`${port} disconnected ${address === endpoint}`),
        },
      },
    );
    expect(await takeNumbers(receiver, 20)).toEqual(range(0, 20));
    first.kill("SIGKILL");
    await once(first, "exit");
    const second = startChild("send-numbers", endpoint);
    expect(await nextReport<string>(second)).toBe(endpoint);
    let expected = 20;
    let [number] = await takeNumbers(receiver, 1);
    for (; number === expected; [number] = await takeNumbers(receiver, 1)) expected += 1;
    expect(number).toBe(0);
    expect(await takeNumbers(receiver, 20)).toEqual(range(1, 21));
    expect(events).toEqual(["in connected true", "in disconnected true", "in connected true"]);
  });

  it("are opened only once when an upstream comes back", async () => {
    const first = rawPush();
    const receiver = createReceiver({ in: [first.endpoint] });
    await sendNumbers(first.socket, 3, 1);
    expect(await takeNumbers(receiver, 1)).toEqual([3]);
    await closed(first.socket);
    const second = rawPush(first.endpoint);
    await sendNumbers(second.socket, 4, 1);
    expect(await takeNumbers(receiver, 1)).toEqual([4]);
    await delay(1300);
    expect(second.seen).toEqual({ accepted: 1, ended: 0 });
  });

  it("refuse a part that is too large, and go on", async () => {
    const events: string[] = [];
    const [strict, other] = [rawPush(), rawPush()];
    const receiver = createReceiver(
      { in: [strict.endpoint], other: [other.endpoint] },
      {
        maxMessageBytes: 1000,
        observer: {
          connected: (port) => events.push(`${port} connected`),
          disconnected: (port) => events.push(`${port} disconnected`),
        },
      },
    );
    await until(() => events.length === 2);
    await sendNumbers(strict.socket, 0, 1, 1000);
    await sendNumbers(strict.socket, 1, 1, 1001);
    expect(await takeNumbers(receiver, 1)).toEqual([0]);
    await until(() => events.includes("in disconnected"));
    await sendNumbers(other.socket, 100, 1);
    expect(await takeNumbers(receiver, 1)).toEqual([100]);
    await sendNumbers(strict.socket, 2, 1, 1000);
    expect(await takeNumbers(receiver, 1)).toEqual([2]);
    expect(events.slice(2)).toEqual(["in disconnected", "in connected"]);
    expect([strict.seen.accepted, other.seen.accepted]).toEqual([2, 1]);
  });

  it("are not opened again and again while an upstream sends only parts that are too large", async () => {
    const { socket, endpoint, seen } = rawPush();
    createReceiver({ in: [endpoint] }, { maxMessageBytes: 1000 });
    void flood(socket);
    await until(() => seen.accepted === 2);
    await delay(500);
    expect(seen.accepted).toBe(2);
  });

  it("are opened again when something else had answered at the address", async () => {
    const stranger = new Pull({ linger: 0 });
    const refused = new Promise((resolve) => stranger.events.on("disconnect", resolve));
    stranger.bindSync(`tcp://${loopback}:*`);
    const endpoint = stranger.lastEndpoint!;
    const events: string[] = [];
    const receiver = createReceiver(
      { in: [endpoint] },
      {
        observer: {
          connected: () => events.push("connected"),
          disconnected: () => events.push("disconnected"),
        },
      },
    );
    await refused;
    await closed(stranger);
    await sendNumbers(rawPush(endpoint).socket, 5, 1);
    expect(await takeNumbers(receiver, 1)).toEqual([5]);
    await until(() => events.length > 0);
    expect(events).toEqual(["connected"]);
  });
});

describe("stopReceiving", () => {
  it("ends a receive that waits", async () => {
    const receiver = createReceiver({ in: [rawPush().endpoint], idle: [] });
    const waiting = receiver.receive();
    receiver.stopReceiving();
    expect(await waiting).toBeNull();
    expect(await receiver.receive()).toBeNull();
  });

  it("makes no connection any more", async () => {
    const { endpoint, seen } = rawPush();
    const receiver = createReceiver({ in: [] });
    receiver.stopReceiving();
    receiver.connect("in", "a", [endpoint]);
    expect(await receiver.receive()).toBeNull();
    await delay(100);
    expect(seen.accepted).toBe(0);
  });

  it("gives out everything that had arrived, from each port", async () => {
    const pushes = [rawPush(), rawPush(), rawPush()];
    const [a, b, c] = pushes.map(({ endpoint }) => endpoint);
    const receiver = createReceiver({ in: [a!, b!], other: [c!] });
    for (const [index, { socket }] of pushes.entries()) await sendNumbers(socket, index * 100, 6, 20_000);
    await delay(300);
    receiver.stopReceiving();
    const numbers = await takeNumbers(receiver);
    expect(numbers.sort((x, y) => x - y)).toEqual([...range(0, 6), ...range(100, 106), ...range(200, 206)]);
  });

  it("gives out small messages that ZeroMQ had read together", async () => {
    const { socket, endpoint } = rawPush();
    const receiver = createReceiver({ in: [endpoint] });
    await sendNumbers(socket, 0, 60, 90);
    await delay(300);
    receiver.stopReceiving();
    expect(await takeNumbers(receiver)).toEqual(range(0, 60));
  });

  it("gives out what had arrived to a slow reader, and waits for it", async () => {
    const { socket, endpoint } = rawPush();
    const receiver = createReceiver({ in: [endpoint] });
    await sendNumbers(socket, 0, 5, 20_000);
    await delay(300);
    receiver.stopReceiving();
    for (const number of range(0, 5)) {
      await delay(120);
      expect(await takeNumbers(receiver, 1)).toEqual([number]);
    }
    expect(await receiver.receive()).toBeNull();
  });

  it("ends although an upstream process sends for ever, with nothing left out in between", async () => {
    const child = startChild("send-numbers", `tcp://${loopback}:*`);
    const receiver = createReceiver({ in: [await nextReport<string>(child)] });
    const before = await takeNumbers(receiver, 500);
    await delay(200);
    receiver.stopReceiving();
    const numbers = [...before, ...(await takeNumbers(receiver))];
    expect(numbers).toEqual(range(0, numbers.length));
    // In this process were 6 messages (4 in the queue, one before and one after it) and a batch of 8 kB. What is given
    // out is worth 7 of 8 kB, that is 29 of 2 kB.
    expect(numbers.length).toBeGreaterThanOrEqual(500 + 6);
    expect(numbers.length).toBeLessThanOrEqual(500 + 29);
  });

  it("lets output ports send on", async () => {
    const messenger = createMessenger();
    const endpoint = await openOutput(messenger);
    messenger.stopReceiving();
    const receiver = createReceiver({ in: [endpoint] });
    await messenger.send("out", [Buffer.from("8")]);
    expect(await takeNumbers(receiver, 1)).toEqual([8]);
  });
});

describe("send", () => {
  it("waits while nobody is connected", async () => {
    const sender = createMessenger();
    const endpoint = await openOutput(sender);
    const { accepted, last } = await fill(sender, 10);
    expect([accepted(), sender.peers("out")]).toEqual([0, 0]);
    const receiver = createReceiver({ in: [endpoint] });
    expect(await takeNumbers(receiver, 1)).toEqual([0]);
    expect(await last).toBe("sent");
  });

  it("waits while the queue is full, and loses nothing", async () => {
    const sender = createMessenger();
    const receiver = createReceiver({ in: [await openOutput(sender)] });
    const { accepted, last } = await fill(sender, 1_000_000);
    const numbers = await takeNumbers(receiver, accepted() + 1);
    expect(numbers).toEqual(range(0, numbers.length));
    expect(await last).toBe("sent");
  });

  it("is refused when the port is closed while it waits, and afterwards", async () => {
    const sender = createMessenger();
    await openOutput(sender);
    const { last } = await fill(sender, 10);
    expect(await sender.close(1000)).toEqual({ unsentAtMost: 0 });
    expect(await last).toBe("STEMLINE_PORT_CLOSED");
    await expect(sender.send("out", [Buffer.from("late")])).rejects.toMatchObject({
      name: "HostError",
      code: "STEMLINE_PORT_CLOSED",
      message: expect.stringContaining("out"),
    });
  });

  it("knows how many peers there are", async () => {
    const events: string[] = [];
    const sender = createMessenger({
      observer: {
        connected: (port) => events.push(`${port} connected`),
        disconnected: (port) => events.push(`${port} disconnected`),
      },
    });
    const endpoint = await openOutput(sender);
    expect(sender.peers("out")).toBe(0);
    const first = rawPull(endpoint);
    rawPull(endpoint);
    await until(() => sender.peers("out") === 2);
    first.close();
    await until(() => sender.peers("out") === 1);
    expect(events).toEqual(["out connected", "out connected", "out disconnected"]);
  });
});

describe("close", () => {
  it("lets a slow reader have everything that was accepted", async () => {
    const sender = createMessenger();
    const endpoint = await openOutput(sender);
    await openOutput(sender, "unused");
    const socket = rawPull(endpoint);
    const { accepted, last } = await fill(sender, 1_000_000);
    const closing = sender.close(60_000);
    const outcome = await last;
    for (const number of range(0, accepted())) {
      expect(Number((await socket.receive())[0])).toBe(number);
      await delay(5);
    }
    expect(await closing).toEqual({ unsentAtMost: 0 });
    expect(outcome).toBe("STEMLINE_PORT_CLOSED");
    expect(await sender.close(0)).toEqual({ unsentAtMost: 0 });
  });

  it("gives up on a reader that does not read, and tells how many messages that may cost", async () => {
    const sender = createMessenger();
    const endpoint = await openOutput(sender);
    const socket = rawPull(endpoint);
    const { accepted } = await fill(sender, 1_000_000);
    const report = await sender.close(299.5);
    // 4 in the queue and one that is being sent.
    expect(report).toEqual({ unsentAtMost: 5 });
    const unsent = accepted() - (await countRest(socket, endpoint));
    expect(unsent).toBeGreaterThan(0);
    expect(unsent).toBeLessThanOrEqual(report.unsentAtMost);
  });

  it("counts the small messages that were to be sent together", async () => {
    const sender = createMessenger();
    const endpoint = await openOutput(sender);
    const socket = rawPull(endpoint);
    const { accepted } = await fill(sender, 700);
    const report = await sender.close(300);
    // 4 in the queue, one that is being sent, and 11 of 705 bytes or more that fit into 8 kB.
    expect(report).toEqual({ unsentAtMost: 16 });
    const unsent = accepted() - (await countRest(socket, endpoint));
    expect(unsent).toBeGreaterThan(0);
    expect(unsent).toBeLessThanOrEqual(report.unsentAtMost);
  });

  it("does not count more messages than there were", async () => {
    const sender = createMessenger({ queueMessages: 100 });
    rawPull(await openOutput(sender));
    // More than the kernel takes.
    const part = Buffer.alloc(20_000_000);
    for (let count = 0; count < 8; count += 1) await sender.send("out", [part]);
    expect(await sender.close(300)).toEqual({ unsentAtMost: 8 });
  });

  it("tells when a reader goes away before it has everything", async () => {
    const sender = createMessenger();
    const socket = rawPull(await openOutput(sender));
    await fill(sender, 1_000_000);
    const closing = sender.close(60_000);
    await delay(100);
    socket.close();
    expect(await closing).toEqual({ unsentAtMost: 5 });
  });

  it("ends a receive that waits, and leaves what has not been received", async () => {
    const { socket, endpoint } = rawPush();
    const receiver = createReceiver({ in: [endpoint] });
    const waiting = receiver.receive();
    await receiver.close(0);
    expect(await waiting).toBeNull();
    const other = createReceiver({ in: [endpoint] });
    await sendNumbers(socket, 0, 3);
    await delay(200);
    await other.close(0);
    expect(await other.receive()).toBeNull();
  });

  it("does not wait any more when it is given up", async () => {
    const sender = createMessenger();
    rawPull(await openOutput(sender));
    await fill(sender, 1_000_000);
    const giveUp = new AbortController();
    const closing = sender.close(60_000, giveUp.signal);
    giveUp.abort();
    expect(await closing).toEqual({ unsentAtMost: 5 });
  });

  it("does not wait if the time to flush is over already", async () => {
    const sender = createMessenger();
    rawPull(await openOutput(sender));
    await fill(sender, 1_000_000);
    expect(await sender.close(-20)).toEqual({ unsentAtMost: 5 });
  });

  it("opens no port any more", async () => {
    const messenger = createMessenger();
    await messenger.close(0);
    await expect(messenger.openOutput("late")).rejects.toMatchObject({ code: "STEMLINE_PORT_CLOSED" });
  });

  it("survives a reader that leaves in the moment in which it is given up", async () => {
    const child = startChild("close-soon");
    const socket = rawPull(await nextReport<string>(child));
    expect(await nextReport(child)).toBe("closing");
    const ended = once(child, "exit");
    // Held up beyond its time, the process learns of both at once.
    child.kill("SIGSTOP");
    await closed(socket);
    await delay(700);
    const report = nextReport(child);
    child.kill("SIGCONT");
    expect(await report).toEqual({ unsentAtMost: 3 });
    expect(await ended).toEqual([0, null]);
  });

  it("lets the process end, also with messages that nobody reads", async () => {
    const child = startChild("close-and-end", rawPush().endpoint);
    rawPull(await nextReport<string>(child));
    const ended = once(child, "exit");
    expect(await nextReport(child)).toEqual({ unsentAtMost: 3 });
    expect(await ended).toEqual([0, null]);
  });
});

describe("memory", () => {
  it("stays flat on both sides when large messages come faster than they are used", async () => {
    const sender = startChild("send-large");
    const receiver = startChild("receive-large", await nextReport<string>(sender));
    const grown = await Promise.all([nextReport<number>(sender), nextReport<number>(receiver)]);
    // 600 MB went through; some of it is there until it is collected.
    for (const bytes of grown) expect(bytes).toBeLessThan(300e6);
  });
});
