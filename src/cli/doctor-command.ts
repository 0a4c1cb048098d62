import { availableParallelism, cpus } from "node:os";
import { backends, defaultBackend } from "../native/kernels.ts";
import { exitCodes } from "./exit-codes.ts";
import type { PackageFacts } from "./files.ts";

/** Something `doctor` looked at. */
interface Finding {
  readonly subject: string;
  readonly text: string;
  readonly sound: boolean;
}

/** `stemline doctor`: what this machine offers, and what is missing. The exit code is 0 when kernels can run. */
export function doctor({ version, minimumNode }: PackageFacts): { text: string; exitCode: number } {
  const findings = [node(minimumNode), system(), ...native()];
  const width = Math.max(...findings.map(({ subject }) => subject.length));
  const lines = findings.map(({ subject, text, sound }) => {
    const [first, ...others] = text.split("\n");
    return [`${sound ? "ok " : "BAD"}  ${subject.padEnd(width)}  ${first}`, ...others].join(
      `\n${" ".repeat(width + 7)}`,
    );
  });
  return {
    text: [`stemline ${version}`, ...lines].join("\n"),
    exitCode: findings.every(({ sound }) => sound) ? exitCodes.ok : exitCodes.failed,
  };
}

function node(minimum: string): Finding {
  const sound = compareVersions(process.versions.node, minimum) >= 0;
  return {
    subject: "Node",
    text: sound ? process.version : `${process.version}; ${minimum} is needed`,
    sound,
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
  return { subject: "System", text, sound: true };
}

function native(): Finding[] {
  try {
    const known = backends();
    const addon = { subject: "Addon", text: "loaded", sound: true };
    return [addon, backend(known)];
  } catch (error) {
    return [{ subject: "Addon", text: messageOf(error), sound: false }];
  }
}

function backend(known: readonly { name: string; supported: boolean }[]): Finding {
  const subject = "Backend";
  const names = (supported: boolean) =>
    known.filter((entry) => entry.supported === supported).map(({ name }) => name);
  const absent = names(false).length === 0 ? "" : `; not on this machine: ${names(false).join(", ")}`;
  const available = `available: ${names(true).join(", ")}${absent}`;
  try {
    return { subject, text: `${defaultBackend()} (${available})`, sound: true };
  } catch (error) {
    return { subject, text: `${messageOf(error)}\n${available}`, sound: false };
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
