import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { parseJsonText } from "../../../src/spec/json-text.ts";

describe("parseJsonText", () => {
  test("reads what JSON.parse reads", () => {
    fc.assert(
      fc.property(fc.json(), (text) => {
        expect(parseJsonText(text)).toEqual(JSON.parse(text));
      }),
    );
  });

  test.each([
    ["", "line 1, column 1: expected a value, got the end"],
    ["{", "line 1, column 2: expected a name in double quotes, got the end"],
    ['{ "a": 1, }', 'line 1, column 11: expected a name in double quotes, got "}"'],
    ['{\n  "a": [1, 2\n  "b": 3 }', 'line 3, column 3: expected "," or "]", got "\\""'],
    ['{ "a" 1 }', 'line 1, column 7: expected ":", got "1"'],
    ["{ a: 1 }", 'line 1, column 3: expected a name in double quotes, got "a"'],
    ["[1, nothing]", 'line 1, column 5: expected a value, got "nothing"'],
    ["[1 2]", 'line 1, column 4: expected "," or "]", got "2"'],
    ['{ "a": "x\ny" }', 'line 1, column 8: expected a value, got "\\""'],
    ["{}\n\n// why", 'line 3, column 1: expected the end, got "/"'],
    ["[]]", 'line 1, column 3: expected the end, got "]"'],
    ["01", 'line 1, column 2: expected the end, got "1"'],
    ["[🙂]", 'line 1, column 2: expected a value, got "🙂"'],
  ])("%j: %s", (text, message) => {
    expect(() => parseJsonText(text)).toThrow(new SyntaxError(message));
  });

  test("finds a fault in whatever JSON.parse refuses", () => {
    const broken = fc.tuple(
      fc.json(),
      fc.nat(),
      fc.constantFrom("", "x", '"', "}", "]", ",", ":", "\\", "\n"),
    );
    fc.assert(
      fc.property(broken, ([text, at, inserted]) => {
        const offset = at % (text.length + 1);
        const changed = text.slice(0, offset) + inserted + text.slice(offset + 1);
        try {
          JSON.parse(changed);
        } catch {
          expect(() => parseJsonText(changed)).toThrow(/^line \d+, column \d+: expected [^u].*, got /);
        }
      }),
    );
  });
});
