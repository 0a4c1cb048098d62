import { randomUUID } from "node:crypto";
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { FileError, UsageError, WireError } from "../errors.ts";
import { defineOperator } from "../operator/define-operator.ts";
import { reasonOf } from "../operator/file-reason.ts";
import type { OperatorSpec } from "../spec/operator-spec.ts";
import { viewOf } from "../wire/bytes.ts";
import { decodeMessage, encodeMessage } from "../wire/header.ts";
import type { BytesMessage } from "../wire/message.ts";
import type { InstalledOperator } from "./runner.ts";

/**
 * Recorded messages are folders, one for each message, that hold its parts as they travel: `part0.json` is the header,
 * `part1.*` the meta, `part2.*` the data; two parts, header and data, where the meta is inside of the header.
 */
const headerFile = "part0.json";

const isMessage = (folder: string) => namesIn(folder).includes(headerFile);

/** Folders of messages in the order of their names, 2 before 10: of this folder or, where it is itself one, only it. */
export function findRecordedMessages(path: string): string[] {
  const folder = basename(path) === headerFile ? dirname(path) : path;
  if (isMessage(folder)) return [folder];
  const messages = namesIn(folder)
    .map((name) => join(folder, name))
    .filter(isMessage);
  if (messages.length > 0) return messages;
  throw new UsageError(
    "STEMLINE_RECORDED_INPUT",
    `${path}: expected an .h5 file, or a folder with ${headerFile} or with folders that have one, got neither`,
  );
}

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder).sort(new Intl.Collator("en", { numeric: true }).compare);
  } catch {
    return [];
  }
}

/** Throws WireError for parts that are no message, FileError for files that cannot be read. */
function readRecordedMessage(folder: string): BytesMessage {
  const names = namesIn(folder).filter((name) => /^part\d+\./.test(name));
  const parts = names.map((name) => {
    const path = join(folder, name);
    try {
      return readFileSync(path);
    } catch (cause) {
      throw new FileError("STEMLINE_RECORDED_FILE", `Cannot read ${path}: ${reasonOf(cause)}`, { cause });
    }
  });
  const decoded = decodeMessage(parts);
  if (decoded.outcome === "message") return decoded.message;
  throw new WireError("STEMLINE_RECORDED_MESSAGE", `${folder}: ${decoded.reason}`);
}

/** A source that sends each message once. */
export function recordedSource(folders: readonly string[]): InstalledOperator {
  const messages = folders.values();
  return {
    spec: helperSpec("recorded-messages", { outputs: [helperPort] }),
    operator: defineOperator({
      outputs: [helperPort.name],
      run() {
        const next = messages.next();
        return next.done ? null : readRecordedMessage(next.value);
      },
    }),
  };
}

/** Writes each message to a folder of its own in `path`, in place of those of an earlier run. */
export function messageRecorder(path: string): InstalledOperator {
  return {
    spec: helperSpec("message-recorder", { inputs: [helperPort] }),
    operator: defineOperator({
      inputs: [helperPort.name],
      setup() {
        const earlier = namesIn(path).filter((name) => /^\d{6}$/.test(name) && isMessage(join(path, name)));
        for (const name of earlier) rmSync(join(path, name), { recursive: true });
        return { written: 0 };
      },
      run(message, { state }) {
        const parts = encodeMessage(message!);
        state.written += 1;
        const folder = join(path, String(state.written).padStart(6, "0"));
        try {
          mkdirSync(folder, { recursive: true });
          parts.forEach((part, index) => {
            writeFileSync(join(folder, index === 0 ? headerFile : `part${index}.bin`), viewOf(part));
          });
        } catch (cause) {
          throw new FileError("STEMLINE_FILE_WRITE", `Cannot write ${folder}: ${reasonOf(cause)}`, { cause });
        }
        return null;
      },
    }),
  };
}

/** The one port of a source or recorder. */
export const helperPort = { name: "messages", label: "Messages", description: "", type: "any" };

function helperSpec(name: string, ports: Partial<Pick<OperatorSpec, "inputs" | "outputs">>): OperatorSpec {
  return {
    id: randomUUID(),
    label: name,
    description: "",
    image: `stemline/${name}`,
    inputs: null,
    outputs: null,
    parameters: null,
    tags: null,
    parallel_config: null,
    triggers: null,
    ...ports,
  };
}
