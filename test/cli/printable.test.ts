import { expect, it } from "vitest";
import { jsonText } from "../../build/cli/json-text.js";
import { printable, printableJson } from "../../build/cli/printable.js";
import { messageOf, oneLine } from "../../build/cli/program.js";

const EVERY = Array.from({ length: 0x3000 }, (_, code) => String.fromCharCode(code)).join("");
// C0, DEL and C1, and what turns the direction of what follows.
const CONTROLS = /\p{Cc}|[\u202a-\u202e\u2066-\u2069]/u;

it("a line of others' words is text alone", () => {
  expect(CONTROLS.test(EVERY)).toBe(true);
  expect(printable(EVERY)).not.toMatch(CONTROLS);
  expect(printable("orders.größe €5 价格 😀")).toBe("orders.größe €5 价格 😀");
  const said = "\u001b]0;owned\u0007\u001b[2J\u009b31m boo\r\n\tat line 2\u2028";
  expect(oneLine(said)).toBe("?]0;owned??[2J?31m boo at line 2");
  expect(messageOf(new Error(said))).toBe(oneLine(said));
  expect(messageOf(said)).toBe(oneLine(said));
});

it("JSON is the same value, of what a terminal shows", () => {
  const value = { [EVERY]: EVERY };
  for (const json of [jsonText(value), printableJson(JSON.stringify(value))]) {
    expect(json).not.toMatch(/\p{Cc}/u);
    expect(JSON.parse(json)).toEqual(value);
  }
  expect(jsonText("\u009b2J \u007f é")).toBe(String.raw`"\u009b2J \u007f é"`);
});
