import { describe, expect, it } from "vitest";
import { Sequences } from "../../build/client/sequences.js";

describe("sequences", () => {
  it("tell what is missing, and what is late, by topic and publisher", () => {
    const seen = new Sequences();
    expect(seen.note("a", 1, 0, 5, false, 0)).toBe(0);
    expect(seen.note("a", 1, 0, 6, false, 0)).toBe(0);
    expect(seen.note("a", 1, 0, 10, false, 0)).toBe(3);
    expect(seen.isLate("a", 1, 0, 10)).toBe(true);
    expect(seen.isLate("a", 1, 0, 11)).toBe(false);
    expect(seen.isLate("b", 1, 0, 1)).toBe(false);
    expect(seen.isLate("a", 2, 0, 1)).toBe(false);
    expect(seen.isLate("a", 1, 0x200000, 1)).toBe(false);
  });

  it("count between a kept value and the first event what was dropped meanwhile, and no more", () => {
    const seen = new Sequences();
    expect(seen.note("a", 1, 0, 5, true, 0)).toBe(0);
    expect(seen.isLate("a", 1, 0, 5)).toBe(true);
    expect(seen.note("a", 1, 0, 9, false, 0)).toBe(0);
    expect(seen.note("a", 1, 0, 11, true, 0)).toBe(1);
    seen.note("b", 1, 0, 5, true, 7);
    expect(seen.note("b", 1, 0, 9, false, 9)).toBe(2);
    seen.note("c", 1, 0, 5, true, 9);
    expect(seen.note("c", 1, 0, 7, false, 20)).toBe(1);
    expect(seen.note("c", 1, 0, 9, false, 20)).toBe(1);
  });

  it("forget the oldest of very many, and only these", () => {
    const seen = new Sequences();
    for (let i = 0; i < 16_384; i++) seen.note(`t.${i}`, 1, 0, 1, false, 0);
    seen.note("more", 1, 0, 1, false, 0);
    expect(seen.isLate("t.7", 1, 0, 1)).toBe(true);
    for (let i = 0; i < 16_384; i++) seen.note(`u.${i}`, 1, 0, 1, false, 0);
    expect(seen.isLate("t.7", 1, 0, 1)).toBe(true);
    expect(seen.isLate("t.8", 1, 0, 1)).toBe(false);
  });
});
