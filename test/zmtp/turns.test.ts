// Steps that take long, a few each turn of the event loop.
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { Turns } from "../../build/zmtp/turns.js";

/** What waits for a turn of the event loop. */
let turns: (() => void)[];
let nowMs: number;
let log: string[];

beforeEach(() => {
  turns = [];
  log = [];
  nowMs = 0;
  vi.stubGlobal("setImmediate", (callback: () => void) => turns.push(callback));
  vi.spyOn(performance, "now").mockImplementation(() => nowMs);
});

afterEach(() => {
  vi.unstubAllGlobals();
  vi.restoreAllMocks();
});

/** A step that takes so long. */
const step = (name: string, ms: number) => () => {
  log.push(name);
  nowMs += ms;
};

/** The next turn; what was done in it. */
function turn(): string[] {
  log = [];
  turns.shift()?.();
  return log;
}

test("a turn ends after 2 ms, and the next goes on", () => {
  const steps = new Turns();
  for (const name of ["a", "b", "c", "d", "e"]) steps.add("x", step(name, 1));
  expect([turn(), turn(), turn(), turns]).toEqual([["a", "b"], ["c", "d"], ["e"], []]);
  steps.add("x", step("f", 1));
  expect(turn()).toEqual(["f"]);
});

test("those who have done something for it are first, the others by turns of whom they are for", () => {
  const steps = new Turns();
  for (let i = 1; i <= 3; i++) steps.add("many", step(`many ${i}`, 10));
  steps.add("one", step("one", 10));
  expect(turn()).toEqual(["many 1"]);
  steps.addFirst(step("first", 10));
  steps.add("two", step("two", 10));
  const rest = Array.from({ length: 5 }, () => turn()[0]);
  expect(rest).toEqual(["first", "one", "many 2", "two", "many 3"]);
  expect(turns).toEqual([]);
});

test("one that throws holds up no other", () => {
  const steps = new Turns();
  steps.add("x", () => {
    throw new Error("a listener's");
  });
  steps.add("x", step("next", 1));
  expect(turn).toThrow("a listener's");
  expect(turn()).toEqual(["next"]);
});
