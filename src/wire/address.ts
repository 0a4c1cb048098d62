import { WireError } from "../errors.ts";
import { describeValue } from "./json.ts";

/** Where a port can be reached, as interactEM writes it: `tcp://?hostname=node1&interface=hsn0&port=40001`. */
export interface ZmqAddress {
  readonly protocol: "tcp" | "inproc" | "ipc";
  /** What others connect to; tcp only. */
  readonly hostname: string | null;
  /** What is bound: an IP address or the name of a network interface; tcp only. */
  readonly interface: string | null;
  /** Null and 0 both mean that no port is known. */
  readonly port: number | null;
  /** A name or a path; null for tcp. */
  readonly endpoint: string | null;
}

const addressParts = /^(tcp|inproc|ipc):(?:\/\/)?([^?#]*)(?:\?([^#]*))?/i;
const largestPort = 65535;

/**
 * Reads an address. Of a repeated member the first counts, and an empty one counts as absent.
 *
 * @throws WireError `STEMLINE_WIRE_ADDRESS`
 */
export function parseAddress(text: string): ZmqAddress {
  const [, protocol = "", endpoint = "", query = ""] = addressParts.exec(text) ?? [];
  switch (protocol.toLowerCase()) {
    case "tcp":
      return tcpAddress(text, new URLSearchParams(query));
    case "inproc":
      return localAddress(text, "inproc", endpoint);
    case "ipc":
      return localAddress(text, "ipc", endpoint);
    default:
      throw invalid("expected tcp://, inproc:// or ipc://", text);
  }
}

function tcpAddress(text: string, query: URLSearchParams): ZmqAddress {
  const member = (name: string) => query.getAll(name).find((value) => value !== "") ?? null;
  const hostname = member("hostname");
  const networkInterface = member("interface");
  if (hostname === null && networkInterface === null) {
    throw invalid("expected a member hostname or interface", text);
  }
  const port = member("port");
  if (port !== null && !(/^\d+$/.test(port) && Number(port) <= largestPort)) {
    throw invalid(`expected a port from 0 to ${largestPort}`, text);
  }
  return {
    protocol: "tcp",
    hostname,
    interface: networkInterface,
    port: port === null ? null : Number(port),
    endpoint: null,
  };
}

function localAddress(text: string, protocol: "inproc" | "ipc", endpoint: string): ZmqAddress {
  if (endpoint === "") throw invalid(`expected a name after ${protocol}://`, text);
  return { protocol, hostname: null, interface: null, port: null, endpoint };
}

/** Writes an address as it stands in a port's status value. */
export function formatAddress(address: ZmqAddress): string {
  if (address.protocol !== "tcp") return localEndpoint(address);
  const query = new URLSearchParams();
  if (address.hostname) query.append("hostname", address.hostname);
  if (address.interface) query.append("interface", address.interface);
  if (address.port) query.append("port", String(address.port));
  return `tcp://?${query}`;
}

/**
 * What ZeroMQ connects to: `tcp://node1:40001`.
 *
 * @throws WireError `STEMLINE_WIRE_ADDRESS` if hostname or port is not known.
 */
export function connectAddress(address: ZmqAddress): string {
  if (address.protocol !== "tcp") return localEndpoint(address);
  if (!address.hostname) throw invalid("expected a hostname to connect to", formatAddress(address));
  if (!address.port) throw invalid("expected a port to connect to", formatAddress(address));
  return `tcp://${zmqHost(address.hostname)}:${address.port}`;
}

/**
 * What ZeroMQ binds: `tcp://hsn0:40001`, or `tcp://hsn0:*` for any free port if none is known.
 *
 * @throws WireError `STEMLINE_WIRE_ADDRESS` if the interface is not known.
 */
export function bindAddress(address: ZmqAddress): string {
  if (address.protocol !== "tcp") return localEndpoint(address);
  if (!address.interface) throw invalid("expected an interface to bind", formatAddress(address));
  return `tcp://${zmqHost(address.interface)}:${address.port || "*"}`;
}

function localEndpoint({ protocol, endpoint }: ZmqAddress): string {
  return `${protocol}://${endpoint}`;
}

/** ZeroMQ tells the colons of an IPv6 address from the one before the port by brackets. */
function zmqHost(host: string): string {
  return host.includes(":") && !host.startsWith("[") ? `[${host}]` : host;
}

function invalid(expected: string, text: string): WireError {
  return new WireError("STEMLINE_WIRE_ADDRESS", `ZeroMQ address: ${expected}, got ${describeValue(text)}`);
}
