import { setImmediate as nextTurn } from "node:timers/promises";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { WireError } from "../../../src/errors.ts";
import { Engine, type EngineObserver, type EngineOptions } from "../../../src/host/engine.ts";
import type { Messenger, ReceivedParts } from "../../../src/host/messenger.ts";
import { HostMetrics } from "../../../src/host/metrics.ts";
import {
  defineOperator,
  type Operator,
  type OperatorDefinition,
  type RunResult,
} from "../../../src/operator/define-operator.ts";
import type { ParameterDeclarations } from "../../../src/operator/parameters.ts";
import type { Bytes } from "../../../src/wire/bytes.ts";
import { decodeMessage, encodeMessage } from "../../../src/wire/header.ts";
import { type BytesMessage, bytesMessage, messageOfParts, type Tracking } from "../../../src/wire/message.ts";
import { quietContext } from "../operator/context.ts";
import { Foreign } from "../wire/foreign-bytes.ts";

const range = (count: number) => Array.from({ length: count }, (_, index) => index);
const ids = {
  operator: "5bd6ef2a-91c0-4d7e-8000-000000000001",
  input: "5bd6ef2a-91c0-4d7e-8000-000000000002",
  out: "5bd6ef2a-91c0-4d7e-8000-000000000003",
  other: "5bd6ef2a-91c0-4d7e-8000-000000000004",
};

const numbered = (n: number) => bytesMessage({ n }, Uint8Array.of(n));
const numberIn = (message: BytesMessage | null) => (message!.header.meta as { n: number }).n;

async function turns(count: number): Promise<void> {
  for (let turn = 0; turn < count; turn += 1) await nextTurn();
}

