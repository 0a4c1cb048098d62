import type { ForeignBytes } from "../../../src/wire/bytes.ts";

/** Bytes outside of JavaScript, as the addon's are, that note what is done to them. */
export class Foreign implements ForeignBytes {
  readonly #bytes: Uint8Array;
  looks = 0;
  released = false;

  constructor(...bytes: number[]) {
    this.#bytes = Uint8Array.from(bytes);
  }
  get byteLength() {
    return this.#bytes.byteLength;
  }
  view() {
    if (this.released) throw Object.assign(new Error("given back"), { code: "STEMLINE_BYTES_RELEASED" });
    this.looks += 1;
    return this.#bytes;
  }
  release() {
    this.released = true;
  }
}
