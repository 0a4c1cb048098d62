import { execFileSync } from "node:child_process";
import { copyFileSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join, relative } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { Addon } from "../../../src/native/addon.ts";
import { addonPath, cudaStatus } from "../../../src/native/backends.ts";
import { loadAddon } from "../../../src/native/loader.ts";
import { nodeArguments } from "./child.ts";
import { compileCudaLibrary, currentVersion, devicesFunction, twoDevices } from "./cuda-library.ts";

let folder = "";
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "stemline-cuda-"));
});
afterEach(() => {
  vi.unstubAllEnvs();
  rmSync(folder, { recursive: true, force: true });
});

function statusOf(library: string) {
  vi.stubEnv("STEMLINE_CUDA_LIBRARY", library);
  return cudaStatus();
}

const statusWith = (functions: string) => statusOf(compileCudaLibrary(folder, functions));

const nothing = { driverVersion: null, runtimeVersion: null, devices: [] };

describe("cudaStatus", () => {
  it("lists the devices, with the versions of driver and library", () => {
    expect(statusWith(twoDevices)).toEqual({
      library: join(folder, "stemline_cuda.so"),
      reason: null,
      message: "",
      driverVersion: "12.4",
      runtimeVersion: "13.0",
      devices: [
        {
          name: "First GPU",
          pciBusId: "0000:3b:00.0",
          computeCapability: [9, 0],
          memoryBytes: 85_520_809_984,
        },
        {
          name: "Second GPU",
          pciBusId: "0001:af:00.0",
          computeCapability: [8, 6],
          memoryBytes: 25_447_170_048,
        },
      ],
    });
  });

  it("says that the library is missing", () => {
    const library = join(folder, "none.so");
    expect(statusOf(library)).toEqual({
      library,
      reason: "library-missing",
      message: `${library}: no such file`,
      ...nothing,
    });
  });

  it.each([
    ["text", "no library\n", /invalid ELF header|file too short/],
    ["empty", "", /file too short/],
    ["only the start of a library", Buffer.from("7f454c46020101", "hex"), /./],
  ])("says that a file that is %s is no library", (_what, content, text) => {
    const library = join(folder, "bad.so");
    writeFileSync(library, content);
    const { reason, message, ...rest } = statusOf(library);
    expect({ reason, ...rest }).toEqual({ reason: "library-unusable", library, ...nothing });
    expect(message.startsWith(`${library}: cannot be loaded: `)).toBe(true);
    expect(message).toMatch(text);
  });

  it("says that a folder is no library", () => {
    expect(statusOf(folder)).toMatchObject({ reason: "library-unusable", ...nothing });
  });

  it("says which function another library lacks", () => {
    expect(statusWith("int other;")).toEqual({
      library: join(folder, "stemline_cuda.so"),
      reason: "symbol-missing",
      message: `${join(folder, "stemline_cuda.so")}: has no function stemline_cuda_abi_version`,
      ...nothing,
    });
    rmSync(join(folder, "stemline_cuda.so"));
    expect(statusWith(currentVersion)).toMatchObject({
      reason: "symbol-missing",
      message: expect.stringMatching(/: has no function stemline_cuda_devices$/),
    });
  });

  it("says which version was expected and calls no further function of another one", () => {
    const library = `
      uint32_t stemline_cuda_abi_version(void) { return STEMLINE_CUDA_ABI_VERSION + 40; }
      ${devicesFunction("__builtin_trap();")}`;
    expect(statusWith(library)).toEqual({
      library: join(folder, "stemline_cuda.so"),
      reason: "wrong-version",
      message: `${join(folder, "stemline_cuda.so")}: expected interface version 2, got 42`,
      ...nothing,
    });
  });

  it.each([
    ["STEMLINE_CUDA_DRIVER_MISSING", "driver-missing"],
    ["STEMLINE_CUDA_DRIVER_TOO_OLD", "driver-too-old"],
    ["STEMLINE_CUDA_NO_DEVICE", "no-device"],
    ["STEMLINE_CUDA_FAILED", "failed"],
    ["-77", "failed"],
  ])("hands on %s and the library's reason", (result, reason) => {
    const body = `strncpy(reason, "because of it", reason_size); return ${result};`;
    expect(statusWith(currentVersion + devicesFunction(body))).toEqual({
      library: join(folder, "stemline_cuda.so"),
      reason,
      message: `${join(folder, "stemline_cuda.so")}: because of it`,
      driverVersion: "12.4",
      runtimeVersion: "13.0",
      devices: [],
    });
  });

  it("takes a failure between counting and describing as one", () => {
    const body = `*device_count = 3; if (capacity == 0) return STEMLINE_CUDA_OK;
      strncpy(reason, "fell off the bus", reason_size); return STEMLINE_CUDA_FAILED;`;
    expect(statusWith(currentVersion + devicesFunction(body))).toMatchObject({
      reason: "failed",
      message: expect.stringMatching(/: fell off the bus$/),
      devices: [],
    });
  });

  it("reads no further than its arrays, whatever the library writes", () => {
    const unterminated = `*device_count = capacity == 0 ? 2 : 1000000;
      memset(devices, 'x', capacity * sizeof *devices);
      return STEMLINE_CUDA_OK;`;
    const { reason, devices } = statusWith(currentVersion + devicesFunction(unterminated));
    expect(reason).toBe(null);
    expect(devices.map(({ name, pciBusId }) => [name, pciBusId])).toEqual(
      Array(2).fill(["x".repeat(256), "x".repeat(16)]),
    );
    rmSync(join(folder, "stemline_cuda.so"));
    const endless = "memset(reason, 'y', reason_size); return STEMLINE_CUDA_FAILED;";
    const { message, library } = statusWith(currentVersion + devicesFunction(endless));
    expect(message).toBe(`${library}: ${"y".repeat(512)}`);
  });

  it("takes no device without a reason as none", () => {
    const body = "return STEMLINE_CUDA_OK;";
    expect(statusWith(currentVersion + devicesFunction(body))).toMatchObject({
      reason: "no-device",
      message: expect.stringMatching(/: found no device$/),
    });
  });

  it("takes a path relative to the working directory", () => {
    const library = compileCudaLibrary(folder, twoDevices);
    expect(statusOf(relative(process.cwd(), library))).toMatchObject({ library, reason: null });
  });

  it("looks beside the addon when nothing is named", () => {
    const addon = join(folder, basename(addonPath()));
    copyFileSync(addonPath(), addon);
    const library = compileCudaLibrary(folder, twoDevices);
    const backends = JSON.stringify(new URL("../../../src/native/backends.ts", import.meta.url).href);
    const program = `import { cudaStatus } from ${backends}; console.log(JSON.stringify(cudaStatus()));`;
    const env = { ...process.env, STEMLINE_ADDON: addon, STEMLINE_CUDA_LIBRARY: "" };
    const text = execFileSync(process.execPath, nodeArguments("-e", program), { env, encoding: "utf8" });
    expect(JSON.parse(text)).toMatchObject({ library, reason: null });
  });
});

describe("the addon itself", () => {
  const call = (library: unknown) => () => (loadAddon().cudaStatus as (library: unknown) => unknown)(library);

  it.each([
    [undefined, "a string, got undefined"],
    [7, "a string, got a number"],
    ["", "the path of a file, got an empty string"],
    ["/tmp\0/x.so", "the path of a file, got one with a zero byte"],
  ] satisfies [Parameters<Addon["cudaStatus"]>[0] | number | undefined, string][])(
    "refuses %o",
    (library, text) => {
      expect(call(library)).toThrow(
        expect.objectContaining({ code: "STEMLINE_INVALID_ARGUMENT", message: `library: expected ${text}` }),
      );
    },
  );
});
