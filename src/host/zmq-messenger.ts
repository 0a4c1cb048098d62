import { setTimeout as delay, setImmediate as nextTurn } from "node:timers/promises";
import { errorText, HostError, StemlineError } from "../errors.ts";
import { bindAddress, formatAddress, type ZmqAddress } from "../wire/address.ts";
import type { Bytes } from "../wire/bytes.ts";
import type { CloseReport, Messenger, MessengerObserver, ReceivedParts } from "./messenger.ts";
import { ZmqSocket } from "./zmq-socket.ts";

export interface ZmqMessengerOptions {
  /** Name under which others reach this process. */
  readonly hostname: string;
  /** IP address or network interface that output ports are bound to. */
  readonly interface: string;
  /** Messages that may wait on each side of each connection. */
  readonly queueMessages: number;
  /** Largest part that is received; a connection that brings a larger one is closed, and opened again. */
  readonly maxMessageBytes: number;
  readonly observer?: MessengerObserver;
}

interface OutputPort {
  readonly id: string;
  readonly socket: ZmqSocket;
  peers: number;
  /** Peers that went away while the port was closing. */
  lostPeers: number;
  accepted: number;
  smallestBytes: number;
}

/** One connection of an input port. It has a socket of its own, so that its queue can be emptied before it is closed. */
interface Link {
  readonly address: string;
  readonly socket: ZmqSocket;
  /** Upstream ports that are to be reached at the address. */
  readonly upstreams: Set<string>;
  connected: boolean;
  /** The message that was taken from the socket and waits to be given out. */
  arrived: readonly Bytes[] | null;
  /** Messages given out so far. */
  given: number;
  /** What is still to be given out before the link is closed, in messages; null while it stays. */
  remaining: number | null;
}

interface InputPort {
  readonly id: string;
  /** The one served last comes last. */
  readonly links: Set<Link>;
}

/** ZeroMQ reads and writes small messages in batches of this size; what is in a batch is in no queue. */
const BATCH_BYTES = 8192;

/** An input is taken to be empty when nothing came out of it for so long. */
const QUIET_MS = 50;

/** Pause before a connection is opened again that ZeroMQ has given up. */
const REOPEN_MS = 1000;

/** What `close` allows for beyond its limit until ZeroMQ has reported. */
const CLOSE_GRACE_MS = 250;

