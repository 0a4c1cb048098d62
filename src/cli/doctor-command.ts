import { readFileSync } from "node:fs";
import { availableParallelism, cpus, totalmem } from "node:os";
import { getHeapStatistics } from "node:v8";
import { errorText } from "../errors.ts";
import type { CudaReason } from "../native/addon.ts";
import {
  type AccelerationReport,
  addonPath,
  backends,
  type CudaStatus,
  cudaStatus,
  defaultBackend,
  startAcceleration,
} from "../native/backends.ts";
import { exitCodes } from "./exit-codes.ts";
import type { PackageFacts } from "./files.ts";

/** Something `doctor` looked at. `note`: not as it could be, and nothing is wrong. */
export interface Finding {
  readonly subject: string;
  readonly state: "ok" | "note" | "bad";
  /** One line, or several. */
  readonly text: string;
}

export interface DoctorOptions {
  /** One JSON object instead of text for people. */
  readonly json?: boolean;
}

/**
 * `stemline doctor`: what this machine offers for kernels and for operator processes, and what is missing. NATS is looked
 * for if the environment says how. The exit code is 0 when nothing is bad.
 */
export async function doctor(
  { version, minimumNode }: PackageFacts,
  env: NodeJS.ProcessEnv,
  { json = false }: DoctorOptions = {},
): Promise<{ text: string; exitCode: number }> {
  const findings = [
    node(minimumNode),
    system(),
    cpuFeatures(),
    memory(),
    ...native(),
    await cuda(),
    await zeroMq(),
    await nats(env),
  ];
  const sound = findings.every(({ state }) => state !== "bad");
  return {
    text: json ? JSON.stringify({ version, sound, findings }) : asText(version, findings),
    exitCode: sound ? exitCodes.ok : exitCodes.failed,
  };
}

const marks = { ok: "ok  ", note: "note", bad: "BAD " } as const;

function asText(version: string, findings: readonly Finding[]): string {
  const width = Math.max(...findings.map(({ subject }) => subject.length));
  const lines = findings.map(({ subject, state, text }) =>
    `${marks[state]}  ${subject.padEnd(width)}  ${text}`.replaceAll("\n", `\n${" ".repeat(width + 8)}`),
  );
  return [`stemline ${version}`, ...lines].join("\n");
}

function node(minimum: string): Finding {
  const sound = compareVersions(process.versions.node, minimum) >= 0;
  return {
    subject: "Node",
    state: sound ? "ok" : "bad",
    text: sound
      ? `${process.version}, Node-API ${process.versions.napi}`
      : `${process.version}; ${minimum} is needed`,
  };
}

function compareVersions(left: string, right: string): number {
  const numbers = (version: string) => version.split(".").map(Number);
  const other = numbers(right);
  const difference = numbers(left).map((part, index) => part - (other[index] ?? 0));
  return difference.find((part) => part !== 0) ?? 0;
}

function system(): Finding {
  const model = cpus()[0]?.model.trim() ?? "unknown CPU";
  const text = `${process.platform}-${process.arch}, ${model}, ${availableParallelism()} CPUs to use`;
  return { subject: "System", state: "ok", text };
}

/** What kernels are built for, by the names that Linux has for it. */
const knownFeatures = [
  ...["sse4_2", "pclmulqdq", "avx2", "fma", "bmi2"],
  ...["avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512_vbmi2", "vpclmulqdq"],
  ...["asimd", "pmull", "crc32", "sve"],
];

function cpuFeatures(): Finding {
  const subject = "CPU features";
  const line = /^(?:flags|Features)\s*:(.*)$/m.exec(textOf("/proc/cpuinfo"))?.[1];
  if (line === undefined) return { subject, state: "note", text: "this system does not say" };
  const all = new Set(line.trim().split(/\s+/));
  const text = knownFeatures.filter((name) => all.has(name)).join(" ");
  return { subject, state: "ok", text: text || "none that kernels use" };
}

function memory(): Finding {
  const total = totalmem();
  const limit = process.constrainedMemory();
  // Without a limit Linux names one beyond any memory.
  const limited = limit > 0 && limit < total ? `, of which this process may use ${gigabytes(limit)}` : "";
  const heap = gigabytes(getHeapStatistics().heap_size_limit);
  const text = `${gigabytes(total)}${limited}; JavaScript objects up to ${heap}, messages are outside of that`;
  return { subject: "Memory", state: "ok", text };
}

function native(): Finding[] {
  try {
    const known = backends();
    return [{ subject: "Addon", state: "ok", text: addonPath() }, backend(known)];
  } catch (error) {
    return [{ subject: "Addon", state: "bad", text: errorText(error) }];
  }
}

function backend(known: readonly { name: string; supported: boolean }[]): Finding {
  const subject = "Backend";
  const names = (supported: boolean) =>
    known.filter((entry) => entry.supported === supported).map(({ name }) => name);
  const absent = names(false).length === 0 ? "" : `; not on this machine: ${names(false).join(", ")}`;
  const available = `available: ${names(true).join(", ")}${absent}`;
  try {
    return { subject, state: "ok", text: `${defaultBackend()} (${available})` };
  } catch (error) {
    return { subject, state: "bad", text: `${errorText(error)}\n${available}` };
  }
}