/** A data plane that gives out what a test puts in, and keeps what is sent when `beforeSend` lets it. */
function memoryMessenger(beforeSend: (portId: string) => Promise<void> = async () => {}) {
  const arrived: ReceivedParts[] = [];
  const sent = new Map<string, BytesMessage[]>();
  let stopped = false;
  let wake = () => {};
  const messenger = {
    async receive() {
      for (;;) {
        const next = arrived.shift();
        if (next !== undefined) return next;
        if (stopped) return null;
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
    },
    async send(portId, parts) {
      await beforeSend(portId);
      const decoded = decodeMessage(parts);
      if (decoded.outcome === "message") sent.set(portId, [...(sent.get(portId) ?? []), decoded.message]);
    },
    stopReceiving() {
      stopped = true;
      wake();
    },
  } as Pick<Messenger, "receive" | "send" | "stopReceiving"> as Messenger;
  return {
    messenger,
    put(...messages: BytesMessage[]) {
      for (const message of messages) arrived.push({ portId: ids.input, parts: encodeMessage(message) });
      wake();
    },
    putParts(parts: readonly Bytes[]) {
      arrived.push({ portId: ids.input, parts });
      wake();
    },
    /** Messages that have arrived and were not yet taken in. */
    waiting: () => arrived.length,
    sent: (portId = ids.out) => sent.get(portId) ?? [],
  };
}

type Definition = OperatorDefinition<ParameterDeclarations, unknown>;
type Extra = Partial<Pick<EngineOptions, "overlap" | "inflight" | "unread" | "context" | "giveUp">> & {
  readonly outputs?: readonly string[];
  readonly messenger?: ReturnType<typeof memoryMessenger>;
  readonly observer?: Partial<EngineObserver>;
};

/** An engine over memory, and what it told its observer. */
function engineOf(definition: Partial<Definition> & Pick<Definition, "run">, extra: Extra = {}) {
  const { messenger = memoryMessenger(), outputs = [ids.out], observer, ...options } = extra;
  const metrics = new HostMetrics();
  const told = {
    rejected: [] as string[],
    failed: [] as number[],
    worked: [] as boolean[],
    passed: 0,
    arrived: [] as Tracking[],
    leftOut: [] as string[],
  };
  const port = (direction: "received" | "sent") => (id: string) => ({
    id,
    count: metrics.port(direction, id),
  });
  const ports = { inputs: [ids.input].map(port("received")), outputs: outputs.map(port("sent")) };
  const engine = new Engine({
    operatorId: ids.operator,
    operator: defineOperator(definition as Definition) as Operator,
    state: undefined,
    context: () => ({ ...quietContext(), parameters: {} }),
    giveUp: new AbortController().signal,
    overlap: false,
    inflight: 4,
    ...ports,
    unread: false,
    messenger: messenger.messenger,
    metrics,
    observer: {
      rejected: (reason) => void told.rejected.push(reason),
      failed: (_error, inARow) => void told.failed.push(inARow),
      worked: (yielded) => void told.worked.push(yielded),
      passed: () => {
        told.passed += 1;
      },
      arrived: (tracking) => void told.arrived.push(tracking),
      leftOut: (trigger) => void told.leftOut.push(trigger),
      ...observer,
    },
    ...options,
  });
  return { engine, messenger, metrics, told, ports };
}

/** How one call of the operator goes; the outputs of call `n` are `100 * n`, `100 * n + 1` and so on. */
interface Step {
  readonly delay: number;
  readonly kind: "one" | "none" | "list" | "lazy" | "async" | "fail" | "late" | "bad";
  /** Fires a trigger from within the call. */
  readonly trigger: "none" | "single" | "drain";
}

const outputsOf: Readonly<Record<Step["kind"], number>> = {
  one: 1,
  none: 0,
  list: 3,
  lazy: 3,
  async: 3,
  fail: 0,
  late: 2,
  bad: 0,
};

const step: fc.Arbitrary<Step> = fc.record({
  delay: fc.integer({ min: 0, max: 4 }),
  kind: fc.constantFrom<Step["kind"]>("one", "none", "list", "lazy", "async", "fail", "late", "bad"),
  trigger: fc.oneof(
    { weight: 4, arbitrary: fc.constant("none" as const) },
    { weight: 1, arbitrary: fc.constantFrom("single" as const, "drain" as const) },
  ),
});

const scenario = fc.record({
  steps: fc.array(step, { maxLength: 25 }),
  overlap: fc.boolean(),
  inflight: fc.integer({ min: 1, max: 5 }),
  sendDelay: fc.integer({ min: 0, max: 3 }),
});

const triggerMeta = (index: number, part: number) => 100_000 + 100 * index + part;

test("whatever calls do, results leave in order, within the bound, and everything is accounted for", async () => {
  await fc.assert(
    fc.asyncProperty(scenario, async ({ steps, overlap, inflight, sendDelay }) => {
      let busy = 0;
      let mostBusy = 0;
      let mostUnfinished = 0;
      let triggers = 0;
      const drained = new Map<string, number>();
      const enter = () => {
        busy += 1;
        mostBusy = Math.max(mostBusy, busy);
        mostUnfinished = Math.max(mostUnfinished, engine.unfinished);
      };
      const made = (n: number) => range(outputsOf[steps[n]!.kind]).map((part) => numbered(100 * n + part));
      /** Busy until it has been read to its end. */
      async function* lazily(n: number): AsyncGenerator<BytesMessage> {
        busy += 1;
        try {
          for (const message of made(n)) {
            await turns(1);
            yield message;
          }
          if (steps[n]!.kind === "late") throw new Error("after some messages");
        } finally {
          busy -= 1;
        }
      }
      const results: Readonly<Record<Step["kind"], (n: number) => RunResult>> = {
        one: (n) => made(n)[0]!,
        none: () => null,
        list: made,
        lazy: function* (n: number) {
          yield* made(n);
        },
        async: lazily,
        late: lazily,
        fail: () => {
          throw new Error("fails");
        },
        bad: () => {
          throw new WireError("STEMLINE_WIRE_BATCH", "bad input");
        },
      };
      const messenger = memoryMessenger(() => turns(sendDelay));
      const { engine, told, ports } = engineOf(
        {
          async run(message, { trigger }) {
            enter();
            try {
              if (message === null) {
                await turns(1);
                const part = drained.get(trigger!) ?? 0;
                drained.set(trigger!, part + 1);
                return part === 2 ? null : numbered(triggerMeta(Number(trigger!.split(" ")[1]), part));
              }
              const n = numberIn(message);
              if (steps[n]!.trigger !== "none") {
                const accepted = engine.trigger(`t ${triggers}`, steps[n]!.trigger === "drain");
                expect(accepted).toBe(true);
                triggers += 1;
              }
              await turns(steps[n]!.delay);
              return results[steps[n]!.kind](n);
            } finally {
              busy -= 1;
            }
          },
        },
        { overlap, inflight, messenger },
      );
      messenger.put(...steps.map((_, n) => numbered(n)));
      const consumed = engine.consume();
      messenger.messenger.stopReceiving();
      await consumed;
      await engine.settled();

      const out = messenger.sent().map(numberIn);
      const expected = steps.flatMap((_, n) => made(n).map(numberIn));
      expect(out.filter((n) => n < 100_000)).toEqual(expected);
      const fired = steps.filter(({ trigger }) => trigger !== "none").map(({ trigger }) => trigger);
      expect(out.filter((n) => n >= 100_000)).toEqual(
        fired.flatMap((mode, index) =>
          range(mode === "drain" ? 2 : 1).map((part) => triggerMeta(index, part)),
        ),
      );
      const count = (...kinds: Step["kind"][]) => steps.filter(({ kind }) => kinds.includes(kind)).length;
      expect(told.rejected).toEqual(Array(count("bad")).fill("STEMLINE_WIRE_BATCH"));
      expect(told.failed).toHaveLength(count("fail", "late"));
      const calls = [...drained.values()].reduce((sum, part) => sum + part, 0);
      expect(told.worked).toHaveLength(steps.length - count("bad", "fail", "late") + calls);
      expect(ports.inputs[0]!.count.messages).toBe(steps.length);
      expect(ports.outputs[0]!.count.messages).toBe(out.length);
      expect(engine.unfinished).toBe(0);
      // One more may wait for a place that a trigger took before it.
      expect(mostUnfinished).toBeLessThanOrEqual(inflight + (triggers > 0 ? 1 : 0));
      // With overlap, each of the calls at a time may have a result that is still being read.
      expect(mostBusy).toBeLessThanOrEqual(overlap ? inflight : 1);
    }),
    { numRuns: 150 },
  );
});

/** A promise that the test settles. */
function gate(): { open: () => void; passed: Promise<void> } {
  let open = () => {};
  const passed = new Promise<void>((resolve) => {
    open = resolve;
  });
  return { open, passed };
}

describe("at the same time", () => {
  test("messages are received and sent while a call is under way, and calls do not overlap", async () => {
    const first = gate();
    const second = gate();
    const sending = gate();
    const begun: number[] = [];
    const messenger = memoryMessenger(() => sending.passed);
    const { engine, ports } = engineOf(
      {
        async run(message) {
          const n = numberIn(message);
          begun.push(n);
          if (n === 0) await first.passed;
          if (n === 1) await second.passed;
          return message;
        },
      },
      { messenger, inflight: 3 },
    );
    const consumed = engine.consume();
    messenger.put(...range(6).map(numbered));
    await turns(20);
    // Three are in, the others wait where senders see it.
    expect({ begun, waiting: messenger.waiting(), taken: ports.inputs[0]!.count.messages }).toEqual({
      begun: [0],
      waiting: 3,
      taken: 3,
    });
    first.open();
    await turns(20);
    // The next call goes on while the first result waits to be sent.
    expect(begun).toEqual([0, 1]);
    expect([...engine.blockedOutputs]).toEqual([ids.out]);
    expect(messenger.sent()).toEqual([]);
    sending.open();
    await turns(20);
    expect(messenger.sent().map(numberIn)).toEqual([0]);
    expect([...engine.blockedOutputs]).toEqual([]);
    expect({ waiting: messenger.waiting(), begun }).toEqual({ waiting: 2, begun: [0, 1] });
    second.open();
    messenger.messenger.stopReceiving();
    await consumed;
    expect(messenger.sent().map(numberIn)).toEqual(range(6));
  });

  test("a message goes to all output ports at once, and the slowest holds up the next", async () => {
    const slow = gate();
    const messenger = memoryMessenger((portId) => (portId === ids.other ? slow.passed : Promise.resolve()));
    const { engine } = engineOf({ run: (message) => message }, { messenger, outputs: [ids.out, ids.other] });
    const consumed = engine.consume();
    messenger.put(numbered(1), numbered(2));
    await turns(20);
    expect(messenger.sent(ids.out).map(numberIn)).toEqual([1]);
    expect([...engine.blockedOutputs]).toEqual([ids.other]);
    expect(engine.unfinished).toBe(2);
    slow.open();
    messenger.messenger.stopReceiving();
    await consumed;
    for (const id of [ids.out, ids.other]) expect(messenger.sent(id).map(numberIn)).toEqual([1, 2]);
  });

  test("a port that cannot take a message makes it a failure, once the others have got it", async () => {
    const slow = gate();
    const messenger = memoryMessenger(async (portId) => {
      if (portId === ids.out) throw new Error("closed");
      await slow.passed;
    });
    const { engine, told } = engineOf(
      { run: (message) => message },
      { messenger, outputs: [ids.out, ids.other] },
    );
    messenger.put(numbered(1));
    messenger.messenger.stopReceiving();
    const consumed = engine.consume();
    await turns(20);
    expect({
      failed: told.failed,
      blocked: [...engine.blockedOutputs],
      unfinished: engine.unfinished,
    }).toEqual({
      failed: [],
      blocked: [ids.other],
      unfinished: 1,
    });
    slow.open();
    await consumed;
    expect(messenger.sent(ids.other).map(numberIn)).toEqual([1]);
    expect({
      failed: told.failed,
      blocked: [...engine.blockedOutputs],
      unfinished: engine.unfinished,
    }).toEqual({
      failed: [1],
      blocked: [],
      unfinished: 0,
    });
  });

  test("as many calls are under way as there are places, where calls may overlap", async () => {
    const gates = range(5).map(gate);
    const begun: number[] = [];
    const { engine, messenger } = engineOf(
      {
        run: async (message) => {
          begun.push(numberIn(message));
          await gates[numberIn(message)]!.passed;
          return message;
        },
      },
      { overlap: true, inflight: 3 },
    );
    messenger.put(...range(5).map(numbered));
    const consumed = engine.consume();
    await turns(20);
    expect(begun).toEqual([0, 1, 2]);
    // A later result waits for the earlier ones, and keeps its place.
    gates[1]!.open();
    await turns(20);
    expect({ begun, sent: messenger.sent() }).toEqual({ begun: [0, 1, 2], sent: [] });
    gates[0]!.open();
    await turns(20);
    expect(begun).toEqual([0, 1, 2, 3, 4]);
    expect(messenger.sent().map(numberIn)).toEqual([0, 1]);
    for (const { open } of gates) open();
    messenger.messenger.stopReceiving();
    await consumed;
    expect(messenger.sent().map(numberIn)).toEqual(range(5));
  });
});

describe("triggers", () => {
  test("run while no message comes, also with one place", async () => {
    const { engine, messenger, told } = engineOf(
      { run: (message, { trigger }) => message ?? bytesMessage({ trigger }, Uint8Array.of(1)) },
      { inflight: 1 },
    );
    const consumed = engine.consume();
    await turns(20);
    expect(engine.trigger("go", false)).toBe(true);
    await engine.settled();
    expect(messenger.sent().map(({ header }) => header.meta)).toEqual([{ trigger: "go" }]);
    messenger.put(numbered(5));
    messenger.messenger.stopReceiving();
    await consumed;
    expect(messenger.sent()).toHaveLength(2);
    expect(told.worked).toEqual([true, true]);
  });

  test("one that drains ends at a failure, which does not count towards those in a row", async () => {
    let calls = 0;
    const { engine, messenger, told } = engineOf({
      run: () => {
        calls += 1;
        if (calls === 3) throw new Error("torn");
        return numbered(calls);
      },
    });
    engine.trigger("go", true);
    await engine.settled();
    expect({ calls, sent: messenger.sent().map(numberIn), failed: told.failed }).toEqual({
      calls: 3,
      sent: [1, 2],
      failed: [0],
    });
  });

  test("more than a hundred waiting are refused, and all after the end", async () => {
    const hold = gate();
    const { engine, messenger } = engineOf({ run: () => hold.passed.then(() => numbered(1)) });
    expect(
      range(103)
        .map(() => engine.trigger("go", false))
        .indexOf(false),
    ).toBe(100);
    hold.open();
    await engine.settled();
    expect(messenger.sent()).toHaveLength(100);
    expect(engine.trigger("go", false)).toBe(true);
    await engine.settled();
    engine.stop();
    expect(engine.trigger("go", false)).toBe(false);
    expect(messenger.sent()).toHaveLength(101);
  });

  test("what waits for its turn is left out once the operator ends, a draining one after its call", async () => {
    const hold = gate();
    const begun: (string | null)[] = [];
    const { engine, messenger, told } = engineOf({
      run: async (_message, { trigger }) => {
        begun.push(trigger);
        await hold.passed;
        return numbered(1);
      },
    });
    engine.trigger("first", true);
    engine.trigger("second", false);
    await turns(20);
    engine.stop();
    hold.open();
    await engine.settled();
    expect(begun).toEqual(["first"]);
    expect(messenger.sent()).toHaveLength(1);
    expect(told.leftOut).toEqual(["second"]);
  });
});

describe("failures", () => {
  test("in a row are counted for messages, and a success starts over; bad input is no failure", async () => {
    const outcome = ["fail", "fail", "bad", "fail", "one", "fail"];
    const { engine, messenger, told } = engineOf({
      run: (message) => {
        const kind = outcome[numberIn(message)];
        if (kind === "bad") throw new WireError("STEMLINE_WIRE_BATCH", "short");
        if (kind === "fail") throw new Error("fails");
        return message;
      },
    });
    messenger.put(...outcome.map((_, n) => numbered(n)));
    messenger.messenger.stopReceiving();
    await engine.consume();
    expect(told).toMatchObject({ failed: [1, 2, 3, 1], rejected: ["STEMLINE_WIRE_BATCH"], worked: [true] });
    expect(messenger.sent().map(numberIn)).toEqual([4]);
  });

  test("a meta that cannot be sent is the author's failure, not bad input", async () => {
    const { engine, messenger, told } = engineOf({
      run: () => bytesMessage({ n: 2n ** 60n }, Uint8Array.of(1)),
    });
    messenger.put(numbered(1));
    messenger.messenger.stopReceiving();
    await engine.consume();
    expect(told).toMatchObject({ failed: [1], rejected: [], worked: [] });
  });

  test("input that cannot be handed on is the sender's, however much of it comes", async () => {
    // JSON.parse takes more levels than JSON.stringify.
    const deep = 20_000;
    const header = `{"subject":"bytes","meta":{"a":${"[".repeat(deep)}${"]".repeat(deep)}},"tracking":null}`;
    const { engine, messenger, told } = engineOf({ run: (message) => message });
    for (const _ of range(12)) messenger.putParts([new TextEncoder().encode(header), Uint8Array.of(1)]);
    messenger.put(numbered(1));
    messenger.messenger.stopReceiving();
    await engine.consume();
    expect(told).toMatchObject({
      failed: [],
      rejected: Array(12).fill("STEMLINE_WIRE_META"),
      worked: [true],
    });
    expect(engine.unfinished).toBe(0);
  });

  test("of an observer do not keep later results from being sent", async () => {
    const uncaught: unknown[] = [];
    const listeners = process.listeners("uncaughtException");
    process.removeAllListeners("uncaughtException").on("uncaughtException", (error) => uncaught.push(error));
    try {
      const { engine, messenger } = engineOf(
        { run: (message) => message },
        {
          observer: {
            worked: () => {
              throw new Error("observer");
            },
          },
        },
      );
      messenger.put(numbered(1), numbered(2));
      messenger.messenger.stopReceiving();
      await engine.consume();
      expect(messenger.sent().map(numberIn)).toEqual([1, 2]);
      expect(engine.unfinished).toBe(0);
      await turns(2);
      expect(uncaught).toHaveLength(2);
    } finally {
      process.removeAllListeners("uncaughtException");
      for (const listener of listeners) process.on("uncaughtException", listener);
    }
  });

  test("what cannot be read as a message is refused by reason, and takes no place", async () => {
    const { engine, messenger, told, ports } = engineOf({ run: (message) => message }, { inflight: 1 });
    const text = (value: string) => new TextEncoder().encode(value);
    messenger.putParts([text("{}")]);
    messenger.putParts([text("a"), text("b"), text("c"), text("d")]);
    messenger.putParts([text("no JSON"), text("data")]);
    messenger.putParts([text('{"subject":"shm","meta":{},"tracking":null}'), text("data")]);
    messenger.put(numbered(3));
    messenger.messenger.stopReceiving();
    await engine.consume();
    expect(told).toMatchObject({ rejected: ["parts", "parts", "header", "subject"], failed: [] });
    expect(messenger.sent().map(numberIn)).toEqual([3]);
    expect(ports.inputs[0]!.count.messages).toBe(5);
  });
});

describe("a source", () => {
  test("is called until it yields nothing, one call at a time, and nothing runs after stop", async () => {
    let next = 0;
    const { engine, messenger } = engineOf({ run: () => (next === 5 ? null : numbered(next++)) });
    await engine.produce();
    expect(messenger.sent().map(numberIn)).toEqual(range(5));

    const endless = engineOf({
      run: async () => {
        await turns(1);
        return numbered(1);
      },
    });
    const producing = endless.engine.produce();
    await turns(10);
    endless.engine.stop();
    await producing;
    const sent = endless.messenger.sent().length;
    expect(sent).toBeGreaterThan(0);
    await turns(10);
    expect(endless.messenger.sent()).toHaveLength(sent);
  });

  test("that is stopped leaves what it would still make, and sends what it has made", async () => {
    const hold = gate();
    let made = 0;
    let ended = 0;
    const messenger = memoryMessenger(() => hold.passed);
    const { engine } = engineOf(
      {
        async *run() {
          try {
            for (;;) yield numbered(made++);
          } finally {
            ended += 1;
          }
        },
      },
      { messenger },
    );
    const producing = engine.produce();
    await turns(10);
    engine.stop();
    hold.open();
    await producing;
    expect({ made, ended, sent: messenger.sent().map(numberIn) }).toEqual({ made: 1, ended: 1, sent: [0] });
    expect(engine.unfinished).toBe(0);

    const list = engineOf(
      { run: () => range(4).map(numbered) },
      { messenger: memoryMessenger(() => turns(3)) },
    );
    const listing = list.engine.produce();
    await turns(4);
    list.engine.stop();
    await listing;
    expect(list.messenger.sent().length % 4).toBe(0);
    expect(list.messenger.sent().length).toBeGreaterThan(0);
  });

  test("that never waits for anything lets timers run", async () => {
    let ticks = 0;
    const timer = setInterval(() => {
      ticks += 1;
    }, 1);
    const { engine } = engineOf(
      {
        *run() {
          const end = performance.now() + 200;
          while (performance.now() < end) yield numbered(1);
        },
      },
      { outputs: [] },
    );
    const producing = engine.produce();
    while (ticks < 4) await turns(1);
    engine.stop();
    await producing;
    clearInterval(timer);
  });

  test("an empty list is no end", async () => {
    const results: RunResult[] = [[numbered(1)], [], numbered(2), null];
    let call = 0;
    const { engine, messenger } = engineOf({ run: () => results[call++]! });
    await engine.produce();
    expect(messenger.sent().map(numberIn)).toEqual([1, 2]);
  });

  test("sends at most as many results as there are places ahead of a slow reader", async () => {
    const hold = gate();
    let made = 0;
    const messenger = memoryMessenger(() => hold.passed);
    const { engine } = engineOf({ run: () => numbered(made++) }, { messenger, inflight: 3 });
    const producing = engine.produce();
    await turns(20);
    expect(made).toBe(3);
    engine.stop();
    hold.open();
    await producing;
    expect(messenger.sent().map(numberIn)).toEqual(range(3));
    expect(made).toBe(3);
  });
});

describe("what is given up", () => {
  test.each([false, true])(
    "is neither computed nor sent nor told of, and counted (overlap: %s)",
    async (overlap) => {
      const giveUp = new AbortController();
      const hold = gate();
      const begun: number[] = [];
      let flushed = false;
      const { engine, messenger, told, ports } = engineOf(
        {
          async run(message) {
            begun.push(numberIn(message));
            await hold.passed;
            return message;
          },
          flush() {
            flushed = true;
            return [];
          },
        },
        { giveUp: giveUp.signal, inflight: 2, overlap },
      );
      messenger.put(...range(6).map(numbered));
      const consumed = engine.consume();
      await turns(20);
      const before = overlap ? [0, 1] : [0];
      expect(begun).toEqual(before);
      engine.stop();
      giveUp.abort();
      messenger.messenger.stopReceiving();
      await engine.inputEnded;
      expect(ports.inputs[0]!.count.messages).toBe(6);
      expect(engine.unfinished).toBe(6);
      hold.open();
      await consumed;
      await engine.flush();
      expect({ begun, flushed, sent: messenger.sent() }).toEqual({ begun: before, flushed: false, sent: [] });
      expect(told).toMatchObject({ failed: [], rejected: [], worked: [] });
      expect(engine.unfinished).toBe(6);
    },
  );

  test("by a source is its calls under way; no further one is begun", async () => {
    const giveUp = new AbortController();
    const hold = gate();
    let calls = 0;
    const messenger = memoryMessenger(() => hold.passed);
    const { engine } = engineOf(
      { run: () => numbered(calls++) },
      { giveUp: giveUp.signal, messenger, inflight: 3 },
    );
    void engine.produce();
    await turns(20);
    engine.stop();
    giveUp.abort();
    await turns(20);
    expect({ calls, unfinished: engine.unfinished }).toEqual({ calls: 3, unfinished: 3 });
  });
});

test("flush rejects with what it fails with, also half way", async () => {
  const { engine, messenger, told } = engineOf({
    run: () => null,
    *flush() {
      yield numbered(1);
      throw new Error("torn");
    },
  });
  await expect(engine.flush()).rejects.toThrow("torn");
  expect(messenger.sent().map(numberIn)).toEqual([1]);
  expect(told.failed).toEqual([0]);
});

test("flush sends what is left after everything else", async () => {
  const { engine, messenger } = engineOf({
    run: async (message) => {
      await turns(3);
      return message;
    },
    *flush() {
      yield numbered(100);
      yield numbered(101);
    },
  });
  messenger.put(numbered(1), numbered(2));
  messenger.messenger.stopReceiving();
  await engine.consume();
  await engine.flush();
  expect(messenger.sent().map(numberIn)).toEqual([1, 2, 100, 101]);
});

describe("tracking", () => {
  const time = "2026-11-22T11:06:56.396820";
  const tracking: Tracking = { metadatas: [{ id: ids.other, time_before_send: time }] };
  const tracked = (n: number): BytesMessage => {
    const message = numbered(n);
    return { ...message, header: { ...message.header, tracking } };
  };
  const kinds = (list: Tracking | null) =>
    list?.metadatas.map((entry) => [entry.id, ...Object.keys(entry).slice(1)]);
  const arrivedHere = [
    [ids.other, "time_before_send"],
    [ids.input, "time_after_header_validate"],
    [ids.operator, "time_before_operate", "time_after_operate"],
  ];

  async function pass(run: (message: BytesMessage) => RunResult, extra: Extra = {}) {
    const made = engineOf({ run: (message) => run(message!) }, extra);
    made.messenger.put(tracked(1), numbered(2));
    made.messenger.messenger.stopReceiving();
    await made.engine.consume();
    return made;
  }

  test("goes on with the result, whatever the operator put there, and not with other messages", async () => {
    const { messenger, told } = await pass((message) => ({
      ...message,
      header: { ...message.header, tracking: { metadatas: [] } },
    }));
    const [first, second] = messenger.sent();
    expect(kinds(first!.header.tracking)).toEqual([...arrivedHere, [ids.out, "time_before_send"]]);
    expect(second!.header.tracking).toBeNull();
    expect(told).toMatchObject({ passed: 1, arrived: [] });
  });

  test("goes on with the first of several results", async () => {
    const { messenger } = await pass((message) => [message, message]);
    const lists = messenger.sent().map(({ header }) => header.tracking);
    expect(lists.map((list) => list?.metadatas.length ?? null)).toEqual([4, null, null, null]);
  });

  test.each([
    ["yields nothing", () => null, {}],
    ["has no output ports", (message: BytesMessage) => message, { outputs: [] }],
  ] as const)("ends where an operator %s", async (_what, run, extra) => {
    const { told, messenger } = await pass(run, extra);
    expect(told.arrived.map(kinds)).toEqual([arrivedHere]);
    expect(told.passed).toBe(1);
    expect(messenger.sent()).toEqual([]);
  });

  test("is not passed on by a call that failed", async () => {
    const { told } = await pass(() => {
      throw new Error("fails");
    });
    expect(told).toMatchObject({ passed: 0, arrived: [], failed: [1, 2] });
  });
});

test("messages to ports that nobody reads are counted", async () => {
  const { engine, messenger, metrics } = engineOf(
    { run: (message) => [message!, message!] },
    { unread: true },
  );
  messenger.put(numbered(1));
  messenger.messenger.stopReceiving();
  await engine.consume();
  expect(messenger.sent()).toHaveLength(2);
  expect(await metrics.registry.getSingleMetricAsString("stemline_messages_unread_total")).toMatch(/ 2$/m);
});

test("parameters are those at the begin of each call, also of one that waited for its turn", async () => {
  let gain = 1;
  const hold = gate();
  const seen: unknown[] = [];
  const { engine, messenger } = engineOf(
    {
      run: async (_message, { parameters }) => {
        seen.push((parameters as Record<string, unknown>).gain);
        await hold.passed;
        return null;
      },
    },
    { context: () => ({ ...quietContext(), parameters: { gain } as Record<never, never> }) },
  );
  messenger.put(numbered(1), numbered(2));
  messenger.messenger.stopReceiving();
  const consumed = engine.consume();
  await turns(20);
  gain = 2;
  hold.open();
  await consumed;
  expect(seen).toEqual([1, 2]);
});

test("frames that a call counts, and messages under way, are in the metrics", async () => {
  const hold = gate();
  const sending = gate();
  const { engine, messenger, metrics } = engineOf(
    {
      run: async (message, { count }) => {
        count({ frames: 5, droppedFrames: 1 });
        await hold.passed;
        return message;
      },
    },
    { messenger: memoryMessenger(() => sending.passed) },
  );
  const value = async (name: string, label = "") => {
    const text = await metrics.registry.getSingleMetricAsString(`stemline_${name}`);
    return Number(
      text
        .split("\n")
        .find((line) => line.startsWith(`stemline_${name}${label} `))!
        .split(" ")[1],
    );
  };
  const underWay = async () => [
    await value("messages_in_flight"),
    await value("queue_depth", '{queue="run"}'),
    await value("queue_depth", '{queue="send"}'),
  ];
  expect(await underWay()).toEqual([0, 0, 0]);
  messenger.put(numbered(1), numbered(2), numbered(3));
  const consumed = engine.consume();
  await turns(20);
  expect(await underWay()).toEqual([3, 2, 0]);
  hold.open();
  await turns(20);
  expect(await underWay()).toEqual([3, 0, 3]);
  sending.open();
  messenger.messenger.stopReceiving();
  await consumed;
  expect(await underWay()).toEqual([0, 0, 0]);
  expect([await value("frames_total"), await value("frames_dropped_total")]).toEqual([15, 3]);
});

describe("memory outside of JavaScript", () => {
  const header = new TextEncoder().encode('{"subject":"bytes","tracking":null}');
  const arriving = () => ({ meta: new Foreign(1), data: new Foreign(2, 3) });
  const result = () => {
    const parts = { meta: new Foreign(4), data: new Foreign(5) };
    return { ...parts, message: messageOfParts({ subject: "bytes", tracking: null }, parts) };
  };

  /** Sends each to an operator that returns `made`; what was received and is given back at the end. */
  async function runWith(run: (message: BytesMessage, call: number) => RunResult, inputs = [arriving()]) {
    let calls = 0;
    const { engine, messenger, told } = engineOf({
      async run(message) {
        calls += 1;
        return run(message!, calls);
      },
    });
    for (const { meta, data } of inputs) messenger.putParts([header, meta, data]);
    messenger.messenger.stopReceiving();
    await engine.consume();
    return { inputs, told, sent: messenger.sent() };
  }

  test("is given back when the message was worked off, whatever came of it", async () => {
    const { message, ...made } = result();
    const outcomes: readonly (() => RunResult)[] = [
      () => null,
      () => message,
      () => {
        throw new Error("no");
      },
      () => {
        throw new WireError("STEMLINE_BATCH_SIZE", "bad input");
      },
    ];
    const { inputs, told } = await runWith((_message, call) => outcomes[call - 1]!(), outcomes.map(arriving));
    expect(told.worked).toEqual([false, true]);
    for (const { meta, data } of inputs) {
      expect(meta).toMatchObject({ released: true, looks: 0 });
      expect(data).toMatchObject({ released: true, looks: 0 });
    }
    expect([made.meta.released, made.data.released]).toEqual([true, true]);
  });

  test("is given back if the message cannot be read", async () => {
    const { engine, messenger, told } = engineOf({ run: () => null });
    const { meta, data } = arriving();
    messenger.putParts([new TextEncoder().encode("{"), meta, data]);
    const four = [arriving().meta, arriving().meta, arriving().meta, arriving().meta];
    messenger.putParts(four);
    messenger.messenger.stopReceiving();
    await engine.consume();
    expect(told.rejected).toEqual(["header", "parts"]);
    for (const part of [meta, data, ...four]) expect(part.released).toBe(true);
  });

  test("is still there for an input that is handed on, and for one message twice", async () => {
    const { message } = result();
    const { sent } = await runWith(
      (input, call) => (call === 1 ? input : [message, message]),
      [arriving(), arriving()],
    );
    expect(sent).toHaveLength(3);
  });

  test("is given back of each message that a generator makes, before the next", async () => {
    const made = [result(), result(), result()];
    const released: boolean[][] = [];
    await runWith(function* () {
      for (const { message } of made) {
        yield message;
        released.push(made.map(({ data }) => data.released));
      }
    } as () => RunResult);
    expect(released).toEqual([
      [true, false, false],
      [true, true, false],
      [true, true, true],
    ]);
  });

  test("of the received message is still there for a generator that has handed it on", async () => {
    const { sent, inputs } = await runWith(function* (message) {
      yield message;
      expect(message.data).toEqual(Uint8Array.of(2, 3));
      yield message;
    });
    expect(sent).toHaveLength(2);
    expect(inputs[0]!.data.released).toBe(true);
  });

  test("of a message that is kept is there if it was looked at during run, else said to be gone", async () => {
    const kept: BytesMessage[] = [];
    await runWith((message) => {
      kept.push(message);
      expect(message.data).toEqual(Uint8Array.of(2, 3));
      return null;
    });
    expect(kept[0]!.data).toEqual(Uint8Array.of(2, 3));
    expect(() => kept[0]!.header.meta).toThrow(expect.objectContaining({ code: "STEMLINE_BYTES_RELEASED" }));
  });
});
