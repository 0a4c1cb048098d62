import { NativeError } from "../errors.ts";

/**
 * Bytes outside of JavaScript's memory, as they come from the network or from a kernel. They cost V8 nothing until
 * somebody looks at them.
 */
export interface ForeignBytes {
  readonly byteLength: number;
  /** The bytes as an array, the same one each time; it stays valid after `release`, but cannot be had any more. */
  view(): Uint8Array;
  /** Gives the memory back as soon as nothing else holds it. */
  release(): void;
}

export type Bytes = Uint8Array | ForeignBytes;

/**
 * The bytes as an array; of foreign ones it keeps the memory until it is collected. Throws NativeError
 * `STEMLINE_BYTES_RELEASED` for those that were given back before anybody looked at them.
 */
export function viewOf(bytes: Bytes): Uint8Array {
  if (bytes instanceof Uint8Array) return bytes;
  try {
    return bytes.view();
  } catch (error) {
    if (!(error instanceof Error && "code" in error && typeof error.code === "string")) throw error;
    throw new NativeError(error.code, error.message);
  }
}

/** The two parts of a message, as they are held. */
export interface HeldParts {
  readonly meta: Bytes | Readonly<Record<string, unknown>>;
  readonly data: Bytes;
}

const held = Symbol("stemline.parts");

/** Notes on an object which parts its `meta` and `data` stand for, so that they can be passed on without a look at them. */
export function holdParts<T extends object>(holder: T, parts: HeldParts): T {
  // Not enumerable: an object that is spread from this one may have other data.
  return Object.defineProperty(holder, held, { value: parts });
}

/** What `holdParts` noted. */
export function heldParts(holder: object): HeldParts | undefined {
  return (holder as { readonly [held]?: HeldParts })[held];
}

/** Makes a property that turns to an array when it is read, and stays one. */
export function defineLazily(object: object, key: string, bytes: Bytes): void {
  let seen: Uint8Array | undefined;
  const get = () => {
    seen ??= viewOf(bytes);
    return seen;
  };
  Object.defineProperty(object, key, { enumerable: true, configurable: true, get });
}

/** Gives back the memory behind parts that nobody looked at; what was looked at is kept. */
export function releaseParts(parts: Iterable<HeldParts[keyof HeldParts]>): void {
  for (const part of parts) if (isForeign(part)) part.release();
}

/** Whether a meta is bytes, of either kind, and no object. */
export function isBytes(part: HeldParts["meta"]): part is Bytes {
  return part instanceof Uint8Array || isForeign(part);
}

export function isForeign(part: HeldParts["meta"]): part is ForeignBytes {
  // An object meta is plain: it may have members of any name.
  return (
    !(part instanceof Uint8Array) &&
    Object.getPrototypeOf(part) !== Object.prototype &&
    typeof part.release === "function"
  );
}