/**
 * The CUDA library is optional, and so is a GPU; a library of another release or a broken driver is a defect. Where there is a
 * GPU, it is compared with the CPU here as in every process, which decides what computes.
 */
async function cuda(): Promise<Finding> {
  const subject = "CUDA";
  const kernelModule = /Kernel Module\s+(?:for \S+\s+)?([\d.]+)/.exec(
    textOf("/proc/driver/nvidia/version"),
  )?.[1];
  const kernel =
    kernelModule === undefined ? "no NVIDIA kernel module is loaded" : `NVIDIA kernel module ${kernelModule}`;
  let report: AccelerationReport;
  let status: CudaStatus;
  try {
    report = await startAcceleration();
    status = report.mode === "cpu" ? cudaStatus() : report.cuda;
  } catch {
    return { subject, state: "note", text: `not looked for, the addon is not loaded; ${kernel}` };
  }
  const { library, reason, message, driverVersion, runtimeVersion, devices } = status;
  if (devices.length === 0) {
    const state = reason !== null && harmless.has(reason) ? "note" : "bad";
    return { subject, state, text: `kernels run on the CPU: ${message}; ${kernel}` };
  }
  const lines = devices.map(({ name, computeCapability, memoryBytes, pciBusId }) => {
    const chosen = pciBusId === report.device?.pciBusId ? ", chosen" : "";
    return `${name}, compute capability ${computeCapability.join(".")}, ${gigabytes(memoryBytes)}, ${pciBusId}${chosen}`;
  });
  const versions = `CUDA ${runtimeVersion}; driver for CUDA up to ${driverVersion}, ${kernel}`;
  const text = [`${library}, ${versions}`, ...lines, ...choice(report)].join("\n");
  const state = reason === null || harmless.has(reason) ? "ok" : "bad";
  return { subject, state, text };
}

/** What computes batches, and the figures behind it. */
function choice({ mode, cuda: { message }, figures, calibration, ...times }: AccelerationReport): string[] {
  const start = `started in ${times.startMs.toFixed(0)} ms`;
  const summary =
    mode === "cpu"
      ? "kernels run on the CPU: STEMLINE_BACKEND says so"
      : figures === null
        ? `kernels run on the CPU: ${message}`
        : mode === "cuda"
          ? `kernels run on the GPU wherever they can: STEMLINE_BACKEND says so; ${start}`
          : `kernels run where they are faster; ${start}, compared in ${times.calibrationMs.toFixed(0)} ms`;
  const operations = [...new Set(calibration.map(({ operation }) => operation))];
  const compared = operations.map((operation) => {
    const points = calibration
      .filter((point) => point.operation === operation)
      .map(({ events, cpuMs, cudaMs, chosen }) => {
        const sizes = `${events.toLocaleString("en")} events`;
        return `${sizes} ${cpuMs.toFixed(2)}/${cudaMs.toFixed(2)} ${chosen.toUpperCase()}`;
      });
    return `  ${operation}, ms by CPU/GPU: ${points.join("; ")}`;
  });
  return [summary, ...compared];
}

/** Machines without a GPU, installations without the library, and systems that are too old to load it. */
const harmless: ReadonlySet<CudaReason> = new Set<CudaReason>([
  "library-missing",
  "library-unusable",
  "driver-missing",
  "driver-too-old",
  "no-device",
  "slower",
]);

// The network's libraries are loaded here: no other command of a developer needs them.
async function zeroMq(): Promise<Finding> {
  const subject = "libzmq";
  try {
    const { checkZmq } = await import("../host/zmq-socket.ts");
    return { subject, state: "ok", text: checkZmq() };
  } catch (error) {
    return { subject, state: "bad", text: errorText(error) };
  }
}

async function nats(env: NodeJS.ProcessEnv): Promise<Finding> {
  const subject = "NATS";
  const told = Object.keys(env).some((name) => /^(NATS|NKEYS)_/.test(name));
  if (!told)
    return { subject, state: "note", text: "not looked for: no NATS_... or NKEYS_... variable is set" };
  const { readNatsConfig } = await import("../host/config.ts");
  const { connectControlPlane } = await import("../host/nats-control-plane.ts");
  const quiet = { debug() {}, info() {}, warn() {}, error() {} };
  try {
    const { natsUrl: url, ...config } = readNatsConfig(env);
    const name = "stemline-doctor";
    const plane = await connectControlPlane({ url, ...config, name, waitSeconds: 0, log: quiet });
    const { server, maxPayloadBytes } = plane;
    await plane.close();
    return { subject, state: "ok", text: `${server}, messages up to ${maxPayloadBytes} bytes` };
  } catch (error) {
    return { subject, state: "bad", text: errorText(error) };
  }
}

function gigabytes(bytes: number): string {
  return `${(bytes / 2 ** 30).toFixed(1)} GiB`;
}

/** Empty if there is no such file. */
function textOf(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}
