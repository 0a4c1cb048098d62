import { readFileSync } from "node:fs";

/** Reads a recorded JSON file, named relative to test/golden. The caller states what is in it. */
export function readGolden<T>(path: string): T {
  return JSON.parse(readFileSync(new URL(`../../golden/${path}`, import.meta.url), "utf8"));
}

export function fromHex(hex: string): Uint8Array {
  return new Uint8Array(Buffer.from(hex, "hex"));
}

export function toHex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("hex");
}
