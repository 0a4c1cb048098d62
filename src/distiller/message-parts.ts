import { encode } from "@msgpack/msgpack";
import type { MessageParts } from "../native/addon.ts";
import type { BytesMessage } from "../wire/message.ts";

/**
 * A BatchedFrames message as the kernels take it: `meta` as MessagePack. A meta that came as an object inside the header,
 * which the peer reads too, is encoded; any other passes through, nothing is copied.
 */
export function batchParts({ header: { meta }, data }: BytesMessage): MessageParts {
  return { meta: meta instanceof Uint8Array ? meta : encode(meta), data };
}

/** A COMPartial message as the kernels take it: `meta` as JSON; otherwise as `batchParts`. */
export function comPartialParts({ header: { meta }, data }: BytesMessage): MessageParts {
  return { meta: meta instanceof Uint8Array ? meta : Buffer.from(JSON.stringify(meta)), data };
}
