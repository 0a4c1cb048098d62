import { mkdirSync, rmSync } from "node:fs";
import { rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { decode } from "@msgpack/msgpack";
import { FileError } from "../errors.ts";
import type { BytesMessage, MessageHeader } from "../wire/message.ts";

/**
 * Writes what leaves a pipeline into one folder. Pictures and npz arrays are kept once for each operator and scan, the
 * latest replacing the earlier; anything else is kept message by message. A file appears under its name only when whole.
 */
export class ResultWriter {
  readonly directory: string;
  readonly #messages = new Map<string, number>();
  readonly #files = new Set<string>();
  readonly #unfinished = new Set<string>();
  #temporary = 0;

  /** Throws FileError `STEMLINE_FILE_WRITE` when the folder cannot be made. */
  constructor(directory: string) {
    this.directory = directory;
    try {
      mkdirSync(directory, { recursive: true });
    } catch (cause) {
      throw writeError(directory, cause);
    }
  }

  /** Paths of all files, in the order in which they first appeared. */
  get files(): readonly string[] {
    return [...this.#files];
  }

  /** `name` is the operator's part of the file name. Throws FileError `STEMLINE_FILE_WRITE`. */
  async write(name: string, message: BytesMessage): Promise<void> {
    const count = (this.#messages.get(name) ?? 0) + 1;
    this.#messages.set(name, count);
    const extension = extensionOf(message.data);
    if (extension !== null) {
      const scan = scanNumber(message.header.meta);
      await this.#put(`${name}-${scan ?? count}${extension}`, message.data);
      return;
    }
    await this.#put(`${name}-${count}.bin`, message.data);
    await this.#put(`${name}-${count}.json`, JSON.stringify(readableMeta(message.header.meta), jsonValue, 2));
  }

  /** Keeps the latest picture that an operator shows. Throws FileError `STEMLINE_FILE_WRITE`. */
  writeShownImage(name: string, image: Uint8Array): Promise<void> {
    return this.#put(`${name}-shown${extensionOf(image) ?? ".bin"}`, image);
  }

  /** Keeps the latest tables that an operator shows, as interactEM's displays get them. Throws like `writeShownImage`. */
  writeShownTables(name: string, tables: object): Promise<void> {
    return this.#put(`${name}-shown.json`, JSON.stringify({ tables }, jsonValue, 2));
  }

  /** Removes what was being written when the run was given up. */
  removeUnfinished(): void {
    for (const path of this.#unfinished) rmSync(path, { force: true });
  }

  async #put(fileName: string, content: Uint8Array | string): Promise<void> {
    const path = join(this.directory, fileName);
    this.#temporary += 1;
    const temporary = join(this.directory, `.${fileName}.${process.pid}-${this.#temporary}.tmp`);
    this.#unfinished.add(temporary);
    try {
      await writeFile(temporary, content);
      await rename(temporary, path);
    } catch (cause) {
      rmSync(temporary, { force: true });
      throw writeError(path, cause);
    } finally {
      this.#unfinished.delete(temporary);
    }
    this.#files.add(path);
  }
}

function writeError(path: string, cause: unknown): FileError {
  const reason = cause instanceof Error ? cause.message : String(cause);
  return new FileError("STEMLINE_FILE_WRITE", `Cannot write ${path}: ${reason}`, { cause });
}

const signatures: readonly (readonly [extension: string, bytes: readonly number[]])[] = [
  [".png", [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]],
  [".jpg", [0xff, 0xd8, 0xff]],
  [".npz", [0x50, 0x4b, 0x03, 0x04]],
];

function extensionOf(data: Uint8Array): string | null {
  const match = signatures.find(([, bytes]) => bytes.every((byte, index) => data[index] === byte));
  return match?.[0] ?? null;
}

function scanNumber(meta: MessageHeader["meta"]): string | null {
  if (!(meta instanceof Uint8Array)) {
    const value = meta.scan_number;
    return typeof value === "number" && Number.isSafeInteger(value) ? String(value) : null;
  }
  // The meta of a centre of mass may list every frame of a scan, but it begins with the scan number.
  const head = Buffer.from(meta.buffer, meta.byteOffset, Math.min(meta.byteLength, 256)).toString("latin1");
  return /^\s*\{\s*"scan_number"\s*:\s*(\d+)/.exec(head)?.[1] ?? null;
}

function readableMeta(meta: MessageHeader["meta"]): unknown {
  if (!(meta instanceof Uint8Array)) return meta;
  const bytes = Buffer.from(meta.buffer, meta.byteOffset, meta.byteLength);
  for (const read of [
    () => JSON.parse(bytes.toString("utf8")) as unknown,
    () => decode(meta, { useBigInt64: true }),
  ]) {
    try {
      const value = read();
      // One byte is a valid MessagePack integer, and a number a valid JSON text: only a map or list is a meta.
      if (typeof value === "object" && value !== null) return value;
    } catch {
      // Not this encoding.
    }
  }
  return { base64: bytes.toString("base64") };
}

function jsonValue(_key: string, value: unknown): unknown {
  if (typeof value === "bigint") {
    return value >= Number.MIN_SAFE_INTEGER && value <= Number.MAX_SAFE_INTEGER
      ? Number(value)
      : value.toString();
  }
  return value instanceof Uint8Array ? Buffer.from(value).toString("base64") : value;
}
