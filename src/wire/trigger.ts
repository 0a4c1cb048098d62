import { isRecord, parseJsonBytes } from "./json.ts";

/** The trigger that a request names, or null if the body is not `{"trigger": name}`. */
export function readTriggerRequest(body: Uint8Array): string | null {
  try {
    const request = parseJsonBytes(body);
    return isRecord(request) && typeof request.trigger === "string" ? request.trigger : null;
  } catch {
    return null;
  }
}

export function triggerReply(status: "ok" | "error", message: string): string {
  return JSON.stringify({ status, message });
}
