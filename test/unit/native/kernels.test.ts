import { execFile } from "node:child_process";
import { getEventListeners } from "node:events";
import { setImmediate as nextTurn, setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { beforeAll, describe, expect, it } from "vitest";
import { NativeError, ParameterError, WireError } from "../../../src/errors.ts";
import type { Addon, BatchResult, MessageParts, NativeParts } from "../../../src/native/addon.ts";
import { backends, defaultBackend } from "../../../src/native/backends.ts";
import {
  type CenterOfMassPartialOptions,
  ComReducer,
  type ComReducerOptions,
  centerOfMassPartial,
  decodeBatch,
} from "../../../src/native/kernels.ts";
import { loadAddon } from "../../../src/native/loader.ts";
import { nodeArguments } from "./child.ts";
import { largeMessage, randomMessage, shuffled } from "./messages.ts";
import { centerOfMassOracle } from "./oracle.ts";
import { bytesOf, npzBytes, sha256 } from "./results.ts";

const choice = {
  scanNumber: 2,
  scanShape: [4, 3],
  frameShape: [32, 48],
  framesPerPosition: 2,
  maxEvents: 30,
} as const;
const message = randomMessage({ ...choice, seed: 5 });
const supported = backends().filter((backend) => backend.supported);

describe("backends", () => {
  it("are named, and the plain one is always supported", () => {
    const names = backends().map(({ name }) => name);
    expect(names).toEqual([...new Set(names)]);
    expect(backends()).toContainEqual({ name: "scalar", supported: true });
    console.log(
      `backends: ${backends().map(({ name, supported: is }) => `${name}${is ? "" : " (skipped)"}`)}`,
    );
  });

  it("give the same bytes", async () => {
    const results = await Promise.all(
      supported.map(({ name }) => centerOfMassPartial(message, { backend: name, cropTo: [9, 7] })),
    );
    expect(results.map(({ backend }) => backend)).toEqual(supported.map(({ name }) => name));
    expect(new Set(results.map(({ meta, data }) => sha256(meta, data))).size).toBe(1);
    const { com } = centerOfMassOracle(message, { cropTo: [9, 7] });
    expect(npzBytes(results[0]!.data, "com").equals(bytesOf(com))).toBe(true);
  });

  it("that are unknown are refused, naming those that exist", async () => {
    const calls = [
      () => centerOfMassPartial(message, { backend: "vax" }),
      () => new ComReducer().add(message, { backend: "vax" }),
      () => new ComReducer().flush({ backend: "vax" }),
    ];
    for (const call of calls) {
      const error = await failure(call);
      expect(error).toBeInstanceOf(NativeError);
      expect(error).toMatchObject({ code: "STEMLINE_BACKEND_UNAVAILABLE" });
      for (const name of ["vax", ...backends().map((backend) => backend.name)])
        expect(error.message).toContain(name);
    }
  });

  it("that this CPU cannot run are refused, saying so", async () => {
    for (const { name } of backends().filter((backend) => !backend.supported)) {
      const error = await failure(() => centerOfMassPartial(message, { backend: name }));
      expect(error).toMatchObject({
        code: "STEMLINE_BACKEND_UNAVAILABLE",
        message: expect.stringContaining(name),
      });
    }
  });

  it("default to the best that the CPU has", () => {
    // The environment of a test run may force another one.
    const { STEMLINE_BACKEND: forced = "" } = process.env;
    const isChoice = ["", "auto", "cpu", "cuda"].includes(forced);
    expect(defaultBackend()).toBe(isChoice ? supported[0]!.name : forced);
  });

  const urlOf = (file: string) =>
    JSON.stringify(new URL(`../../../src/native/${file}`, import.meta.url).href);
  const child = async (backend: string, script: string) => {
    const program = `import { centerOfMassPartial } from ${urlOf("kernels.ts")};
      import { defaultBackend } from ${urlOf("backends.ts")};\n${script}`;
    const { stdout } = await promisify(execFile)(process.execPath, nodeArguments("-e", program), {
      env: { ...process.env, STEMLINE_BACKEND: backend },
    });
    return stdout.trim();
  };

  it.each(supported.map(({ name }) => name))("STEMLINE_BACKEND=%s is used", async (name) => {
    expect(await child(name, "console.log(defaultBackend())")).toBe(name);
  });

  it("STEMLINE_BACKEND with an unknown name is an error of every call that names none", async () => {
    const empty = "new Uint8Array(0)";
    const output = await child(
      "vax",
      `for (const call of [defaultBackend, () => centerOfMassPartial({ meta: ${empty}, data: ${empty} })]) {
         try { await call(); } catch ({ name, code, message }) { console.log([name, code, message].join("|")); }
       }
       const named = await centerOfMassPartial({ meta: ${empty}, data: ${empty} }, { backend: "scalar" }).catch((error) => error);
       console.log(named.code);`,
    );
    const [first, second, third] = output.split("\n");
    expect(first).toMatch(/^NativeError\|STEMLINE_BACKEND_UNAVAILABLE\|STEMLINE_BACKEND: .*"vax".*scalar/);
    expect(second).toBe(first);
    expect(third).toBe("STEMLINE_BATCH_TRUNCATED");
  });
});

describe("options", () => {
  const partialOptions: [string, unknown, string][] = [
    ["cropTo", [1], "cropTo: expected two finite numbers, got [ 1 ]"],
    ["cropTo", [1, 2, 3], "cropTo: expected two finite numbers, got [ 1, 2, 3 ]"],
    ["cropTo", [Number.NaN, 1], "cropTo: expected two finite numbers, got [ NaN, 1 ]"],
    ["cropTo", [1, Number.POSITIVE_INFINITY], "cropTo: expected two finite numbers, got [ 1, Infinity ]"],
    ["cropTo", ["1", 2], "cropTo: expected two finite numbers, got [ '1', 2 ]"],
    ["cropTo", 5n, "cropTo: expected two finite numbers, got 5n"],
    ["cropTo", null, "cropTo: expected two finite numbers, got null"],
    [
      "initCenter",
      [Number.NEGATIVE_INFINITY, 0],
      "initCenter: expected two finite numbers, got [ -Infinity, 0 ]",
    ],
    ["initCenter", "0,0", 'initCenter: expected two finite numbers, got "0,0"'],
    ["cropShape", "circle", 'cropShape: expected "box" or "disk", got "circle"'],
    ["invalidFrames", "ignore", 'invalidFrames: expected "reject" or "drop", got "ignore"'],
    ["replaceNaNs", 1, "replaceNaNs: expected a boolean, got a number"],
    ["backend", 1, "backend: expected a string, got a number"],
  ];
  it.each(partialOptions)("of centerOfMassPartial: %s %o is refused", async (name, value, text) => {
    const options = { [name]: value } as unknown as CenterOfMassPartialOptions;
    const error = await failure(() => centerOfMassPartial(message, options));
    expect(error).toBeInstanceOf(ParameterError);
    expect(error).toMatchObject({ code: "STEMLINE_INVALID_ARGUMENT", message: text });
  });

  const reducerOptions: [string, unknown, string][] = [
    ["emitEvery", 1.5, "emitEvery: expected a whole number from -2147483647 to 2147483647, got 1.5"],
    ["emitEvery", Number.NaN, "emitEvery: expected a whole number from -2147483647 to 2147483647, got NaN"],
    [
      "emitEvery",
      2 ** 31,
      "emitEvery: expected a whole number from -2147483647 to 2147483647, got 2147483648",
    ],
    ["emitEvery", 5n, "emitEvery: expected a whole number from -2147483647 to 2147483647, got 5n"],
    ["emitEvery", "5", 'emitEvery: expected a whole number from -2147483647 to 2147483647, got "5"'],
    ["maxConcurrentScans", 0, "maxConcurrentScans: expected a whole number from 1 to 2147483647, got 0"],
    ["includeHeaders", "yes", "includeHeaders: expected a boolean, got a string"],
    ["replaceNaNs", null, "replaceNaNs: expected a boolean, got null"],
  ];
  it.each(reducerOptions)(
    "of ComReducer: %s %o is refused by add and by flush",
    async (name, value, text) => {
      const options = { [name]: value } as unknown as ComReducerOptions;
      const reducer = new ComReducer();
      for (const call of [() => reducer.add(message, options), () => reducer.flush(options)]) {
        const error = await failure(call);
        expect(error).toBeInstanceOf(ParameterError);
        expect(error).toMatchObject({ code: "STEMLINE_INVALID_ARGUMENT", message: text });
      }
    },
  );

  it("that are undefined are defaults", async () => {
    const { data } = await centerOfMassPartial(message, {});
    const undefinedOptions = {
      cropTo: undefined,
      initCenter: undefined,
      cropShape: undefined,
      backend: undefined,
    };
    const same = await centerOfMassPartial(
      message,
      undefinedOptions as unknown as CenterOfMassPartialOptions,
    );
    expect(bytesOf(same.data).equals(data)).toBe(true);
  });
});

describe("an AbortSignal", () => {
  let large: MessageParts;
  // Two passes over 13 million events on the plain backend: far longer than the pauses below.
  const slow = { backend: "scalar", cropTo: [100, 100], cropShape: "disk" } as const;

  beforeAll(() => {
    large = largeMessage(65536, 200);
  });

  it("that is aborted already keeps the call from starting", async () => {
    const reason = new Error("too late");
    const garbage = { meta: 1, data: 2 } as unknown as MessageParts;
    expect(await failure(() => centerOfMassPartial(garbage, { signal: AbortSignal.abort(reason) }))).toBe(
      reason,
    );
    const error = await failure(() => centerOfMassPartial(garbage, { signal: AbortSignal.abort() }));
    expect(error).toMatchObject({ name: "AbortError", code: 20 });
  });

  it("stops a call that runs, and later calls are none the worse", async () => {
    const expected = await centerOfMassPartial(large, slow);
    let stopped = 0;
    for (let attempt = 0; attempt < 20 && stopped < 3; attempt++) {
      const controller = new AbortController();
      const call = centerOfMassPartial(large, { ...slow, signal: controller.signal }).then(
        () => "finished",
        (error: unknown) => error,
      );
      await sleep(5);
      const reason = { attempt };
      controller.abort(reason);
      const result = await call;
      expect(getEventListeners(controller.signal, "abort")).toEqual([]);
      // A fast machine may have finished by then.
      if (result === "finished") continue;
      expect(result).toBe(reason);
      stopped++;
    }
    expect(stopped).toBe(3);
    const again = await centerOfMassPartial(large, slow);
    expect(sha256(again.meta, again.data)).toBe(sha256(expected.meta, expected.data));
  });

  it("stops a call that waits behind others, and only that one", async () => {
    // More than libuv's pool has threads.
    const before = Array.from({ length: 6 }, () => centerOfMassPartial(large, slow));
    const controller = new AbortController();
    const waiting = failure(() => centerOfMassPartial(message, { signal: controller.signal }));
    const after = centerOfMassPartial(message, { signal: new AbortController().signal });
    await nextTurn();
    controller.abort();
    expect(await waiting).toBe(controller.signal.reason);
    expect(await waiting).toMatchObject({ name: "AbortError" });
    const hashes = (await Promise.all(before)).map(({ meta, data }) => sha256(meta, data));
    expect(new Set(hashes).size).toBe(1);
    expect((await after).frames).toBe(24);
  });

  it("shared by calls stops all of them", async () => {
    const { signal, abort } = abortable();
    const calls = Array.from({ length: 8 }, () =>
      failure(() => centerOfMassPartial(large, { ...slow, signal })),
    );
    await nextTurn();
    abort("all");
    expect(await Promise.all(calls)).toEqual(Array(8).fill("all"));
    expect(getEventListeners(signal, "abort")).toEqual([]);
  });

  it("that comes after the result changes nothing", async () => {
    const { signal, abort } = abortable();
    const { data } = await centerOfMassPartial(message, { signal });
    const before = sha256(data);
    abort("late");
    await nextTurn();
    expect(sha256(data)).toBe(before);
  });

  it("does not hide another failure", async () => {
    const { signal, abort } = abortable();
    const call = failure(() =>
      centerOfMassPartial({ ...message, meta: message.meta.subarray(1) }, { signal }),
    );
    const error = await call;
    abort("late");
    expect(error).toBeInstanceOf(WireError);
  });

  it("that never aborts is left without a listener", async () => {
    const { signal } = abortable();
    await centerOfMassPartial(message, { signal });
    await failure(() => centerOfMassPartial({ ...message, data: new Uint8Array(1) }, { signal }));
    await failure(() => centerOfMassPartial(message, { signal, backend: "vax" }));
    await failure(() => centerOfMassPartial(message, { signal, cropTo: [Number.NaN, 0] }));
    expect(getEventListeners(signal, "abort")).toEqual([]);
  });
});

describe("inputs", () => {
  it("of no bytes are refused", async () => {
    const empty = new Uint8Array(0);
    expect(await failure(() => centerOfMassPartial({ meta: empty, data: empty }))).toMatchObject({
      code: "STEMLINE_BATCH_TRUNCATED",
    });
    expect(await failure(() => decodeBatch(empty, 0))).toMatchObject({ code: "STEMLINE_BATCH_TRUNCATED" });
    expect(await failure(() => new ComReducer().add({ meta: empty, data: empty }))).toMatchObject({
      code: "STEMLINE_BATCH_TRUNCATED",
    });
  });

  it("may start at any byte", async () => {
    const expected = await centerOfMassPartial(message, { cropTo: [10, 10] });
    for (let offset = 0; offset < 9; offset++) {
      const shifted = { meta: at(offset, message.meta), data: at(offset, message.data) };
      for (const { name } of supported) {
        const ours = await centerOfMassPartial(shifted, { cropTo: [10, 10], backend: name });
        expect(sha256(ours.meta, ours.data), `${name} at ${offset}`).toBe(
          sha256(expected.meta, expected.data),
        );
      }
      const reducer = new ComReducer();
      const parts = { meta: at(offset, expected.meta), data: at(offset, expected.data) };
      expect(await reducer.add(parts)).toMatchObject([{ complete: true }]);
    }
  });

  it("stay as they were", async () => {
    const before = sha256(message.meta, message.data);
    const { meta, data } = await centerOfMassPartial(message, { replaceNaNs: true, cropTo: [3, 3] });
    expect(sha256(message.meta, message.data)).toBe(before);
    const parts = sha256(meta, data);
    await new ComReducer().add({ meta, data }, { includeHeaders: true });
    expect(sha256(meta, data)).toBe(parts);
  });

  it("cut off anywhere are refused", async () => {
    for (let length = 0; length < message.meta.length; length++) {
      const error = await failure(() => decodeBatch(message.meta.subarray(0, length), message.data.length));
      expect(error, `${length} bytes`).toMatchObject({ code: "STEMLINE_BATCH_TRUNCATED" });
    }
  });
});

describe("outputs", () => {
  it("keep their content while later calls reuse memory", async () => {
    const seeds = shuffled(
      Array.from({ length: 40 }, (_, i) => i),
      1,
    );
    const held: { result: BatchResult | MessageParts; hash: string }[] = [];
    const reducer = new ComReducer();
    for (const seed of seeds) {
      // Sizes go up and down, so that blocks of the pool change hands.
      const rows = 3 + ((seed * 7) % 23);
      const input = randomMessage({ ...choice, scanNumber: seed, scanShape: [rows, 11], seed });
      const backend = supported[seed % supported.length]!.name;
      const calls = [{}, { cropTo: [8, 9] }, { cropTo: [8, 9], replaceNaNs: true }] as const;
      const results = await Promise.all(
        calls.map((options) => centerOfMassPartial(input, { ...options, backend })),
      );
      const emissions = await reducer.add(results[0]!, { includeHeaders: true });
      for (const result of [...results, ...emissions])
        held.push({ result, hash: sha256(result.meta, result.data) });
      // Every other pair is let go, so that its memory comes back while the others are held.
      if (seed % 2 === 0) held.splice(-2, 2);
    }
    expect(held.length).toBeGreaterThan(80);
    const buffers = held.flatMap(({ result }) => [result.meta.buffer, result.data.buffer]);
    expect(new Set(buffers).size).toBe(buffers.length);
    for (const { result, hash } of held) expect(sha256(result.meta, result.data)).toBe(hash);
  });

  it("may be written to without changing another", async () => {
    const [a, b] = await Promise.all([centerOfMassPartial(message), centerOfMassPartial(message)]);
    const before = sha256(b.meta, b.data);
    a.meta.fill(0xff);
    a.data.fill(0xff);
    const c = await centerOfMassPartial(message);
    expect(sha256(b.meta, b.data)).toBe(before);
    expect(sha256(c.meta, c.data)).toBe(before);
  });
});

describe("the raw addon", () => {
  const addon = loadAddon();
  const { meta, data } = message;
  const shared = new Uint8Array(new SharedArrayBuffer(meta.length));
  shared.set(meta);

  /** Values that are no Uint8Array. */
  const notBytes: Record<string, unknown> = {
    undefined: undefined,
    null: null,
    "a number": 7,
    "a string": "bytes",
    "a boolean": true,
    "a bigint": 7n,
    "a symbol": Symbol("bytes"),
    "a function": () => 0,
    "an object": {},
    "an array": [1, 2, 3],
    "an object with a length": { length: 4, byteLength: 4, buffer: new ArrayBuffer(4) },
    "an object that inherits": Object.create(Uint8Array.prototype),
    "a proxy": new Proxy(new Uint8Array(4), {}),
    "an ArrayBuffer": new ArrayBuffer(8),
    "a SharedArrayBuffer": new SharedArrayBuffer(8),
    "a DataView": new DataView(new ArrayBuffer(8)),
    "an Int8Array": new Int8Array(8),
    "a Uint8ClampedArray": new Uint8ClampedArray(8),
    "a Uint16Array": new Uint16Array(8),
    "a Uint32Array": new Uint32Array(8),
    "a Float32Array": new Float32Array(8),
    "a Float64Array": new Float64Array(8),
    "a BigInt64Array": new BigInt64Array(8),
  };

  type Call = (...args: unknown[]) => unknown;
  const raw = addon as unknown as Record<keyof Addon, Call> & {
    ComReducer: new () => { add: Call; flush: Call };
  };
  const reducer = new raw.ComReducer();
  const methods: Record<string, Call> = {
    centerOfMassPartial: (...args) => raw.centerOfMassPartial(...args),
    decodeBatch: (...args) => raw.decodeBatch(...args),
    add: (...args) => reducer.add(...args),
  };

  describe.each(Object.entries(methods))("%s", (name, call) => {
    it.each(Object.entries(notBytes))("refuses %s as meta", async (_what, value) => {
      const error = await failure(() => call(value, name === "decodeBatch" ? 4 : data, {}));
      expect(error).toMatchObject({
        code: "STEMLINE_INVALID_ARGUMENT",
        message: expect.stringMatching(/^meta: expected a Uint8Array, got /),
      });
    });

    it("refuses missing arguments", async () => {
      expect(await failure(() => call())).toMatchObject({ code: "STEMLINE_INVALID_ARGUMENT" });
      expect(await failure(() => call(meta))).toMatchObject({ code: "STEMLINE_INVALID_ARGUMENT" });
    });

    it("takes a detached array for an empty one", async () => {
      const gone = meta.slice();
      structuredClone(gone.buffer, { transfer: [gone.buffer] });
      expect(gone.length).toBe(0);
      const error = await failure(() => call(gone, name === "decodeBatch" ? 4 : data, {}));
      expect(error).toMatchObject({ code: "STEMLINE_BATCH_TRUNCATED" });
    });
  });

  describe.each(Object.entries(methods).filter(([name]) => name !== "decodeBatch"))("%s", (_name, call) => {
    it.each(Object.entries(notBytes))("refuses %s as data", async (_what, value) => {
      expect(await failure(() => call(meta, value, {}))).toMatchObject({
        code: "STEMLINE_INVALID_ARGUMENT",
        message: expect.stringMatching(/^data: expected a Uint8Array, got /),
      });
    });

    it.each([undefined, null, 7, "options", true, 7n, Symbol("options")])(
      "refuses %s as options",
      async (value) => {
        expect(await failure(() => call(meta, data, value))).toMatchObject({
          code: "STEMLINE_INVALID_ARGUMENT",
          message: expect.stringMatching(/^options: expected an object, got /),
        });
      },
    );

    it("passes on what an option's getter throws", async () => {
      const thrown = new Error("from the getter");
      const options = {
        get backend() {
          throw thrown;
        },
      };
      expect(await failure(() => call(meta, data, options))).toBe(thrown);
    });

    it("is not misled by an option's getter that takes the arrays away", async () => {
      const gone = { meta: meta.slice(), data: data.slice() };
      const options = {
        get backend() {
          for (const { buffer } of Object.values(gone)) structuredClone(buffer, { transfer: [buffer] });
          return undefined;
        },
      };
      expect(await failure(() => call(gone.meta, gone.data, options))).toMatchObject({
        code: "STEMLINE_BATCH_TRUNCATED",
      });
    });
  });

  const optionTypes: [string, unknown, string][] = [
    ["cropX", "1", "cropX: expected a number, got a string"],
    ["centerY", null, "centerY: expected a number, got null"],
    ["disk", 0, "disk: expected a boolean, got a number"],
    ["dropInvalidFrames", "no", "dropInvalidFrames: expected a boolean, got a string"],
    ["backend", {}, "backend: expected a string, got an object"],
    ["jobNumber", -1, "jobNumber: expected a whole number from 0 to 4294967295, got -1"],
    ["jobNumber", 2 ** 32, "jobNumber: expected a whole number from 0 to 4294967295, got 4294967296"],
    ["jobNumber", Number.NaN, "jobNumber: expected a whole number from 0 to 4294967295, got NaN"],
    ["jobNumber", 7n, "jobNumber: expected a number, got a bigint"],
  ];
  it.each(optionTypes)("refuses the option %s %o", async (name, value, text) => {
    expect(await failure(() => raw.centerOfMassPartial(meta, data, { [name]: value }))).toMatchObject({
      code: "STEMLINE_INVALID_ARGUMENT",
      message: text,
    });
  });

  it.each([Number.NaN, Number.POSITIVE_INFINITY])("refuses a crop of %s", async (value) => {
    for (const options of [
      { cropX: value, cropY: 1 },
      { cropX: 1, cropY: 1, centerX: 1, centerY: value },
    ]) {
      expect(await failure(() => raw.centerOfMassPartial(meta, data, options))).toMatchObject({
        code: "STEMLINE_INVALID_ARGUMENT",
      });
    }
  });

  it.each([undefined, null, "4", {}, 4n, -1, 0.5, Number.NaN, 2 ** 53])(
    "refuses %s as dataLength",
    async (value) => {
      expect(await failure(() => raw.decodeBatch(meta, value))).toMatchObject({
        code: "STEMLINE_INVALID_ARGUMENT",
        message: expect.stringMatching(/^dataLength: expected a number/),
      });
    },
  );

  it("reads arrays over shared memory", async () => {
    const result = (await raw.centerOfMassPartial(shared, data, {})) as BatchResult<NativeParts>;
    const expected = await centerOfMassPartial(message);
    expect(sha256(result.meta.view(), result.data.view())).toBe(sha256(expected.meta, expected.data));
    expect(raw.decodeBatch(shared, data.length)).toEqual(decodeBatch(meta, data.length));
  });

  it("reads a Buffer of Node's pool", async () => {
    const buffers = { meta: Buffer.from(meta), data: Buffer.from(data) };
    const result = await centerOfMassPartial(buffers);
    const expected = await centerOfMassPartial(message);
    expect(sha256(result.meta, result.data)).toBe(sha256(expected.meta, expected.data));
  });

  it("ends well even if the caller writes to the data meanwhile, which is not allowed", async () => {
    const seed = 8;
    const large = randomMessage({
      ...choice,
      scanShape: [64, 64],
      framesPerPosition: 1,
      maxEvents: 400,
      seed,
    });
    const events = new Uint32Array(large.data.buffer);
    const last = events.length - 1;
    const original = events[last]!;
    const codes = new Set<string>();
    for (let round = 0; round < 40; round++) {
      const options = { dropInvalidFrames: round % 2 === 0, backend: "scalar" };
      let pending = true;
      const call = addon.centerOfMassPartial(large.meta, large.data, options).then(
        () => codes.add("none"),
        ({ code }) => codes.add(code),
      );
      void call.finally(() => {
        pending = false;
      });
      while (pending) {
        // An event that is found outside the detector may lie inside it again when its frame is looked for.
        for (let i = 0; i < 20_001; i++) events[last] = i % 2 === 0 ? original : 0xffff_ffff;
        await nextTurn();
      }
    }
    for (const code of codes) expect(["none", "STEMLINE_BATCH_EVENT_INDEX"]).toContain(code);
  });

  it("refuses methods on other objects, and the class as a function", async () => {
    const { add, flush } = raw.ComReducer.prototype as { add: Call; flush: Call };
    for (const method of [add, flush]) {
      for (const receiver of [
        undefined,
        null,
        {},
        7,
        new Uint8Array(4),
        Object.create(raw.ComReducer.prototype),
      ]) {
        expect(await failure(() => method.call(receiver, meta, data, {}))).toBeInstanceOf(Error);
      }
    }
    expect(await failure(() => (raw.ComReducer as unknown as Call)())).toBeInstanceOf(Error);
  });

  it("takes the number of a job that is not there, and refuses what is no number", async () => {
    for (const number of [0, 1, 123456, -5, Number.NaN, 2 ** 40]) expect(raw.cancel(number)).toBe(undefined);
    for (const value of [undefined, null, "1", {}, 1n]) {
      expect(await failure(() => raw.cancel(value))).toMatchObject({ code: "STEMLINE_INVALID_ARGUMENT" });
    }
  });

  it("keeps jobs of the same number apart enough to finish them all", async () => {
    const results = await Promise.all(
      Array.from({ length: 10 }, () => addon.centerOfMassPartial(meta, data, { jobNumber: 77 })),
    );
    expect(new Set(results.map((result) => sha256(result.meta.view(), result.data.view()))).size).toBe(1);
    raw.cancel(77);
  });
});

/** What a call throws or rejects with. */
async function failure(call: () => unknown): Promise<Error> {
  try {
    await call();
  } catch (error) {
    return error as Error;
  }
  throw new Error("expected the call to fail");
}

function abortable(): { readonly signal: AbortSignal; readonly abort: (reason: unknown) => void } {
  const controller = new AbortController();
  return { signal: controller.signal, abort: (reason) => controller.abort(reason) };
}

/** The same bytes, starting at another address. */
function at(offset: number, bytes: Uint8Array): Uint8Array {
  const copy = new Uint8Array(offset + bytes.length).subarray(offset);
  copy.set(bytes);
  return copy;
}
