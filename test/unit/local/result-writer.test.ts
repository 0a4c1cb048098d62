import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { encode } from "@msgpack/msgpack";
import { afterEach, beforeEach, expect, test } from "vitest";
import { ResultWriter } from "../../../src/local/result-writer.ts";
import { bytesMessage, type MessageHeader } from "../../../src/wire/message.ts";

const png = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a];
const jpeg = [0xff, 0xd8, 0xff, 0xe0];
const npz = [0x50, 0x4b, 0x03, 0x04];

let directory = "";
let writer: ResultWriter;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "stemline-results-"));
  writer = new ResultWriter(join(directory, "a", "b"));
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

const write = (name: string, data: readonly number[], meta: MessageHeader["meta"] = {}) =>
  writer.write(name, bytesMessage(meta, Uint8Array.from(data)));
const names = () => readdirSync(writer.directory).sort();
const json = (name: string) => JSON.parse(readFileSync(join(writer.directory, name), "utf8"));

test("knows pictures and arrays by their first bytes", async () => {
  await write("a", png);
  await write("b", jpeg);
  await write("c", npz);
  await write("d", [0x89, 0x50]);
  expect(names()).toEqual(["a-1.png", "b-1.jpg", "c-1.npz", "d-1.bin", "d-1.json"]);
});

test("keeps the latest of a scan and operator, and all that belong to no scan", async () => {
  const com = new TextEncoder().encode('{"scan_number":12,"scan_shape":[2,2]}');
  await write("com", [...npz, 1], com);
  await write("com", [...npz, 2], com);
  await write("other", [...npz, 3], com);
  await write("plot", [...png, 1], { scan_number: 3 });
  await write("plot", [...png, 2], { scan_number: 3 });
  await write("free", [...png, 1]);
  await write("free", [...png, 2]);
  expect(names()).toEqual(["com-12.npz", "free-1.png", "free-2.png", "other-12.npz", "plot-3.png"]);
  expect(readFileSync(join(writer.directory, "com-12.npz")).at(-1)).toBe(2);
  expect(writer.files).toHaveLength(5);
});

test("writes the meta of other data as JSON, however it is encoded", async () => {
  const values = { n: 1, list: [1, 2], big: 2n ** 60n };
  await write("x", [1], { n: 1 });
  await write("x", [2], new TextEncoder().encode('{"n": 2}'));
  await write("x", [3], encode(values, { useBigInt64: true }));
  await write("x", [4], Uint8Array.of(7));
  expect(json("x-1.json")).toEqual({ n: 1 });
  expect(json("x-2.json")).toEqual({ n: 2 });
  expect(json("x-3.json")).toEqual({ n: 1, list: [1, 2], big: "1152921504606846976" });
  expect(json("x-4.json")).toEqual({ base64: "Bw==" });
  expect([...readFileSync(join(writer.directory, "x-3.bin"))]).toEqual([3]);
});

test("says which file could not be written, and leaves nothing behind", async () => {
  rmSync(writer.directory, { recursive: true });
  await expect(write("a", png)).rejects.toMatchObject({
    code: "STEMLINE_FILE_WRITE",
    message: expect.stringContaining("a-1.png"),
  });
  expect(writer.files).toEqual([]);
  writeFileSync(join(directory, "file"), "");
  expect(() => new ResultWriter(join(directory, "file"))).toThrow(
    expect.objectContaining({ code: "STEMLINE_FILE_WRITE" }),
  );
});

test("keeps the latest picture and tables that each operator shows, apart from what it sends", async () => {
  await write("plot", [...png, 1], { scan_number: 3 });
  await writer.writeShownImage("plot", Uint8Array.from([...png, 5]));
  await writer.writeShownImage("plot", Uint8Array.from([...png, 6]));
  await writer.writeShownImage("other", Uint8Array.from(jpeg));
  await writer.writeShownImage("odd", Uint8Array.of(1, 2));
  await writer.writeShownTables("plot", { first: [{ n: 1 }] });
  await writer.writeShownTables("plot", { second: [{ n: 2n, bytes: Uint8Array.of(7) }], empty: [] });
  const files = ["odd-shown.bin", "other-shown.jpg", "plot-3.png", "plot-shown.json", "plot-shown.png"];
  expect(names()).toEqual(files);
  expect([...readFileSync(join(writer.directory, "plot-shown.png"))]).toEqual([...png, 6]);
  expect(json("plot-shown.json")).toEqual({ tables: { second: [{ n: 2, bytes: "Bw==" }], empty: [] } });
  expect([...writer.files].sort()).toEqual(files.map((name) => join(writer.directory, name)));
});

test("says which shown picture could not be written", async () => {
  rmSync(writer.directory, { recursive: true });
  await expect(writer.writeShownImage("plot", Uint8Array.from(png))).rejects.toMatchObject({
    code: "STEMLINE_FILE_WRITE",
    message: expect.stringContaining("plot-shown.png"),
  });
});
