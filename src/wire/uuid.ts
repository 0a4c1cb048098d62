const hyphenated = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;
const simple = /^([0-9a-f]{8})([0-9a-f]{4})([0-9a-f]{4})([0-9a-f]{4})([0-9a-f]{12})$/;

/**
 * Reads a UUID in any spelling that interactEM accepts (bare digits, braces, `urn:uuid:`, upper case) and returns
 * its lower-case hyphenated form, or undefined if the value is no UUID.
 */
export function readUuid(value: unknown): string | undefined {
  if (typeof value !== "string") return undefined;
  const text = value
    .toLowerCase()
    .replace(/^urn:uuid:(.{36})$/, "$1")
    .replace(/^\{(.{36})\}$/, "$1");
  if (hyphenated.test(text)) return text;
  return simple.test(text) ? text.replace(simple, "$1-$2-$3-$4-$5") : undefined;
}