/** The data plane of an interactEM pipeline: PUSH sockets that bind, PULL sockets that connect. */
export function createZmqMessenger(options: ZmqMessengerOptions): Messenger {
  const { hostname, queueMessages, observer } = options;
  const inputs = new Map<string, InputPort>();
  const outputs = new Map<string, OutputPort>();
  let stopped = false;
  let closing: Promise<CloseReport> | null = null;
  let wakeReceiver = () => {};

  function openLink(port: InputPort, address: string): Link {
    let givenUp = false;
    const socket = attempt(
      "STEMLINE_PORT_CONNECT",
      `input port ${port.id} cannot connect to ${address}`,
      () => {
        return new ZmqSocket(
          address,
          {
            pulls: true,
            highWaterMark: queueMessages,
            maxMessageBytes: options.maxMessageBytes,
            // Only where needed: with it, ZeroMQ leaves out the IPv4 addresses of a name that has both kinds.
            ipv6: address.includes("["),
          },
          {
            connected() {
              link.connected = true;
              observer?.connected?.(port.id, address);
            },
            retried() {
              givenUp = false;
            },
            async disconnected() {
              if (link.connected) observer?.disconnected?.(port.id, address, 0);
              link.connected = false;
              // ZeroMQ connects again by itself, and says so at once, unless the other side broke the protocol or a limit.
              givenUp = true;
              await delay(REOPEN_MS, undefined, { ref: false });
              await nextTurn();
              if (!givenUp || socket.closed) return;
              givenUp = false;
              socket.connectAgain(address);
            },
          },
        );
      },
    );
    const link: Link = {
      address,
      socket,
      upstreams: new Set(),
      connected: false,
      arrived: null,
      given: 0,
      remaining: null,
    };
    port.links.add(link);
    void request(port, link);
    return link;
  }

  /** Asks a link for its next message. */
  async function request(port: InputPort, link: Link): Promise<void> {
    const parts = await link.socket.receive();
    if (parts === null) port.links.delete(link);
    else link.arrived = parts;
    wakeReceiver();
  }

  /** The message that waits in the port, and of that in the link, that was not served for longest. */
  function takeNext(): ReceivedParts | null {
    for (const port of inputs.values()) {
      for (const link of port.links) if (link.arrived !== null) return take(port, link, link.arrived);
    }
    return null;
  }

  function take(port: InputPort, link: Link, parts: readonly Bytes[]): ReceivedParts {
    inputs.delete(port.id);
    inputs.set(port.id, port);
    port.links.delete(link);
    link.arrived = null;
    link.given += 1;
    if (link.remaining !== null) {
      link.remaining -= Math.min(1, wireBytes(parts) / BATCH_BYTES);
      if (link.remaining <= 0) link.socket.close();
    }
    if (!link.socket.closed) {
      port.links.add(link);
      void request(port, link);
    }
    return { portId: port.id, parts };
  }

  /** Closes a link as soon as everything that is in it now was given out. */
  async function drain(link: Link): Promise<void> {
    if (link.remaining !== null) return;
    // The queue, a message that was read and found no place in it, the one in `arrived`, and what is in the batch. They
    // come out in order, so that later ones, which a fast upstream may send for ever, can be left.
    link.remaining = queueMessages + 3;
    while (link.remaining !== null && !link.socket.closed) {
      const { given } = link;
      await delay(QUIET_MS);
      // If the event loop was held up, it has yet to see what is there.
      await nextTurn();
      await nextTurn();
      if (link.remaining !== null && link.arrived === null && link.given === given) link.socket.close();
    }
  }

  function allLinks(): Link[] {
    return [...inputs.values()].flatMap((port) => [...port.links]);
  }

  function bindOutput(id: string, address: ZmqAddress): OutputPort {
    const endpoint = bindAddress(address);
    const socket = attempt("STEMLINE_PORT_BIND", `output port ${id} cannot be bound to ${endpoint}`, () => {
      return new ZmqSocket(
        endpoint,
        { pulls: false, highWaterMark: queueMessages, ipv6: endpoint.includes("[") },
        {
          accepted(peer) {
            port.peers += 1;
            observer?.connected?.(id, peer);
          },
          disconnected(peer) {
            port.peers -= 1;
            if (closing !== null) port.lostPeers += 1;
            observer?.disconnected?.(id, peer, queuedAtMost(port, 1));
          },
        },
      );
    });
    const port: OutputPort = {
      id,
      socket,
      peers: 0,
      lostPeers: 0,
      accepted: 0,
      smallestBytes: Number.POSITIVE_INFINITY,
    };
    return port;
  }

  async function closeAll(flushMs: number, giveUp: AbortSignal | undefined): Promise<CloseReport> {
    stopped = true;
    for (const link of allLinks()) link.socket.close();
    for (const port of inputs.values()) port.links.clear();
    wakeReceiver();
    const unsent = await Promise.all([...outputs.values()].map((port) => flush(port, flushMs, giveUp)));
    return { unsentAtMost: unsent.reduce((sum, count) => sum + count, 0) };
  }

  /** Closes an output port. Resolves to an upper bound for its messages that have not left. */
  async function flush(port: OutputPort, flushMs: number, giveUp: AbortSignal | undefined): Promise<number> {
    const deadline = performance.now() + flushMs;
    // A negative one would be for ever.
    port.socket.close(Math.max(0, Math.ceil(flushMs)));
    // ZeroMQ ends a closed socket when its messages are with the kernel, or at the deadline without saying which.
    const ended = port.socket.ended.then(() => performance.now() < deadline);
    const patience = delay(flushMs + CLOSE_GRACE_MS, false, {
      ref: false,
      ...(giveUp && { signal: giveUp }),
    });
    const flushed = await Promise.race([ended, patience.catch(() => false)]);
    return queuedAtMost(port, port.lostPeers + (flushed ? 0 : port.peers));
  }

  /** Upper bound for the messages that a port had accepted and that were still with ZeroMQ, in its queues for so many peers. */
  function queuedAtMost({ accepted, smallestBytes }: OutputPort, peers: number): number {
    // The queue, one message that is being sent, and what is in the batch.
    return Math.min(accepted, peers * (queueMessages + 1 + Math.floor(BATCH_BYTES / smallestBytes)));
  }

  return {
    async openOutput(portId) {
      if (closing !== null) throw portClosed(portId);
      const address: ZmqAddress = {
        protocol: "tcp",
        hostname,
        interface: options.interface,
        port: null,
        endpoint: null,
      };
      const port = bindOutput(portId, address);
      outputs.set(portId, port);
      const boundPort = Number(port.socket.endpoint.split(":").at(-1));
      return formatAddress({ ...address, port: boundPort });
    },

    openInput(portId) {
      inputs.set(portId, { id: portId, links: new Set() });
    },

    connect(inputId, upstreamId, connectAddresses) {
      if (stopped) return;
      const port = opened(inputs, inputId);
      const open = [...port.links].filter((link) => !link.socket.closed);
      for (const address of new Set(connectAddresses)) {
        const link = open.find((candidate) => candidate.address === address) ?? openLink(port, address);
        link.upstreams.add(upstreamId);
        link.remaining = null;
      }
      for (const link of open) {
        if (connectAddresses.includes(link.address)) continue;
        link.upstreams.delete(upstreamId);
        if (link.upstreams.size === 0) void drain(link);
      }
    },

    async receive() {
      for (;;) {
        const next = takeNext();
        if (next !== null) return next;
        if (stopped && allLinks().length === 0) return null;
        await new Promise<void>((resolve) => {
          wakeReceiver = resolve;
        });
      }
    },

    async send(portId, parts) {
      const port = opened(outputs, portId);
      while (closing === null) {
        // None of it was sent: another peer can have it.
        if (!(await port.socket.send(parts))) continue;
        port.accepted += 1;
        port.smallestBytes = Math.min(port.smallestBytes, wireBytes(parts));
        return;
      }
      throw portClosed(portId);
    },

    peers(portId) {
      const input = inputs.get(portId);
      if (input === undefined) return opened(outputs, portId).peers;
      return [...input.links].filter(({ connected }) => connected).length;
    },

    stopReceiving() {
      stopped = true;
      for (const link of allLinks()) void drain(link);
      wakeReceiver();
    },

    close(flushMs, giveUp) {
      closing ??= closeAll(flushMs, giveUp);
      return closing;
    },
  };
}

function opened<Port>(ports: ReadonlyMap<string, Port>, id: string): Port {
  const port = ports.get(id);
  if (port === undefined) throw new Error(`port ${id} was not opened`);
  return port;
}

function portClosed(id: string): HostError {
  return new HostError("STEMLINE_PORT_CLOSED", `output port ${id} was closed before it took the message`);
}

/** Least number of bytes that a message takes on the wire, where each part has flags and a length. */
function wireBytes(parts: readonly Bytes[]): number {
  return parts.reduce((sum, part) => sum + part.byteLength + 2, 0);
}

/** What `open` returns. */
function attempt<T>(code: string, doing: string, open: () => T): T {
  try {
    return open();
  } catch (error) {
    if (error instanceof StemlineError) throw error;
    throw new HostError(code, `${doing}: ${errorText(error)}`, { cause: error });
  }
}
