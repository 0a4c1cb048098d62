import { WireError } from "../errors.ts";
import { parseAddress, type ZmqAddress } from "./address.ts";
import { describeValue, isRecord, parseJsonBytes } from "./json.ts";
import { readUuid } from "./uuid.ts";

/** Values of the bucket `stat`. All ids are runtime ids unless they are called canonical. */

export type OperatorStatus = "initializing" | "running" | "error" | "shutting_down";

export interface OperatorStatusValue {
  readonly id: string;
  readonly canonicalId: string;
  readonly status: OperatorStatus;
  readonly canonicalPipelineId: string;
  readonly runtimePipelineId: string;
  /** Oldest first; `timestamp` in seconds since 1970. */
  readonly errors: readonly { readonly message: string; readonly timestamp: number }[];
}

export function operatorStatusJson(value: OperatorStatusValue): string {
  return JSON.stringify({
    error_messages: value.errors.map(({ message, timestamp }) => ({ message, timestamp })),
    id: value.id,
    canonical_id: value.canonicalId,
    status: value.status,
    canonical_pipeline_id: value.canonicalPipelineId,
    runtime_pipeline_id: value.runtimePipelineId,
  });
}

export interface PortIdentity {
  readonly id: string;
  readonly canonicalId: string;
}

/** What an output port says of itself once it is bound; `address` as `formatAddress` writes it. */
export function outputPortStatusJson(
  port: PortIdentity & { readonly hostname: string; readonly address: string },
): string {
  const { id, canonicalId, hostname, address } = port;
  const uri = { id, location: "port", hostname, comm_backend: "zmq", query: { address: [address] } };
  return JSON.stringify({ id, canonical_id: canonicalId, uri, status: "idle" });
}

/** `accepts` names formats that the port takes besides the usual one; interactEM's readers pass over that member. */
export function inputPortStatusJson(port: PortIdentity & { readonly accepts: readonly string[] }): string {
  const { id, canonicalId, accepts } = port;
  const value = { id, canonical_id: canonicalId, uri: null, status: "idle" };
  return JSON.stringify(accepts.length === 0 ? value : { ...value, accepts });
}

const portStatuses = ["initializing", "idle", "busy"];
const locations = ["operator", "port", "agent", "orchestrator"];
const commBackends = ["zmq", "mpi", "nats"];

/**
 * Addresses in the status value of a port; none if the value is empty, which is how a removed key looks, or if the port
 * is not bound yet.
 *
 * @throws WireError `STEMLINE_WIRE_STATUS`, or `STEMLINE_WIRE_ADDRESS` for an address that is not valid.
 */
export function readPortAddresses(value: Uint8Array): ZmqAddress[] {
  if (value.length === 0) return [];
  const port = requireRecord("", parseJson(value));
  requireUuid("id", port.id);
  requireUuid("canonical_id", port.canonical_id);
  if (!isAbsent(port.status)) requireOneOf("status", portStatuses, port.status);
  return isAbsent(port.uri) ? [] : readUriAddresses(requireRecord("uri", port.uri)).map(parseAddress);
}

/**
 * Formats that the status value of an input port says that it accepts; none if it does not say.
 *
 * @throws WireError `STEMLINE_WIRE_STATUS`.
 */
export function readAcceptedFormats(value: Uint8Array): readonly string[] {
  const { accepts } = requireRecord("", parseJson(value));
  return isAbsent(accepts) ? [] : requireTexts("accepts", accepts);
}

function readUriAddresses(uri: Readonly<Record<string, unknown>>): readonly string[] {
  requireUuid("uri.id", uri.id);
  requireOneOf("uri.location", locations, uri.location);
  requireText("uri.hostname", uri.hostname);
  requireOneOf("uri.comm_backend", commBackends, uri.comm_backend);
  if (uri.query === undefined) return [];
  const query = Object.entries(requireRecord("uri.query", uri.query));
  return query.flatMap(([name, list]) => {
    const texts = requireTexts(`uri.query.${name}`, list);
    return name === "address" ? texts : [];
  });
}

function parseJson(value: Uint8Array): unknown {
  try {
    return parseJsonBytes(value);
  } catch (cause) {
    throw new WireError("STEMLINE_WIRE_STATUS", "Port status: expected JSON text in UTF-8", { cause });
  }
}

function isAbsent(value: unknown): value is null | undefined {
  return value === undefined || value === null;
}

function requireRecord(place: string, value: unknown): Readonly<Record<string, unknown>> {
  if (isRecord(value)) return value;
  throw invalid(place, "an object", value);
}

function requireUuid(place: string, value: unknown): void {
  if (readUuid(value) === undefined) throw invalid(place, "a UUID", value);
}

function requireText(place: string, value: unknown): string {
  if (typeof value === "string") return value;
  throw invalid(place, "a string", value);
}

function requireTexts(place: string, value: unknown): readonly string[] {
  if (!Array.isArray(value)) throw invalid(place, "a list", value);
  return value.map((item, index) => requireText(`${place}[${index}]`, item));
}

function requireOneOf(place: string, known: readonly string[], value: unknown): void {
  if (!known.some((name) => name === value)) throw invalid(place, `one of ${known.join(", ")}`, value);
}

function invalid(place: string, expected: string, value: unknown): WireError {
  const where = place === "" ? "" : `${place}: `;
  return new WireError(
    "STEMLINE_WIRE_STATUS",
    `Port status: ${where}expected ${expected}, got ${describeValue(value)}`,
  );
}
