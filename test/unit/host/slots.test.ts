import { setImmediate as nextTurn } from "node:timers/promises";
import { expect, test } from "vitest";
import { Slots } from "../../../src/host/slots.ts";

/** Asks for a place and notes `name` when it is there. */
function ask(slots: Slots, name: string, got: string[], ask: "take" | "available" = "take"): void {
  void slots[ask]().then(() => got.push(name));
}

test("gives out as many places as there are, then one for each that is free again, in order", async () => {
  const slots = new Slots(2);
  const got: string[] = [];
  for (const name of ["a", "b", "c", "d"]) ask(slots, name, got);
  await nextTurn();
  expect(got).toEqual(["a", "b"]);
  slots.free();
  await nextTurn();
  expect(got).toEqual(["a", "b", "c"]);
  slots.free();
  slots.free();
  slots.free();
  await nextTurn();
  expect(got).toEqual(["a", "b", "c", "d"]);
  for (const name of ["e", "f", "g"]) ask(slots, name, got);
  await nextTurn();
  expect(got).toEqual(["a", "b", "c", "d", "e", "f"]);
});

test("a place that somebody waited for without taking it goes on to the next", async () => {
  const slots = new Slots(1);
  await slots.available();
  await slots.take();
  const got: string[] = [];
  ask(slots, "looked", got, "available");
  ask(slots, "took", got);
  ask(slots, "waits", got);
  await nextTurn();
  expect(got).toEqual([]);
  slots.free();
  await nextTurn();
  expect(got).toEqual(["looked", "took"]);
});
