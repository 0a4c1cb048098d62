import { readdirSync, readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { PipelineError, StemlineError, WireError } from "../../src/errors.ts";

const root = new URL("../../", import.meta.url);

describe("docs/errors.md", () => {
  const documented = matches(readFileSync(new URL("docs/errors.md", root), "utf8"), /^\| `(STEMLINE_\w+)`/gm);
  const used = [...sources("src", /\.ts$/), ...sources("native", /\.(h|cpp)$/)].flatMap(codesIn);

  it("has every code that the sources use", () => {
    expect([...new Set(used)].filter((code) => !documented.includes(code))).toEqual([]);
  });

  it("has no code that the sources do not use", () => {
    expect(used).not.toEqual([]);
    expect(documented.filter((code) => !used.includes(code))).toEqual([]);
  });

  it("has each code once", () => {
    expect(documented).toEqual([...new Set(documented)]);
  });

  it("is compared with literals of both languages, and not with environment variables", () => {
    expect(codesIn('throw new WireError(\n  "STEMLINE_A", "STEMLINE_B: not whole")')).toEqual(["STEMLINE_A"]);
    expect(
      codesIn(
        'return "STEMLINE_C"; std::getenv("STEMLINE_D"); process.env.STEMLINE_E; integer("STEMLINE_F", 1)',
      ),
    ).toEqual(["STEMLINE_C"]);
  });
});

describe("StemlineError", () => {
  it("carries its class name, code and cause", () => {
    const cause = new Error("disk");
    const error = new WireError("STEMLINE_WIRE_HEADER", "text", { cause });
    expect(error).toBeInstanceOf(StemlineError);
    expect({ ...error, message: error.message, cause: error.cause }).toEqual({
      name: "WireError",
      code: "STEMLINE_WIRE_HEADER",
      message: "text",
      cause,
    });
  });

  it("holds the problems of a pipeline", () => {
    const problems = [{ path: "operators[0]", message: "unknown" }];
    expect(new PipelineError("STEMLINE_PIPELINE_INVALID", "text", problems).problems).toBe(problems);
  });
});

function sources(folder: string, name: RegExp): string[] {
  const files = readdirSync(new URL(`${folder}/`, root), { recursive: true, encoding: "utf8" });
  return files
    .filter((file) => name.test(file))
    .map((file) => readFileSync(new URL(`${folder}/${file}`, root), "utf8"));
}

/** Error codes are whole literals; the names of environment variables are the arguments of what reads them. */
function codesIn(source: string): string[] {
  return matches(source, /(?<!(?:getenv|variable|integer|seconds)(?:<[^>]*>)?\()"(STEMLINE_\w+)"/g);
}

function matches(text: string, pattern: RegExp): string[] {
  return [...text.matchAll(pattern)].map((match) => match[1]!);
}
