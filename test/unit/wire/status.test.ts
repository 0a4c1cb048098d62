import { describe, expect, test } from "vitest";
import { parseAddress } from "../../../src/wire/address.ts";
import {
  inputPortStatusJson,
  operatorStatusJson,
  outputPortStatusJson,
  readAcceptedFormats,
  readPortAddresses,
} from "../../../src/wire/status.ts";
import { readGolden } from "./golden.ts";

interface PortCase {
  readonly in: unknown;
  readonly valid: boolean;
  readonly out?: { readonly uri: { readonly query: { readonly address?: readonly string[] } } | null };
}

const { port_val: portCases, value_json_examples: examples } = readGolden<{
  port_val: PortCase[];
  value_json_examples: Record<string, string>;
}>("kv/address-and-values.json");

const uuid = (number: number) => `5bd6ef2a-91c0-4d7e-8000-00000000000${number}`;
const bytes = (value: unknown) => new TextEncoder().encode(JSON.stringify(value));
const refusal = expect.objectContaining({ name: "WireError", code: "STEMLINE_WIRE_STATUS" });

describe("what is written equals interactEM's, byte for byte", () => {
  const operator = {
    id: uuid(1),
    canonicalId: uuid(2),
    status: "running",
    canonicalPipelineId: uuid(3),
    runtimePipelineId: uuid(4),
  } as const;
  const address = "tcp://?hostname=127.0.0.1&interface=127.0.0.1&port=40123";

  test("operator", () => {
    expect(operatorStatusJson({ ...operator, errors: [] })).toBe(examples.OperatorVal);
  });

  test("operator with an error", () => {
    const errors = [{ timestamp: 1795347652.182306, message: "boom" }];
    expect(operatorStatusJson({ ...operator, errors })).toBe(examples["OperatorVal after add_error"]);
  });

  test("input port", () => {
    const port = { canonicalId: uuid(2), id: uuid(1), accepts: [] };
    expect(inputPortStatusJson(port)).toBe(examples["PortVal input"]);
  });

  test("output port", () => {
    // The recorded example gives its uri an id of its own; a running operator uses the port's.
    const seen = examples["PortVal output"]!.replace(uuid(3), uuid(1));
    expect(seen).not.toBe(examples["PortVal output"]);
    const port = { id: uuid(1), canonicalId: uuid(2), hostname: "127.0.0.1", address };
    expect(outputPortStatusJson(port)).toBe(seen);
  });

  test("the address of an output port can be read back", () => {
    const port = { id: uuid(1), canonicalId: uuid(2), hostname: "node1", address };
    expect(readPortAddresses(new TextEncoder().encode(outputPortStatusJson(port)))).toEqual([
      parseAddress(address),
    ]);
  });
});

describe("readAcceptedFormats", () => {
  const read = (value: string | undefined) => readAcceptedFormats(new TextEncoder().encode(value));

  test("reads what an input port of ours says, at the end of interactEM's members", () => {
    const text = inputPortStatusJson({ canonicalId: uuid(2), id: uuid(1), accepts: ["a-1", "b-2"] });
    expect(text).toBe(`${examples["PortVal input"]!.slice(0, -1)},"accepts":["a-1","b-2"]}`);
    expect(read(text)).toEqual(["a-1", "b-2"]);
    expect(read('{"accepts":null}')).toEqual([]);
  });

  test("finds none in interactEM's values", () => {
    expect(read(examples["PortVal input"])).toEqual([]);
    expect(read(examples["PortVal output"])).toEqual([]);
  });

  test.each(["", "x", "[]", '{"accepts":"a-1"}', '{"accepts":[1]}', '{"accepts":{"a-1":true}}'])(
    "refuses %j",
    (text) => expect(() => read(text)).toThrow(refusal),
  );
});

describe("readPortAddresses", () => {
  test.each(portCases)("decides as interactEM on %j", ({ in: value, valid, out }) => {
    if (!valid) {
      expect(() => readPortAddresses(bytes(value))).toThrow(refusal);
      return;
    }
    const addresses = out!.uri?.query.address ?? [];
    expect(readPortAddresses(bytes(value))).toEqual(addresses.map(parseAddress));
  });

  test("takes an empty value for a removed key", () => {
    expect(readPortAddresses(new Uint8Array())).toEqual([]);
  });

  const uri = {
    id: uuid(3),
    location: "port",
    hostname: "node1",
    comm_backend: "zmq",
    query: { address: ["tcp://?hostname=node1&port=7", "ipc:///run/x.sock"], other: ["x"] },
  };
  const port = { id: uuid(3), canonical_id: uuid(5), uri, status: "idle" };

  test("gives all addresses in order and ignores other members", () => {
    expect(
      readPortAddresses(bytes({ ...port, more: {} })).map(({ protocol, port }) => [protocol, port]),
    ).toEqual([
      ["tcp", 7],
      ["ipc", null],
    ]);
  });

  test.each([
    ["", null],
    ["", [port]],
    ["id", { ...port, id: "x" }],
    ["canonical_id", { ...port, canonical_id: undefined }],
    ["status", { ...port, status: 1 }],
    ["status", { ...port, status: "" }],
    ["uri", { ...port, uri: false }],
    ["uri", { ...port, uri: "tcp://?hostname=a&port=1" }],
    ["uri.id", { ...port, uri: { ...uri, id: null } }],
    ["uri.location", { ...port, uri: { ...uri, location: "moon" } }],
    ["uri.hostname", { ...port, uri: { ...uri, hostname: undefined } }],
    ["uri.comm_backend", { ...port, uri: { ...uri, comm_backend: "tcp" } }],
    ["uri.query", { ...port, uri: { ...uri, query: null } }],
    ["uri.query.address[1]", { ...port, uri: { ...uri, query: { address: ["tcp://?hostname=a", 1] } } }],
    ["uri.query.other", { ...port, uri: { ...uri, query: { other: "x" } } }],
  ])("refuses a wrong %s and names it", (place, value) => {
    const start = place === "" ? "Port status: expected an object" : `Port status: ${place}: expected`;
    expect(() => readPortAddresses(bytes(value))).toThrow(
      expect.objectContaining({ code: "STEMLINE_WIRE_STATUS", message: expect.stringContaining(start) }),
    );
  });

  test.each([["{"], ["\xff"]])("refuses %j, which is not JSON in UTF-8", (text) => {
    expect(() => readPortAddresses(Buffer.from(text, "latin1"))).toThrow(refusal);
  });

  test("refuses an address that is none", () => {
    expect(() => readPortAddresses(bytes({ ...port, uri: { ...uri, query: { address: ["x"] } } }))).toThrow(
      expect.objectContaining({ code: "STEMLINE_WIRE_ADDRESS" }),
    );
  });
});
