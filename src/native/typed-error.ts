import { NativeError, ParameterError, StemlineError, WireError } from "../errors.ts";

/** The addon's plain errors as the classes that callers know; the stack is of no use to them. */
export function typedError(error: unknown): unknown {
  if (!(error instanceof Error) || error instanceof StemlineError) return error;
  const code = "code" in error ? error.code : undefined;
  if (typeof code !== "string") return error;
  if (code === "STEMLINE_INVALID_ARGUMENT") return new ParameterError(code, error.message);
  if (/^STEMLINE_(BATCH|NPZ|SCAN)_/.test(code)) return new WireError(code, error.message);
  return code.startsWith("STEMLINE_") ? new NativeError(code, error.message) : error;
}
