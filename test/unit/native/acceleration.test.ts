import { execFile } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { AccelerationReport } from "../../../src/native/backends.ts";
import { nodeArguments } from "./child.ts";
import { compileCudaLibrary, compileStandIn, cudaHeaders, twoDevices } from "./cuda-library.ts";

const headers = cudaHeaders();
if (headers === null) console.log("skipped: tests of acceleration, for which CUDA's headers are missing");

let folder = "";
let standIn = "";
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "stemline-acceleration-"));
  if (headers !== null) standIn = compileStandIn(folder, headers);
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const urlOf = (file: string) => JSON.stringify(new URL(file, import.meta.url).href);

/** A result's parts, hashed, and what computed them. */
interface Computed {
  readonly backend: string;
  readonly hash: string;
}

interface ChildResult {
  readonly report: AccelerationReport | null;
  readonly results: (Computed | string)[];
}

/**
 * What a process of its own says, since the choice is made once in each: `script` may push to `results`, and use `partial` and
 * `analysis`, which compute the same message and push what came of it.
 */
async function child(env: NodeJS.ProcessEnv, script: string): Promise<ChildResult> {
  const program = `
    import { createHash } from "node:crypto";
    import { centerOfMassPartial, ScanAnalyzer } from ${urlOf("../../../src/native/kernels.ts")};
    import { accelerationReport, startAcceleration, useReplica } from ${urlOf("../../../src/native/backends.ts")};
    import { batchMessage, randomFrames } from ${urlOf("./messages.ts")};
    const scan = { scanNumber: 3, scanShape: [9, 11], frameShape: [48, 64] };
    const message = batchMessage(scan, randomFrames({ ...scan, seed: 8, framesPerPosition: 2, maxEvents: 300 }));
    const results = [];
    const outcome = async (promise) => {
      try {
        const { backend, meta, data } = await promise;
        results.push({ backend, hash: createHash("sha256").update(meta).update(data).digest("hex") });
      } catch ({ code, message }) {
        results.push(code + ": " + message);
      }
    };
    const analyzer = new ScanAnalyzer([
      { name: "bright_field", innerRadius: 0, outerRadius: 9 },
      { name: "dark_field", innerRadius: 9, outerRadius: 40 },
    ]);
    const partial = (options = {}) => outcome(centerOfMassPartial(message, { cropTo: [7, 9], ...options }));
    const analysis = (options = {}) => outcome(analyzer.analyze(message, { cropTo: [7, 9], cropShape: "disk", ...options }));
    ${script}
    console.log(JSON.stringify({ report: accelerationReport(), results }, (key, value) => value === Infinity ? "Infinity" : value));
    // Nothing keeps the process from ending.
  `;
  const { stdout } = await promisify(execFile)(process.execPath, nodeArguments("-e", program), {
    env: {
      ...process.env,
      STEMLINE_BACKEND: "",
      STEMLINE_CUDA_DEVICE: "",
      STEMLINE_CUDA_LIBRARY: standIn,
      ...env,
    },
  });
  return JSON.parse(stdout);
}

const both = "await partial(); await analysis();";
const backendsOf = ({ results }: ChildResult) =>
  results.map((result) => (typeof result === "string" ? result : result.backend));
const hashesOf = ({ results }: ChildResult) =>
  results.map((result) => (typeof result === "string" ? result : result.hash));

