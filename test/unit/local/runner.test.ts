import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setImmediate as nextTurn, setTimeout as sleep } from "node:timers/promises";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { PipelineError } from "../../../src/errors.ts";
import { type RunSummary, type RunWarning, runPipeline } from "../../../src/local/runner.ts";
import { integer, mount } from "../../../src/operator/parameters.ts";
import { type BytesMessage, bytesMessage } from "../../../src/wire/message.ts";
import { numbered, numberIn, numbers, operator, pipelineOf, sink } from "./build.ts";

const range = (count: number) => Array.from({ length: count }, (_, index) => index);
const figures = (summary: RunSummary, label: string) =>
  summary.operators.find((entry) => entry.label === label)!;

/** `gc` without a command line flag. */
function garbageCollector(): () => void {
  setFlagsFromString("--expose-gc");
  return runInNewContext("gc") as () => void;
}

const double = operator("double", {
  inputs: ["in"],
  outputs: ["out"],
  run: (message, { count }) => {
    count({ frames: 1 });
    return numbered(2 * numberIn(message));
  },
});

describe("runPipeline", () => {
  test("moves messages in order from the source to the end and counts them", async () => {
    const seen: number[] = [];
    const operators = [numbers(100), double, sink((value) => seen.push(value))];
    const pipeline = pipelineOf(operators, [
      ["numbers", "double"],
      ["double", "sink"],
    ]);
    const summary = await runPipeline(pipeline, { operators });
    expect(seen).toEqual(range(100).map((value) => 2 * value));
    expect(summary).toMatchObject({ outcome: "finished", failure: null, files: [] });
    expect(figures(summary, "numbers")).toMatchObject({
      source: true,
      messagesOut: 100,
      frames: 100,
      expectedFrames: 100,
    });
    expect(figures(summary, "double")).toMatchObject({
      messagesIn: 100,
      messagesOut: 100,
      bytesIn: 100,
      bytesOut: 100,
    });
    expect(figures(summary, "sink")).toMatchObject({
      source: false,
      messagesIn: 100,
      messagesOut: 0,
      failures: 0,
    });
  });

  test.each([1, 4, 7])(
    "never lets more than %i messages wait, however slow the reader",
    async (queueCapacity) => {
      let sent = 0;
      let taken = 0;
      let mostAhead = 0;
      const source = operator("numbers", {
        outputs: ["out"],
        run: () => {
          // What has been handed over and is neither waiting to be sent nor taken is what the queue holds.
          mostAhead = Math.max(mostAhead, sent - taken);
          return sent === 60 ? null : numbered(sent++);
        },
      });
      const operators = [
        source,
        sink(async () => {
          taken += 1;
          await sleep(1);
        }),
      ];
      const summary = await runPipeline(pipelineOf(operators, [["numbers", "sink"]]), {
        operators,
        queueCapacity,
      });
      expect(summary.outcome).toBe("finished");
      expect(mostAhead).toBe(queueCapacity);
    },
  );

  test("keeps memory flat behind a slow reader", async () => {
    const messageBytes = 1 << 20;
    const collectGarbage = garbageCollector();
    let sent = 0;
    const source = operator("numbers", {
      outputs: ["out"],
      run: () => (sent++ === 300 ? null : bytesMessage({ value: 0 }, new Uint8Array(messageBytes))),
    });
    let received = 0;
    const held: number[] = [];
    const reader = operator("sink", {
      inputs: ["in"],
      run: async () => {
        await sleep(1);
        if (++received % 20 !== 0) return null;
        // Buffers are freed behind the collector's back, on another thread.
        collectGarbage();
        await sleep(20);
        collectGarbage();
        held.push(process.memoryUsage().arrayBuffers / messageBytes);
        return null;
      },
    });
    const operators = [source, reader];
    await runPipeline(pipelineOf(operators, [["numbers", "sink"]]), { operators });
    // Four wait, one is blocked in front of them, one is being read; the rest is slack for the collector. Without a bound
    // it would be all 300.
    expect(Math.max(...held) - Math.min(...held)).toBeLessThan(30);
    expect(held).toHaveLength(15);
  });

  test("gives every downstream operator every message, as the same bytes", async () => {
    const received: Record<string, BytesMessage[]> = { a: [], b: [] };
    const collector = (name: string) =>
      operator(name, {
        inputs: ["in"],
        run: (message) => {
          received[name]!.push(message!);
          return null;
        },
      });
    const operators = [numbers(20), collector("a"), collector("b")];
    const pipeline = pipelineOf(operators, [
      ["numbers", "a"],
      ["numbers", "b"],
    ]);
    await runPipeline(pipeline, { operators });
    expect(received.a!.map(numberIn)).toEqual(range(20));
    expect(received.a!.every((message, index) => message.data === received.b![index]!.data)).toBe(true);
  });

  test("hands each message to the replica that is free, and never two at once to one", async () => {
    const busy = new Set<number>();
    const shares = [0, 0, 0];
    let replicas = 0;
    const worker = operator(
      "worker",
      {
        inputs: ["in"],
        outputs: ["out"],
        setup: () => replicas++,
        run: async (message, { state }) => {
          const replica = state as number;
          expect(busy.has(replica)).toBe(false);
          busy.add(replica);
          shares[replica]! += 1;
          await sleep(replica === 0 ? 20 : 1);
          busy.delete(replica);
          return message;
        },
      },
      { parallel: true },
    );
    const seen: number[] = [];
    const operators = [numbers(60), worker, sink((value) => seen.push(value))];
    const pipeline = pipelineOf(
      operators,
      [
        ["numbers", "worker"],
        ["worker", "sink"],
      ],
      { parallelism: { worker: 3 } },
    );
    const summary = await runPipeline(pipeline, { operators });
    expect(figures(summary, "worker")).toMatchObject({ replicas: 3, messagesIn: 60, messagesOut: 60 });
    expect(seen.sort((a, b) => a - b)).toEqual(range(60));
    expect(shares[0]).toBeLessThan(shares[1]! / 2);
    expect(shares.every((share) => share > 0)).toBe(true);
  });

  test("makes no replicas of an operator that is not parallel", async () => {
    const operators = [numbers(3), double, sink(() => {})];
    const wires = [
      ["numbers", "double"],
      ["double", "sink"],
    ] as const;
    const pipeline = pipelineOf(operators, wires, { parallelism: { double: 8 } });
    expect(figures(await runPipeline(pipeline, { operators }), "double").replicas).toBe(1);
  });

  test("sends each of several messages that one call returns", async () => {
    const seen: number[] = [];
    const several = operator("several", {
      inputs: ["in"],
      outputs: ["out"],
      run: (message) => {
        const value = numberIn(message);
        if (value === 0) return [];
        if (value === 1) return [numbered(10), numbered(11)];
        return (async function* () {
          yield numbered(20);
          await nextTurn();
          yield numbered(21);
        })();
      },
    });
    const operators = [numbers(3), several, sink((value) => seen.push(value))];
    const pipeline = pipelineOf(operators, [
      ["numbers", "several"],
      ["several", "sink"],
    ]);
    expect((await runPipeline(pipeline, { operators })).outcome).toBe("finished");
    expect(seen).toEqual([10, 11, 20, 21]);
  });

  describe("a format of messages is used", () => {
    const format = "numbers-2";
    const asked = () => {
      const answers: boolean[] = [];
      const writer = operator("writer", {
        inputs: ["in"],
        outputs: ["first", "second"],
        run: (message, { readersAccept }) => {
          answers.push(readersAccept(format));
          return message;
        },
      });
      return { writer, answers };
    };
    const reader = (name: string, formats: readonly string[]) =>
      operator(name, { inputs: ["in"], accepts: { in: formats }, run: () => null });
    const edges = (...readers: readonly (readonly [port: string, name: string])[]) => readers;
    const cases = [
      ["when all readers of all ports accept it", edges(["first", "ours"], ["second", "other"]), true],
      ["not when one does not", edges(["first", "ours"], ["second", "older"]), false],
      [
        "not when one of a port's two does not",
        edges(["first", "ours"], ["first", "older"], ["second", "ours"]),
        false,
      ],
      ["not when one says nothing", edges(["first", "python"], ["second", "ours"]), false],
      ["not when a port has no reader", edges(["first", "ours"]), false],
      ["not when nobody reads", edges(), false],
    ] as const;

    test.each(cases)("%s", async (_title, wires, expected) => {
      const { writer, answers } = asked();
      const used = new Set(wires.map(([, name]) => name));
      const readers = [
        reader("ours", ["numbers-1", format]),
        reader("other", [format]),
        reader("older", ["numbers-1"]),
        operator("python", { inputs: ["in"], run: () => null }),
      ].filter(({ spec }) => used.has(spec.label as "ours"));
      const operators = [numbers(3), writer, ...readers];
      const pipeline = pipelineOf(operators, [["numbers", "writer"]]);
      const portOf = (label: string, name: string) => {
        const { id } = pipeline.operators.find((candidate) => candidate.label === label)!;
        return pipeline.ports.find((port) => port.canonical_operator_id === id && port.portkey === name)!.id;
      };
      const more = wires.map(([port, name]) => ({
        input_id: portOf("writer", port),
        output_id: portOf(name, "in"),
      }));
      const whole = { ...pipeline, edges: [...pipeline.edges, ...more] };
      const texts: string[] = [];
      const observer = { log: ({ text }: { text: string }) => void texts.push(text) };
      expect(await runPipeline(whole, { operators, observer })).toMatchObject({ outcome: "finished" });
      expect(answers).toEqual([expected, expected, expected]);
      expect(texts).toEqual([expected ? "fast lane on" : "fast lane off"]);
      answers.length = 0;
      await runPipeline(whole, { operators, fastLane: false });
      expect(answers).toEqual([false, false, false]);
    });
  });

  test.each([
    ["a buffer", Buffer.from([1])],
    ["an object", {}],
    ["a list of text", ["a"]],
  ])("refuses %s as a result", async (_what, result) => {
    const wrong = operator("wrong", { inputs: ["in"], outputs: ["out"], run: () => result as never });
    const operators = [numbers(1), wrong];
    const summary = await runPipeline(pipelineOf(operators, [["numbers", "wrong"]]), { operators });
    expect(figures(summary, "wrong")).toMatchObject({ failures: 1, messagesOut: 0 });
    expect(figures(summary, "wrong").firstError).toMatch(/^run (returned|gave out) /);
  });

  test("fires each trigger of a source once, in drain mode until it returns null", async () => {
    const calls: string[] = [];
    const source = operator(
      "triggered",
      {
        outputs: ["out"],
        triggers: ["all", "one"],
        setup: () => ({ left: 3 }),
        run: (message, { trigger, state }) => {
          expect(message).toBe(null);
          calls.push(trigger!);
          const counter = state as { left: number };
          if (trigger === "one") return numbered(9);
          return counter.left-- === 0 ? null : numbered(counter.left);
        },
      },
      { triggers: { all: "drain", one: "single" } },
    );
    const seen: number[] = [];
    const operators = [source, sink((value) => seen.push(value))];
    await runPipeline(pipelineOf(operators, [["triggered", "sink"]]), { operators });
    expect(calls).toEqual(["all", "all", "all", "all", "one"]);
    expect(seen).toEqual([2, 1, 0, 9]);
  });

  test("flushes after the last message, then tears down, each operator after those before it", async () => {
    const events: string[] = [];
    const sum = (name: string) =>
      operator(name, {
        inputs: ["in"],
        outputs: ["out"],
        setup: () => ({ sum: 0 }),
        run: (message, { state }) => {
          (state as { sum: number }).sum += numberIn(message);
          return null;
        },
        *flush({ state }) {
          events.push(`${name} flush`);
          yield numbered((state as { sum: number }).sum);
        },
        teardown: () => {
          events.push(`${name} teardown`);
        },
      });
    const operators = [
      numbers(11),
      sum("first"),
      sum("second"),
      sink((value) => events.push(`got ${value}`)),
    ];
    const pipeline = pipelineOf(operators, [
      ["numbers", "first"],
      ["first", "second"],
      ["second", "sink"],
    ]);
    await runPipeline(pipeline, { operators });
    expect(events).toEqual(["first flush", "second flush", "got 55", "first teardown", "second teardown"]);
  });

  test("lets timers run although no operator ever waits", async () => {
    let ticks = 0;
    const timer = setInterval(() => ticks++, 1);
    let calls = 0;
    const giveUp = performance.now() + 30_000;
    const source = operator("numbers", {
      outputs: ["out"],
      run: () => (ticks > 5 || performance.now() > giveUp ? null : numbered(calls++ % 256)),
    });
    const operators = [source, sink(() => {})];
    await runPipeline(pipelineOf(operators, [["numbers", "sink"]]), { operators });
    clearInterval(timer);
    expect(ticks).toBeGreaterThan(5);
  });

  test("shows figures while it runs", async () => {
    const seen: number[] = [];
    const operators = [numbers(30), sink(() => sleep(2))];
    await runPipeline(pipelineOf(operators, [["numbers", "sink"]]), {
      operators,
      progressIntervalMs: 5,
      observer: { progress: ([source]) => seen.push(source!.frames) },
    });
    expect(seen.length).toBeGreaterThan(3);
    expect(seen.at(-1)).toBe(30);
    expect(seen).toEqual([...seen].sort((a, b) => a - b));
  });
});

