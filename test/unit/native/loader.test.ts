import { execFile } from "node:child_process";
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { nodeArguments } from "./child.ts";

const root = fileURLToPath(new URL("../../../", import.meta.url));
const addon = process.env.STEMLINE_ADDON || join(root, "build", "Release", "stemline.node");
const platform = `${process.platform}-${process.arch}`;

let folder = "";
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "stemline-loader-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

interface Outcome {
  /** Backends of the addon that was loaded, or */
  readonly backends?: number;
  readonly name?: string;
  readonly code?: string;
  readonly message: string;
  readonly cause?: string;
}

/** Loads the addon in a process of its own, with the sources of `package_` and STEMLINE_ADDON set to `named`. */
async function load(named: string | undefined, package_ = root, cwd = folder): Promise<Outcome> {
  const loader = JSON.stringify(new URL(`file://${join(package_, "src", "native", "loader.ts")}`).href);
  const program = `
    import { loadAddon } from ${loader};
    try {
      console.log(JSON.stringify({ backends: loadAddon().backends().length, message: "" }));
    } catch ({ name, code, message, cause }) {
      console.log(JSON.stringify({ name, code, message, cause: cause?.message }));
    }`;
  const env: NodeJS.ProcessEnv = { ...process.env, STEMLINE_ADDON: named };
  if (named === undefined) delete env.STEMLINE_ADDON;
  const { stdout } = await promisify(execFile)(process.execPath, nodeArguments("-e", program), { env, cwd });
  return JSON.parse(stdout);
}

function put(path: string, content: string | Uint8Array): string {
  const full = join(folder, path);
  mkdirSync(dirname(full), { recursive: true });
  writeFileSync(full, content);
  return full;
}

/** The addon with another machine in its ELF header. */
function forAnotherMachine(): Buffer {
  const bytes = readFileSync(addon);
  const [x64, arm64] = [62, 183];
  bytes.writeUInt16LE(bytes.readUInt16LE(18) === x64 ? arm64 : x64, 18);
  return bytes;
}

const advice = /npm run build:addon.*prebuild/;

describe("STEMLINE_ADDON", () => {
  it("names the file to load", async () => {
    const named = join(folder, "elsewhere.node");
    copyFileSync(addon, named);
    expect((await load(named)).backends).toBeGreaterThan(0);
  });

  it("may be relative to the working directory", async () => {
    copyFileSync(addon, join(folder, "here.node"));
    expect((await load("here.node")).backends).toBeGreaterThan(0);
    expect((await load(relative(root, join(folder, "here.node")), root, root)).backends).toBeGreaterThan(0);
  });

  const files: [string, () => string | Uint8Array, RegExp][] = [
    [
      "a text file",
      () => "this is no addon\n",
      /invalid ELF header|file too short|not a mach-o|not a valid/i,
    ],
    ["an empty file", () => "", /file too short|not a mach-o|not a valid/i],
    [
      "a file of another architecture",
      forAnotherMachine,
      /cannot open shared object|wrong ELF|incompatible|not a valid/i,
    ],
    ["a file that is only an ELF header", () => readFileSync(addon).subarray(0, 64), /./],
  ];
  it.each(files)("that is %s is an error that says so", async (_what, content, reason) => {
    const named = put("bad.node", content());
    const { name, code, message, cause } = await load(named);
    expect({ name, code }).toEqual({ name: "NativeError", code: "STEMLINE_ADDON_NOT_LOADED" });
    const [first, tried, ...rest] = message.split("\n");
    expect(first).toBe(
      `The native addon for ${platform} (Node ${process.version}) could not be loaded. Tried:`,
    );
    expect(tried).toMatch(new RegExp(`^  ${named}: `));
    expect(tried?.slice(named.length)).toMatch(reason);
    expect(cause).toBe(tried?.slice(`  ${named}: `.length));
    // Only the file that was named is tried, though a good one was built.
    expect(rest).toEqual([expect.stringMatching(advice)]);
  });

  it("that names no file is an error that says so", async () => {
    const named = join(folder, "nowhere.node");
    const { code, message, cause } = await load(named);
    expect(code).toBe("STEMLINE_ADDON_NOT_LOADED");
    expect(message).toContain(`  ${named}: no such file\n`);
    expect(message).toMatch(advice);
    expect(message).not.toContain("Release");
    expect(cause).toBe(undefined);
  });

  it("that names a folder is an error that says so", async () => {
    const { code, message } = await load(folder);
    expect(code).toBe("STEMLINE_ADDON_NOT_LOADED");
    expect(message).toContain(`  ${folder}: `);
  });
});

describe("without STEMLINE_ADDON", () => {
  /** A package with nothing but what the loader needs. */
  function emptyPackage(): string {
    put("package.json", '{ "type": "module" }');
    for (const file of ["src/errors.ts", "src/native/loader.ts", "src/native/addon.ts"]) {
      put(file, readFileSync(join(root, file)));
    }
    return folder;
  }
  const built = join("build", "Release", "stemline.node");
  const shipped = join("prebuilds", platform, "stemline.node");

  it.each([undefined, ""])("(%o) every place that was tried is listed", async (named) => {
    const { name, code, message } = await load(named, emptyPackage());
    expect({ name, code }).toEqual({ name: "NativeError", code: "STEMLINE_ADDON_NOT_LOADED" });
    expect(message.split("\n")).toEqual([
      `The native addon for ${platform} (Node ${process.version}) could not be loaded. Tried:`,
      `  ${join(folder, built)}: no such file`,
      `  ${join(folder, shipped)}: no such file`,
      expect.stringMatching(advice),
    ]);
  });

  it.each([built, shipped])("%s is loaded", async (path) => {
    const package_ = emptyPackage();
    put(path, readFileSync(addon));
    expect((await load(undefined, package_)).backends).toBeGreaterThan(0);
  });

  it("a prebuild takes the place of a file that cannot be loaded", async () => {
    const package_ = emptyPackage();
    put(built, "stale");
    put(shipped, readFileSync(addon));
    expect((await load(undefined, package_)).backends).toBeGreaterThan(0);
  });

  it("all failures are told, and the first one is the cause", async () => {
    const package_ = emptyPackage();
    put(built, "stale");
    put(shipped, forAnotherMachine());
    const { message, cause } = await load(undefined, package_);
    const [, first, second] = message.split("\n");
    expect(first).toContain(join(folder, built));
    expect(second).toContain(join(folder, shipped));
    expect(first).toContain(cause);
    expect(second).not.toContain("no such file");
  });
});
