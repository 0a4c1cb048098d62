import type {
  AcceleratorFigures,
  CalibrationPoint,
  CudaDevice,
  CudaReason,
  NativeAccelerationReport,
  NativeCudaStatus,
} from "./addon.ts";
import { configureAcceleration, cudaLibraryPath, findAddon, loadAddon } from "./loader.ts";
import { typedError } from "./typed-error.ts";

/** The file that the addon was loaded from. Throws NativeError `STEMLINE_ADDON_NOT_LOADED` without one. */
export function addonPath(): string {
  return findAddon().path;
}

/** Backends of this build, best first, and whether this CPU can run them. */
export function backends(): { name: string; supported: boolean }[] {
  return loadAddon().backends();
}

/** The backend used when a call names none. Throws NativeError if STEMLINE_BACKEND names one that cannot be used. */
export function defaultBackend(): string {
  try {
    return loadAddon().defaultBackend();
  } catch (error) {
    throw typedError(error);
  }
}

/** The GPUs of this machine, or why none can be used. */
export interface CudaStatus {
  /** Where the CUDA library was looked for. */
  readonly library: string;
  /** null if and only if there is a device. */
  readonly reason: CudaReason | null;
  /** The reason in words, with the library's path; "" if there is a device. */
  readonly message: string;
  /** Newest CUDA that the driver runs, such as "13.0"; null without a driver or a library that can ask it. */
  readonly driverVersion: string | null;
  /** CUDA that the library was built with; null without a library. */
  readonly runtimeVersion: string | null;
  readonly devices: readonly CudaDevice[];
}

/**
 * Looks for the CUDA library, its driver and devices. Blocks while the driver starts, seconds on some machines. Throws
 * NativeError `STEMLINE_ADDON_NOT_LOADED` without the addon, which opens the library; for nothing else.
 */
export function cudaStatus(): CudaStatus {
  return withVersionTexts(loadAddon().cudaStatus(cudaLibraryPath()));
}

/** What computes batches in this process besides the CPU, and how that was decided. */
export interface AccelerationReport {
  /** As STEMLINE_BACKEND says; with `cpu`, which stands for all backends of the CPU, nobody has looked for a GPU. */
  readonly mode: "cpu" | "auto" | "cuda";
  /**
   * With the reason why no GPU is used, also in spite of a device: that STEMLINE_CUDA_DEVICE is not one, that it failed, or
   * that the CPU is faster at everything.
   */
  readonly cuda: CudaStatus;
  /** The device that was chosen, null without any. */
  readonly device: CudaDevice | null;
  /** Milliseconds to start it, and to compare it with the CPU afterwards. */
  readonly startMs: number;
  readonly calibrationMs: number;
  /** Whichever is faster for batches of a kind and a size; empty if nothing was compared. */
  readonly calibration: readonly CalibrationPoint[];
  /** What the GPU has done so far; null if none is used. */
  readonly figures: AcceleratorFigures | null;
}

/**
 * Decides what computes batches, as the first batch does otherwise: whatever STEMLINE_BACKEND says, `auto` (default), `cpu`,
 * `cuda` or a backend of the CPU. With `auto` a GPU is compared with the CPU, with `cuda` it is used wherever it can be. A GPU
 * that cannot be used is a reason in the report, never an error; work goes on on the CPU. Takes tenths of a second with a GPU.
 */
export async function startAcceleration(): Promise<AccelerationReport> {
  try {
    await loadAddon().startAcceleration();
  } catch (error) {
    throw typedError(error);
  }
  return accelerationReport()!;
}

/** What was decided and done so far; null before the first batch and the first `startAcceleration`. */
export function accelerationReport(): AccelerationReport | null {
  const report = loadAddon().accelerationReport();
  return report === null ? null : readable(report);
}

/**
 * Says which replica of its operator this process is: without STEMLINE_CUDA_DEVICE, replicas take the devices in turn. Before
 * the first batch.
 */
export function useReplica(replica: number): void {
  configureAcceleration(loadAddon(), Math.abs(replica) % 2 ** 32);
}

function readable({ cuda, device, ...rest }: NativeAccelerationReport): AccelerationReport {
  const status = withVersionTexts(cuda);
  return { ...rest, cuda: status, device: device === null ? null : (status.devices[device] ?? null) };
}

function withVersionTexts(status: NativeCudaStatus): CudaStatus {
  return {
    ...status,
    driverVersion: cudaVersionText(status.driverVersion),
    runtimeVersion: cudaVersionText(status.runtimeVersion),
  };
}

function cudaVersionText(version: number): string | null {
  return version === 0 ? null : `${Math.floor(version / 1000)}.${Math.floor((version % 1000) / 10)}`;
}
