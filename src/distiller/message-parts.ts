import { encode } from "@msgpack/msgpack";
import type { MessageBytes } from "../native/addon.ts";
import { isBytes } from "../wire/bytes.ts";
import { type BytesMessage, partsOf } from "../wire/message.ts";

/**
 * A BatchedFrames message as the kernels take it: `meta` as MessagePack. A meta that came as an object inside the header,
 * which the peer reads too, is encoded; any other passes through, nothing is copied.
 */
export function batchParts(message: BytesMessage): MessageBytes {
  const { meta, data } = partsOf(message);
  return { meta: isBytes(meta) ? meta : encode(meta), data };
}

/** A COMPartial message as the kernels take it: `meta` as JSON; otherwise as `batchParts`. */
export function comPartialParts(message: BytesMessage): MessageBytes {
  const { meta, data } = partsOf(message);
  return { meta: isBytes(meta) ? meta : Buffer.from(JSON.stringify(meta)), data };
}
