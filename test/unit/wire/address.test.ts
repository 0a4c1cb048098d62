import { describe, expect, test } from "vitest";
import {
  bindAddress,
  connectAddress,
  formatAddress,
  parseAddress,
  type ZmqAddress,
} from "../../../src/wire/address.ts";
import { readGolden } from "./golden.ts";

type Outcome = string | { readonly error: string };

interface AddressCase {
  readonly address: string;
  readonly error?: readonly string[];
  readonly parsed?: ZmqAddress;
  readonly to_address?: string;
  readonly to_connect_address?: Outcome;
  readonly to_bind_address?: Outcome;
}

const { zmq_address: cases } = readGolden<{ zmq_address: AddressCase[] }>("kv/address-and-values.json");
const valid = cases.filter(({ error }) => error === undefined);
const invalid = cases.filter(({ error }) => error !== undefined);

/** Written without brackets by interactEM, which ZeroMQ cannot read. */
const deliberateDifferences = new Map([["tcp://2001:db8::1:9", "tcp://[2001:db8::1]:9"]]);

const refusal = expect.objectContaining({ name: "WireError", code: "STEMLINE_WIRE_ADDRESS" });

function expectOutcome(convert: () => string, recorded: Outcome): void {
  if (typeof recorded === "string") {
    expect(convert()).toBe(deliberateDifferences.get(recorded) ?? recorded);
  } else {
    expect(convert).toThrow(refusal);
  }
}

describe("addresses that interactEM accepts", () => {
  test.each(valid)("$address", ({ address, parsed, ...recorded }) => {
    const result = parseAddress(address);
    expect(result).toEqual(parsed);
    expect(formatAddress(result)).toBe(recorded.to_address);
    expectOutcome(() => connectAddress(result), recorded.to_connect_address!);
    expectOutcome(() => bindAddress(result), recorded.to_bind_address!);
  });

  test("the deliberate difference is among the recorded cases", () => {
    expect(valid.filter((item) => deliberateDifferences.has(String(item.to_connect_address)))).toHaveLength(
      1,
    );
  });
});

describe("addresses that interactEM refuses", () => {
  test.each(invalid)("$address", ({ address }) => {
    expect(() => parseAddress(address)).toThrow(refusal);
  });
});

test.each([
  "tcp://?hostname=a&port=65536",
  "tcp://?hostname=a&port=-1",
  "tcp://?hostname=a&port=1.0",
  "tcps://?hostname=a",
])("%s cannot be reached and is refused", (address) => {
  expect(() => parseAddress(address)).toThrow(refusal);
});

test("the message quotes the address and says what is missing", () => {
  expect(() => parseAddress("tcp://node1:5555")).toThrow(
    'ZeroMQ address: expected a member hostname or interface, got "tcp://node1:5555"',
  );
});

test("an empty member gives way to a later one of the same name", () => {
  expect(parseAddress("tcp://?hostname=&hostname=b&port=1#port=2")).toEqual(
    parseAddress("tcp://?port=1&hostname=b"),
  );
});

test("an address is read as it was written, whatever is in its names", () => {
  const address: ZmqAddress = {
    protocol: "tcp",
    hostname: "a b&port=2+~*é",
    interface: "fe80::1%eth0",
    port: 65535,
    endpoint: null,
  };
  expect(parseAddress(formatAddress(address))).toEqual(address);
});

const ipv6: ZmqAddress = {
  protocol: "tcp",
  hostname: "[2001:db8::2]",
  interface: "::1",
  port: 40001,
  endpoint: null,
};

test("an IPv6 address gets the brackets that ZeroMQ needs, once", () => {
  expect(connectAddress(ipv6)).toBe("tcp://[2001:db8::2]:40001");
  expect(bindAddress(ipv6)).toBe("tcp://[::1]:40001");
});

test.each([null, 0])("binding with port %s takes any free one", (port) => {
  expect(bindAddress({ ...ipv6, interface: "hsn0", port })).toBe("tcp://hsn0:*");
});
