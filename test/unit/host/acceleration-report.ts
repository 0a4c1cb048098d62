import type { AcceleratorFigures, CudaReason } from "../../../src/native/addon.ts";
import type { AccelerationReport } from "../../../src/native/backends.ts";

export const acceleratorFigures: AcceleratorFigures = {
  batches: 0,
  busy: 0,
  tooLarge: 0,
  failures: 0,
  failure: "",
  off: false,
  deviceBytes: 2000,
  pinnedBytes: 1000,
  maxBytes: 4000,
};

const device = {
  name: "First GPU",
  pciBusId: "0000:3b:00.0",
  computeCapability: [9, 0],
  memoryBytes: 1e9,
} as const;

/** A report of a process that compared one size, with these differences. */
export function accelerationOf({
  mode = "auto",
  reason = null,
  figures = acceleratorFigures,
}: {
  readonly mode?: AccelerationReport["mode"];
  readonly reason?: CudaReason | null;
  readonly figures?: AcceleratorFigures | null;
}): AccelerationReport {
  return {
    mode,
    cuda: {
      library: "/lib/stemline_cuda.so",
      reason,
      message: reason === null ? "" : `because of ${reason}`,
      driverVersion: "13.0",
      runtimeVersion: "13.0",
      devices: [device],
    },
    device,
    startMs: 100,
    calibrationMs: 20,
    calibration: [{ operation: "analysis", events: 4096, cpuMs: 4, cudaMs: 1, chosen: "cuda" }],
    figures,
  };
}