describe.skipIf(headers === null)("with a device", () => {
  it("STEMLINE_BACKEND=cuda computes batches there, with the CPU's bytes", async () => {
    const onCpu = await child({ STEMLINE_BACKEND: "cpu" }, both);
    const onDevice = await child({ STEMLINE_BACKEND: "cuda" }, both);
    expect(backendsOf(onDevice)).toEqual(["cuda", "cuda"]);
    expect(backendsOf(onCpu)).not.toContain("cuda");
    expect(hashesOf(onDevice)).toEqual(hashesOf(onCpu));
    expect(onDevice.report).toMatchObject({
      mode: "cuda",
      cuda: { reason: null, message: "" },
      device: { name: "host emulation" },
      calibration: [],
      figures: { batches: 2, busy: 0, tooLarge: 0, failures: 0, failure: "", off: false, maxBytes: 2 ** 30 },
    });
    const { figures } = onDevice.report!;
    expect(figures!.deviceBytes).toBeGreaterThan(0);
    expect(figures!.deviceBytes).toBeLessThan(2 ** 30);
    expect(figures!.pinnedBytes).toBeGreaterThan(0);
  });

  it("a call may ask for the device or for the CPU", async () => {
    const script = `
      for (const backend of ["cuda", "cpu", "scalar", "auto"]) { await partial({ backend }); await analysis({ backend }); }`;
    const said = await child({ STEMLINE_BACKEND: "cuda" }, script);
    const [first, , cpu, , scalar, , auto] = backendsOf(said);
    expect([first, scalar, auto]).toEqual(["cuda", "scalar", "cuda"]);
    expect(cpu).not.toBe("cuda");
    expect(new Set(hashesOf(said)).size).toBe(2);
  });

  it("more calls at a time than the device has slots are all computed, some by the CPU", async () => {
    const script =
      "await Promise.all(Array.from({ length: 40 }, (_, i) => i % 2 === 0 ? partial() : analysis()));";
    const said = await child({ STEMLINE_BACKEND: "cuda" }, script);
    expect(new Set(hashesOf(said)).size).toBe(2);
    const { batches, busy, failures } = said.report!.figures!;
    expect(batches + busy).toBe(40);
    expect(failures).toBe(0);
    expect(backendsOf(said).filter((backend) => backend === "cuda").length).toBe(batches);
  });

  it("by default both are compared, and what is faster computes", async () => {
    const said = await child({}, both);
    const { mode, calibration, calibrationMs, cuda, figures } = said.report!;
    expect(mode).toBe("auto");
    expect(calibrationMs).toBeGreaterThan(0);
    expect(calibration.length).toBe(20);
    for (const { cpuMs, cudaMs, chosen } of calibration) {
      expect(cpuMs).toBeGreaterThan(0);
      expect(chosen).toBe(cudaMs < 0.9 * cpuMs ? "cuda" : "cpu");
    }
    const nothing = calibration.every(({ chosen }) => chosen === "cpu");
    expect(figures === null).toBe(nothing);
    if (nothing)
      expect(cuda).toMatchObject({
        reason: "slower",
        message: expect.stringContaining("faster at everything"),
      });
  });

  it("nothing is decided before the first batch, or before it is asked for", async () => {
    const said = await child({}, "results.push(String(accelerationReport())); await startAcceleration();");
    expect(said.results).toEqual(["null"]);
    expect(said.report).toMatchObject({ mode: "auto", device: { name: "host emulation" } });
  });

  it.each(["cpu", "scalar"])("STEMLINE_BACKEND=%s looks for no device", async (backend) => {
    const said = await child({ STEMLINE_BACKEND: backend }, `${both} await partial({ backend: "cuda" });`);
    const [first, second, refused] = backendsOf(said);
    expect([first, second]).not.toContain("cuda");
    if (backend === "scalar") expect([first, second]).toEqual(["scalar", "scalar"]);
    expect(refused).toMatch(/^STEMLINE_BACKEND_UNAVAILABLE: backend "cuda" cannot be used: STEMLINE_BACKEND/);
    expect(said.report).toMatchObject({ mode: "cpu", device: null, figures: null, cuda: { devices: [] } });
  });
});

