/**
 * Numbers and booleans as interactEM reads them from JSON: text that spells a value is taken as the value. Each reader
 * returns undefined for anything else.
 */

const trueWords = new Set(["true", "t", "yes", "y", "on", "1"]);
const falseWords = new Set(["false", "f", "no", "n", "off", "0"]);

/** Whole numbers, booleans as 0 and 1, and text such as `" +1_000 "` or `"2.0"`. */
export function readInteger(value: unknown): number | undefined {
  if (typeof value === "boolean") return Number(value);
  if (typeof value === "number") return Number.isInteger(value) ? value : undefined;
  if (typeof value !== "string") return undefined;
  const text = value.trim();
  // Adding 0 turns the -0 of "-0" into 0.
  return /^[+-]?\d+(_\d+)*(\.0+)?$/.test(text) ? Number(text.replaceAll("_", "")) + 0 : undefined;
}

/** Numbers, booleans as 0 and 1, and decimal text, including `nan`, `inf` and `infinity` in any case. */
export function readFloat(value: unknown): number | undefined {
  if (typeof value === "boolean") return Number(value);
  if (typeof value === "number") return value;
  if (typeof value !== "string") return undefined;
  const text = value.trim().toLowerCase();
  if (/^[+-]?nan$/.test(text)) return Number.NaN;
  const infinity = /^([+-]?)inf(inity)?$/.exec(text);
  if (infinity) return infinity[1] === "-" ? Number.NEGATIVE_INFINITY : Number.POSITIVE_INFINITY;
  if (/^_|__|_$/.test(text)) return undefined;
  const digits = text.replaceAll("_", "");
  return /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/.test(digits) ? Number(digits) : undefined;
}

/** Booleans, 0 and 1, and the words true, t, yes, y, on, 1 and their opposites in any case. */
export function readBoolean(value: unknown): boolean | undefined {
  if (typeof value === "boolean") return value;
  if (value === 0 || value === 1) return value === 1;
  if (typeof value !== "string") return undefined;
  const word = value.toLowerCase();
  if (trueWords.has(word)) return true;
  return falseWords.has(word) ? false : undefined;
}
