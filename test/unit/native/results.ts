import { createHash } from "node:crypto";
import { readNpz } from "../../../src/distiller/npz.ts";
import { StemlineError } from "../../../src/errors.ts";

/** Bytes of an array of an archive. */
export function npzBytes(archive: Uint8Array, name: string): Buffer {
  const array = readNpz(archive, [name])[name];
  if (array === undefined) throw new Error(`no array ${name}`);
  return bytesOf(array.data);
}

export function npzShape(archive: Uint8Array, name: string): readonly number[] | undefined {
  return readNpz(archive, [name])[name]?.shape;
}

export function bytesOf(view: ArrayBufferView): Buffer {
  return Buffer.from(view.buffer, view.byteOffset, view.byteLength);
}

export function sha256(...parts: readonly Uint8Array[]): string {
  const hash = createHash("sha256");
  for (const part of parts) hash.update(part);
  return hash.digest("hex");
}

/** The result of a call, or the code of the typed error it fails with; any other error is thrown on. */
export async function outcomeOf<T>(
  call: () => T | Promise<T>,
): Promise<T | { readonly code: string; readonly message: string }> {
  try {
    return await call();
  } catch (error) {
    if (!(error instanceof StemlineError)) throw error;
    return { code: error.code, message: error.message };
  }
}