describe.skipIf(headers === null)("a device that fails", () => {
  const illegalAddress = 700;
  const outOfMemory = 2;
  const cpuHashes = child({ STEMLINE_BACKEND: "cpu" }, both).catch(() => null);

  it.each([
    ["without memory", `cudaMalloc:1:${outOfMemory}`],
    ["without pinned memory", `cudaMallocHost:1:${outOfMemory}`],
    ["at a copy", "cudaMemcpyAsync:1:1"],
    ["at a launch", "launch_sums:1:701"],
  ])("%s loses no message and is used again", async (_what, fault) => {
    const said = await child(
      { STEMLINE_BACKEND: "cuda", STEMLINE_CUDA_HOST_FAULT: fault },
      `${both} ${both}`,
    );
    const [first, ...later] = backendsOf(said);
    expect(first).not.toBe("cuda");
    expect(later).toEqual(["cuda", "cuda", "cuda"]);
    const expected = hashesOf((await child({ STEMLINE_BACKEND: "cpu" }, both))!);
    expect(hashesOf(said)).toEqual([...expected, ...expected]);
    expect(said.report!.figures).toMatchObject({ batches: 3, failures: 1, off: false });
    expect(said.report!.figures!.failure).toMatch(new RegExp(`^${fault.split(":")[0]}: `));
  });

  it("for good is not used again, and the message in hand is not lost", async () => {
    const fault = `cudaEventSynchronize:2:${illegalAddress}:sticky`;
    const said = await child(
      { STEMLINE_BACKEND: "cuda", STEMLINE_CUDA_HOST_FAULT: fault },
      `${both} ${both}`,
    );
    const [first, ...later] = backendsOf(said);
    expect(first).toBe("cuda");
    expect(later).not.toContain("cuda");
    const expected = hashesOf((await cpuHashes) ?? (await child({ STEMLINE_BACKEND: "cpu" }, both)));
    expect(hashesOf(said)).toEqual([...expected, ...expected]);
    expect(said.report!.figures).toMatchObject({ batches: 1, failures: 1, off: true });
    expect(said.report!.figures!.failure).toMatch(/^the device failed: cudaEventSynchronize: /);
  });

  it("again and again is given up", async () => {
    // Counting of calls begins anew when the variable changes.
    const script = `
      for (const code of [1, 2, 801]) {
        process.env.STEMLINE_CUDA_HOST_FAULT = "cudaMemsetAsync:1:" + code;
        await partial();
      }
      await partial();`;
    const said = await child({ STEMLINE_BACKEND: "cuda" }, script);
    expect(backendsOf(said)).not.toContain("cuda");
    expect(new Set(hashesOf(said)).size).toBe(1);
    expect(said.report!.figures).toMatchObject({ batches: 0, failures: 3, off: true });
  });

  it("while it is compared is not chosen, with its reason", async () => {
    const said = await child({ STEMLINE_CUDA_HOST_FAULT: "cudaMemcpyAsync:1:1:sticky" }, both);
    expect(backendsOf(said)).not.toContain("cuda");
    expect(said.report).toMatchObject({
      figures: null,
      cuda: { reason: "failed", message: expect.stringMatching(/: cudaMemcpyAsync: /) },
    });
  });

  it("when it is started leaves the CPU, with its reason", async () => {
    const fault = `cudaStreamCreateWithFlags:1:${outOfMemory}`;
    const said = await child(
      { STEMLINE_BACKEND: "cuda", STEMLINE_CUDA_HOST_FAULT: fault },
      `${both} await partial({ backend: "cuda" });`,
    );
    const [first, second, refused] = backendsOf(said);
    expect([first, second]).not.toContain("cuda");
    expect(refused).toMatch(
      /^STEMLINE_BACKEND_UNAVAILABLE: backend "cuda" cannot be used: .*cudaStreamCreateWithFlags: out of memory/,
    );
    expect(said.report).toMatchObject({ figures: null, cuda: { reason: "failed" } });
  });
});

describe("which device", () => {
  const withTwo = (env: NodeJS.ProcessEnv, replica = 0) => {
    const library = compileCudaLibrary(mkdtempSync(join(folder, "two-")), twoDevices);
    const script = `useReplica(${replica}); await startAcceleration();`;
    return child({ STEMLINE_BACKEND: "cuda", STEMLINE_CUDA_LIBRARY: library, ...env }, script);
  };

  it.each([
    [0, "First GPU"],
    [1, "Second GPU"],
    [2, "First GPU"],
    [7, "Second GPU"],
    [-3, "Second GPU"],
  ])("replica %i takes the %s", async (replica, name) => {
    const { report } = await withTwo({}, replica);
    expect(report!.device).toMatchObject({ name });
    // The stub lets itself be found, not used.
    expect(report!.cuda).toMatchObject({
      reason: "failed",
      message: expect.stringMatching(/: this device is a stub$/),
    });
  });

  it("STEMLINE_CUDA_DEVICE goes first", async () => {
    const { report } = await withTwo({ STEMLINE_CUDA_DEVICE: "1" });
    expect(report!.device).toMatchObject({ name: "Second GPU" });
  });

  it.each(["2", "-1", "x", "1x", " 1", "99999999999999999999"])(
    "STEMLINE_CUDA_DEVICE=%j is none",
    async (device) => {
      const { report } = await withTwo({ STEMLINE_CUDA_DEVICE: device });
      expect(report!.device).toBe(null);
      expect(report!.cuda.reason).toBe("no-such-device");
      expect(report!.cuda.message).toContain(
        `STEMLINE_CUDA_DEVICE: expected a whole number from 0 to 1, got "${device}"`,
      );
    },
  );

  it("without a library the CPU computes, whatever was asked for", async () => {
    const library = join(folder, "none.so");
    for (const backend of ["", "auto", "cuda"]) {
      const said = await child({ STEMLINE_BACKEND: backend, STEMLINE_CUDA_LIBRARY: library }, both);
      expect(backendsOf(said)).not.toContain("cuda");
      expect(said.report!.cuda).toMatchObject({
        reason: "library-missing",
        message: `${library}: no such file`,
      });
    }
  });
});
