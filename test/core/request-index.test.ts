import fc from "fast-check";
import { expect, test } from "vitest";
import { RequestIndex } from "../../build/core/request-index.js";
import { NONE, Requests } from "../../build/core/requests.js";

/** The index beside a Map that does the same. */
class Twin {
  readonly requests = new Requests(1 << 16);
  readonly index = new RequestIndex(this.requests);
  readonly map = new Map<string, number>();

  add(client: number, sequence: number): void {
    if (this.map.has(`${client}/${sequence}`)) return;
    const slot = this.requests.allocate();
    this.requests.client[slot] = client;
    this.requests.sequence[slot] = sequence;
    this.index.add(slot);
    this.map.set(`${client}/${sequence}`, slot);
  }

  delete(client: number, sequence: number): void {
    const slot = this.map.get(`${client}/${sequence}`);
    if (slot === undefined) return;
    this.index.delete(slot);
    this.map.delete(`${client}/${sequence}`);
    // A slot may be freed only from a state that was entered.
    this.requests.move(slot, 1);
    this.requests.free(slot);
  }

  check(client: number, sequence: number): void {
    expect(this.index.find(client, sequence)).toBe(this.map.get(`${client}/${sequence}`) ?? NONE);
    expect(this.index.count).toBe(this.map.size);
  }

  checkAll(): void {
    for (const key of this.map.keys()) {
      const [client, sequence] = key.split("/").map(Number);
      this.check(client, sequence);
    }
  }
}

// Few values, so that adds, deletes and look-ups meet; the odd ones exercise the hash.
const client = fc.oneof(fc.integer({ min: 0, max: 3 }), fc.integer({ min: 0, max: 2 ** 31 - 1 }));
const sequence = fc.oneof(
  fc.integer({ min: 0, max: 40 }),
  fc.constantFrom(2 ** 32, 2 ** 32 + 1, 2 ** 53 - 1, 2 ** 31),
);

test("agrees with a Map over any adds and deletes", () => {
  const step = fc.tuple(fc.constantFrom("add", "add", "delete"), client, sequence);
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
      const twin = new Twin();
      for (const [what, client, sequence] of steps) {
        if (what === "add") twin.add(client, sequence);
        else twin.delete(client, sequence);
        twin.check(client, sequence);
      }
      twin.checkAll();
    }),
    { numRuns: 200 },
  );
});

test("agrees through growth and heavy deletes, with sequences that count up", () => {
  const twin = new Twin();
  // In waves: far past the first 2048 places, then nearly empty, then again.
  for (let wave = 0; wave < 4; wave++) {
    for (let i = 0; i < 6_000; i++) twin.add(i % 7, wave * 10_000 + i);
    for (let i = 0; i < 6_000; i++) {
      // Leave every thirteenth, so that holes open beside entries that stay.
      if (i % 13 !== 0) twin.delete(i % 7, wave * 10_000 + i);
    }
    twin.checkAll();
  }
  for (const key of [...twin.map.keys()]) {
    const [client, sequence] = key.split("/").map(Number);
    twin.delete(client, sequence);
  }
  expect(twin.index.count).toBe(0);
  twin.check(0, 0);
});

test("a deleted entry does not cut off those that were placed past it", () => {
  const twin = new Twin();
  // Nearly half full: long runs of neighbours.
  for (let i = 0; i < 1_020; i++) twin.add(1, i);
  for (let i = 0; i < 1_020; i += 3) {
    twin.delete(1, i);
    twin.check(1, i);
  }
  twin.checkAll();
});

test("clients that use the same numbers are told apart, wherever they collide", () => {
  const twin = new Twin();
  for (let client = 0; client < 1_000; client++) twin.add(client, 1);
  for (let client = 0; client < 3_000; client++) twin.check(client, 1);
});