describe("parameters", () => {
  const declared = { crop: integer(), folder: mount() };
  const parameter = (name: string, type: string, value: unknown) => ({
    name,
    label: "",
    description: "",
    type,
    default: value,
    required: true,
  });
  const specification = [parameter("crop", "int", 1), parameter("folder", "mount", "~")];
  let values: unknown[] = [];
  const operators = [
    operator(
      "source",
      {
        outputs: ["out"],
        parameters: declared,
        run: (_message, { parameters }) => {
          values.push(parameters);
          return null;
        },
      },
      { parameters: specification },
    ),
  ];
  beforeEach(() => {
    values = [];
  });

  test("come from the pipeline; mounts are folders of this machine", async () => {
    await runPipeline(pipelineOf(operators, []), { operators });
    const home = values[0] as { folder: string };
    expect(home.folder).toMatch(/^\//);
    const given = { source: [parameter("crop", "int", "7"), parameter("folder", "mount", "test")] };
    await runPipeline(pipelineOf(operators, [], { parameters: given }), { operators });
    expect(values[1]).toEqual({ crop: 7, folder: join(process.cwd(), "test") });
  });

  test("that cannot be used are all named before anything runs", async () => {
    const given = { source: [parameter("folder", "mount", "/nowhere/at/all")] };
    const pipeline = pipelineOf(operators, [], { parameters: given });
    const missing = runPipeline(pipeline, { operators });
    await expect(missing).rejects.toThrow('operators[0].parameters: "source": Parameter "crop"');
    const both = { source: [...given.source, parameter("crop", "int", 1)] };
    await expect(runPipeline(pipelineOf(operators, [], { parameters: both }), { operators })).rejects.toThrow(
      'operators[0].parameters.folder: "source": /nowhere/at/all does not exist',
    );
    expect(values).toEqual([]);
  });

  test("a pipeline that does not fit its operators is refused", async () => {
    const pipeline = pipelineOf([numbers(1), double], [["numbers", "double"]]);
    await expect(runPipeline(pipeline, { operators: [numbers(1)] })).rejects.toThrow(PipelineError);
  });
});

describe("failures", () => {
  const failing = (name: string, fails: (value: number) => boolean) =>
    operator(name, {
      inputs: ["in"],
      outputs: ["out"],
      setup: () => ({ flushed: false }),
      run: (message) => {
        if (fails(numberIn(message))) throw new Error(`refused ${numberIn(message)}`);
        return message;
      },
      *flush() {
        yield numbered(200);
      },
    });
  const wires = [
    ["numbers", "failing"],
    ["failing", "sink"],
  ] as const;

  test("lose one message each and are reported; the rest goes on", async () => {
    const seen: number[] = [];
    const warnings: RunWarning[] = [];
    const operators = [
      numbers(40),
      failing("failing", (value) => value % 10 !== 0),
      sink((value) => seen.push(value)),
    ];
    const summary = await runPipeline(pipelineOf(operators, wires), {
      operators,
      observer: { warning: (warning) => warnings.push(warning) },
    });
    expect(summary.outcome).toBe("finished");
    expect(seen).toEqual([0, 10, 20, 30, 200]);
    expect(figures(summary, "failing")).toMatchObject({ failures: 36, firstError: "refused 1" });
    expect(warnings).toHaveLength(36);
    expect(warnings[0]).toMatchObject({ operator: "failing", message: "refused 1" });
  });

  test("ten in a row end the run; what is in flight elsewhere is finished", async () => {
    const seen: number[] = [];
    const other: number[] = [];
    let sent = 0;
    const endless = operator("numbers", { outputs: ["out"], run: () => numbered(sent++) });
    const operators = [
      endless,
      failing("failing", (value) => value >= 5),
      sink((value) => seen.push(value)),
      sink(async (value) => {
        await nextTurn();
        other.push(value);
      }, "other"),
    ];
    const summary = await runPipeline(pipelineOf(operators, [...wires, ["numbers", "other"]]), { operators });
    expect(summary.outcome).toBe("failed");
    expect(summary.failure).toMatchObject({ operator: "failing", reason: "failed 10 times in a row" });
    expect(figures(summary, "failing")).toMatchObject({ failures: 10, firstError: "refused 5" });
    expect(seen).toEqual([0, 1, 2, 3, 4]);
    expect(other).toEqual(range(sent));
    const { messagesIn, discarded } = figures(summary, "failing");
    expect(messagesIn + discarded).toBe(sent);
  });

  test("nine in a row do not", async () => {
    const operators = [numbers(60), failing("failing", (value) => value % 10 !== 0), sink(() => {})];
    expect((await runPipeline(pipelineOf(operators, wires), { operators })).outcome).toBe("finished");
  });

  test("of a source with triggers end it at once", async () => {
    let calls = 0;
    const source = operator(
      "numbers",
      {
        outputs: ["out"],
        triggers: ["go"],
        run: () => {
          if (++calls === 3) throw new Error("no such file");
          return numbered(calls);
        },
      },
      { triggers: { go: "drain" } },
    );
    const seen: number[] = [];
    const operators = [source, sink((value) => seen.push(value))];
    const summary = await runPipeline(pipelineOf(operators, [["numbers", "sink"]]), { operators });
    expect(calls).toBe(3);
    expect(seen).toEqual([1, 2]);
    expect(summary).toMatchObject({ outcome: "failed", failure: { reason: "failed in trigger go" } });
    expect(figures(summary, "numbers").firstError).toBe("no such file");
  });

  test("of setup keep the sources from starting", async () => {
    const events: string[] = [];
    const source = operator("numbers", {
      outputs: ["out"],
      run: () => {
        events.push("read");
        return null;
      },
      teardown: () => {
        events.push("teardown");
      },
    });
    const broken = operator("broken", {
      inputs: ["in"],
      setup: () => {
        throw new Error("no font");
      },
      run: () => null,
    });
    const operators = [source, broken];
    const summary = await runPipeline(pipelineOf(operators, [["numbers", "broken"]]), { operators });
    expect(summary).toMatchObject({ outcome: "failed", failure: { operator: "broken" } });
    expect(events).toEqual(["teardown"]);
  });

  test("of flush and teardown are reported", async () => {
    const warnings: string[] = [];
    const operators = [
      numbers(1),
      operator("broken", {
        inputs: ["in"],
        outputs: ["out"],
        run: () => null,
        // biome-ignore lint/correctness/useYield: it fails before it can.
        *flush() {
          throw new Error("flush");
        },
        teardown: () => {
          throw new Error("teardown");
        },
      }),
    ];
    const summary = await runPipeline(pipelineOf(operators, [["numbers", "broken"]]), {
      operators,
      observer: { warning: ({ message }) => warnings.push(message) },
    });
    expect(summary.outcome).toBe("failed");
    expect(warnings).toEqual(["flush", "cannot clean up: teardown"]);
  });
});

describe("stopping", () => {
  const endless = () => {
    let sent = 0;
    return {
      sent: () => sent,
      source: operator("numbers", {
        outputs: ["out"],
        run: async () => {
          await nextTurn();
          return numbered(sent++);
        },
      }),
    };
  };

  test("on drain finishes everything in flight and flushes", async () => {
    const { source, sent } = endless();
    const drain = new AbortController();
    const seen: number[] = [];
    const slow = operator("slow", {
      inputs: ["in"],
      outputs: ["out"],
      run: async (message) => {
        await sleep(1);
        if (numberIn(message) === 10) drain.abort();
        return message;
      },
      *flush() {
        yield numbered(-1);
      },
    });
    const operators = [source, slow, sink((value) => seen.push(value))];
    const pipeline = pipelineOf(operators, [
      ["numbers", "slow"],
      ["slow", "sink"],
    ]);
    const summary = await runPipeline(pipeline, { operators, drain: drain.signal });
    expect(summary.outcome).toBe("interrupted");
    expect(sent()).toBeGreaterThan(10);
    expect(seen).toEqual([...range(sent()), -1]);
    expect(summary.operators.every(({ discarded }) => discarded === 0)).toBe(true);
  });

  test("on drain ends a source that gives out many messages in one call", async () => {
    const drain = new AbortController();
    let closed = false;
    const source = operator("numbers", {
      outputs: ["out"],
      run: async function* () {
        try {
          for (let value = 0; ; value += 1) yield numbered(value);
        } finally {
          closed = true;
        }
      } as never,
    });
    const operators = [source, sink((value) => value === 5 && drain.abort())];
    const pipeline = pipelineOf(operators, [["numbers", "sink"]]);
    expect((await runPipeline(pipeline, { operators, drain: drain.signal })).outcome).toBe("interrupted");
    expect(closed).toBe(true);
  });

  test("on abort ends at once, even when an operator never returns", async () => {
    const { source } = endless();
    const abort = new AbortController();
    let signalled = false;
    const stuck = operator("stuck", {
      inputs: ["in"],
      run: async (_message, { signal }) => {
        signal.addEventListener("abort", () => {
          signalled = true;
        });
        setTimeout(() => abort.abort(), 10);
        return new Promise<null>(() => {});
      },
    });
    const operators = [source, stuck];
    const summary = await runPipeline(pipelineOf(operators, [["numbers", "stuck"]]), {
      operators,
      abort: abort.signal,
    });
    expect(summary.outcome).toBe("aborted");
    expect(signalled).toBe(true);
    expect(figures(summary, "stuck").discarded).toBeGreaterThan(0);
  });
});

describe("results", () => {
  let out = "";
  beforeEach(() => {
    out = mkdtempSync(join(tmpdir(), "stemline-runner-"));
  });
  afterEach(() => rmSync(out, { recursive: true, force: true }));

  const png = (value: number) => Uint8Array.of(0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a, value);

  test("what nobody reads is written, what is read is not", async () => {
    const pictures = operator("My Pictures", {
      inputs: ["in"],
      outputs: ["image"],
      run: (message) => bytesMessage({ scan_number: numberIn(message) % 2 }, png(numberIn(message))),
    });
    const operators = [numbers(6), pictures];
    const summary = await runPipeline(pipelineOf(operators, [["numbers", "My Pictures"]]), {
      operators,
      out,
    });
    expect(readdirSync(out).sort()).toEqual(["my-pictures-0.png", "my-pictures-1.png"]);
    expect(summary.files).toEqual([join(out, "my-pictures-0.png"), join(out, "my-pictures-1.png")]);
    expect(readFileSync(join(out, "my-pictures-1.png")).at(-1)).toBe(5);
  });

  test("a result that cannot be written is a failure", async () => {
    const operators = [numbers(2)];
    const pipeline = pipelineOf(operators, []);
    rmSync(out, { recursive: true });
    await expect(runPipeline(pipeline, { operators, out: "/dev/null/x" })).rejects.toThrow("Cannot write");
  });

  test("what an operator shows is a file that the next one replaces, and is counted among the files", async () => {
    const shower = operator("My Shower", {
      inputs: ["in"],
      setup: ({ publishTable }) => publishTable({ from: [{ hook: "setup" }] }),
      run: async (message, { publishImage, publishTable }) => {
        await publishImage(png(numberIn(message)));
        await publishTable({ values: [{ value: numberIn(message) }] });
        return null;
      },
      teardown: ({ publishImage }) => publishImage(png(99)),
    });
    const operators = [numbers(3), shower];
    const pipeline = pipelineOf(operators, [["numbers", "My Shower"]]);
    const summary = await runPipeline(pipeline, { operators, out });
    const files = ["my-shower-shown.json", "my-shower-shown.png"];
    expect(readdirSync(out).sort()).toEqual(files);
    expect(summary.files).toEqual(files.map((name) => join(out, name)));
    expect([...readFileSync(join(out, files[1]!))]).toEqual([...png(99)]);
    expect(JSON.parse(readFileSync(join(out, files[0]!), "utf8"))).toEqual({
      tables: { values: [{ value: 2 }] },
    });

    const nowhere = await runPipeline(pipeline, { operators });
    expect(nowhere).toMatchObject({ outcome: "finished", files: [] });
    expect(figures(nowhere, "My Shower").failures).toBe(0);
  });

  test("a picture that cannot be shown is an error of the author's call", async () => {
    const shower = operator("shower", {
      inputs: ["in"],
      run: async (message, { publishImage }) => {
        if (numberIn(message) === 1) rmSync(out, { recursive: true });
        await publishImage(png(numberIn(message)));
        return null;
      },
    });
    const operators = [numbers(2), shower];
    const warnings: RunWarning[] = [];
    const summary = await runPipeline(pipelineOf(operators, [["numbers", "shower"]]), {
      operators,
      out,
      observer: { warning: (warning) => void warnings.push(warning) },
    });
    expect(figures(summary, "shower").failures).toBe(1);
    expect(warnings).toMatchObject([{ operator: "shower", error: { code: "STEMLINE_FILE_WRITE" } }]);
  });
});
