import { describe, expect, it } from "vitest";
import { readUuid } from "../../../src/wire/uuid.ts";

const canonical = "5bd6ef2a-91c0-4d7e-8000-000000000001";

describe("readUuid", () => {
  it.each([
    canonical,
    canonical.toUpperCase(),
    canonical.replaceAll("-", ""),
    `{${canonical}}`,
    `urn:uuid:${canonical}`,
  ])("takes %s", (spelling) => {
    expect(readUuid(spelling)).toBe(canonical);
  });

  it.each([
    "",
    "x",
    `${canonical}0`,
    ` ${canonical}`,
    `{${canonical}`,
    `{${canonical.replaceAll("-", "")}}`,
    `urn:uuid:{${canonical}}`,
    "5bd6ef2a91c0-4d7e-8000-000000000001",
    canonical.replace("5", "g"),
    5,
    null,
    [canonical],
  ])("refuses %j", (value) => {
    expect(readUuid(value)).toBeUndefined();
  });
});
