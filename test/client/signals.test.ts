import { getEventListeners } from "node:events";
import { expect, test } from "vitest";
import { forget, listen } from "../../build/client/signals.js";

const countOf = (signal: AbortSignal) => getEventListeners(signal, "abort").length;

test("a signal has one listener of ours however many wait for it, and none when nobody does", () => {
  const abortion = new AbortController();
  const { signal } = abortion;
  const told: number[] = [];
  const all = Array.from({ length: 1000 }, (_, i) => () => void told.push(i));
  for (const each of all) listen(signal, each);
  expect(countOf(signal)).toBe(1);
  for (const each of all) forget(signal, each);
  expect(countOf(signal)).toBe(0);
  listen(signal, all[7]);
  listen(signal, all[8]);
  forget(signal, all[8]);
  forget(signal, all[8]);
  abortion.abort();
  expect(told).toEqual([7]);
  expect(countOf(signal)).toBe(0);
});

test("who is forgotten while others are told is not told, and each is told once", () => {
  const abortion = new AbortController();
  const { signal } = abortion;
  const told: string[] = [];
  const second = () => void told.push("second");
  const first = () => {
    told.push("first");
    forget(signal, second);
  };
  listen(signal, first);
  listen(signal, second);
  listen(signal, () => void told.push("third"));
  abortion.abort();
  expect(told).toEqual(["first", "third"]);
});
