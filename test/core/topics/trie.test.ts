// Patterns and topics: the trie against one comparison for each pattern, and what it looks at.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { isPattern, isTopic, prefixOf } from "../../../build/base/topic.js";
import { PatternTrie } from "../../../build/core/topics/pattern-trie.js";
import { RetainedStore } from "../../../build/core/topics/retained.js";

/** By the words of PROTOCOL 6, one pattern at a time. */
function matches(pattern: string, topic: string): boolean {
  const wanted = pattern.split(".");
  const tokens = topic.split(".");
  for (const [index, token] of wanted.entries()) {
    if (token === ">") return index < tokens.length;
    if (index >= tokens.length || (token !== "*" && token !== tokens[index])) return false;
  }
  return wanted.length === tokens.length;
}

const tokens = fc.constantFrom("a", "b", "c", "é");
const topics = fc.array(tokens, { minLength: 1, maxLength: 5 }).map((list) => list.join("."));
const patterns = fc
  .tuple(
    fc.array(fc.oneof(tokens, fc.constant("*")), { minLength: 0, maxLength: 4 }),
    fc.constantFrom("", ">", "a", "*"),
  )
  .map(([list, last]) =>
    (last === "" && list.length > 0 ? list : [...list, last || "b"]).join("."),
  );

describe("patterns", () => {
  it.each([
    ["orders.eu", true, true],
    ["a", true, true],
    ["größe.数.🦉", true, true],
    ["*", false, true],
    [">", false, true],
    ["a.*.b.>", false, true],
    ["", false, false],
    [".", false, false],
    ["a..b", false, false],
    [".a", false, false],
    ["a.", false, false],
    ["a.>.b", false, false],
    ["a*", false, false],
    ["a.b>", false, false],
    ["a\nb", false, false],
    ["x".repeat(255), true, true],
    ["x".repeat(256), false, false],
    ["数".repeat(85), true, true],
    ["数".repeat(86), false, false],
    ["🦉".repeat(63), true, true],
    ["🦉".repeat(64), false, false],
    [new Array(32).fill("a").join("."), true, true],
    [new Array(33).fill("a").join("."), false, false],
  ])("%j: a topic %s, a pattern %s", (text, topic, pattern) => {
    expect([isTopic(text), isPattern(text)]).toEqual([topic, pattern]);
  });

  it("begin with what stands before their first wildcard", () => {
    expect(["a.b", "a.*.c", "a.>", ">", "*"].map(prefixOf)).toEqual(["a.b", "a.", "a.", "", ""]);
  });
});

describe("the trie", () => {
  it("finds what one comparison for each pattern finds, whatever came and went", () => {
    const steps = fc.array(fc.tuple(patterns, fc.nat(3), fc.boolean()), { maxLength: 60 });
    fc.assert(
      fc.property(steps, fc.array(topics, { minLength: 1, maxLength: 10 }), (all, asked) => {
        const trie = new PatternTrie<string>();
        const held = new Map<string, string>();
        for (const [pattern, who, isAdded] of all) {
          const holder = `${pattern} ${who}`;
          if (isAdded) {
            held.set(holder, pattern);
            trie.add(pattern, holder);
          } else {
            held.delete(holder);
            trie.delete(pattern, holder);
          }
        }
        for (const topic of asked) {
          const found: string[] = [];
          trie.match(topic, found);
          const wanted = [...held].filter(([, pattern]) => matches(pattern, topic));
          expect(found.sort()).toEqual(wanted.map(([holder]) => holder).sort());
        }
        for (const [holder, pattern] of held) trie.delete(pattern, holder);
        expect(trie.nodeCount).toBe(1);
      }),
    );
  });

  it("looks at as many nodes among 10,000 patterns as among 10", () => {
    const visited = [10, 100, 10_000].map((count) => {
      const trie = new PatternTrie<number>();
      for (let i = 0; i < count; i++) {
        trie.add(`orders.${i}.created`, i);
        trie.add(`stock.*.${i}`, i);
      }
      const found: number[] = [];
      trie.match("orders.7.created", found);
      trie.match("stock.bern.3", found);
      trie.match("nobody.listens", found);
      expect(found).toEqual([7, 3]);
      return trie.visitedCount;
    });
    expect(visited).toEqual([9, 9, 9]);
  });
});

describe("kept values", () => {
  interface Event {
    topic: string;
    bytes: number;
  }
  const event = (topic: string, bytes = 10): Event => ({ topic, bytes });
  /** Topics found by a walk of so many nodes at a time; `between` has its turn in between. */
  const find = (store: RetainedStore<Event>, pattern: string, atOnce = 1e9, between = () => {}) => {
    const { version } = store;
    const walk = store.walk(pattern, version);
    const found: string[] = [];
    while (!walk.isDone) {
      const next = walk.next(atOnce);
      // As the core does: what is newer comes otherwise.
      if (next?.event !== undefined && next.version <= version) found.push(next.event.topic);
      between();
    }
    return { found: found.sort(), visitedCount: walk.visitedCount };
  };

  it("are found by pattern as the trie finds patterns by topic", () => {
    fc.assert(
      fc.property(fc.array(topics), fc.array(topics), patterns, (kept, gone, pattern) => {
        const store = new RetainedStore<Event>(1000, 1e6);
        for (const topic of kept) store.set(event(topic));
        for (const topic of gone) store.delete(topic);
        const left = new Set(kept.filter((topic) => !gone.includes(topic)));
        const { found } = find(store, pattern);
        expect(found).toEqual([...left].filter((topic) => matches(pattern, topic)).sort());
        expect(store).toMatchObject({ count: left.size, valueBytes: left.size * 10 });
        for (const topic of left) store.delete(topic);
        expect(store).toMatchObject({ count: 0, bytes: 0, nodeCount: 0 });
        expect(find(store, ">").found).toEqual([]);
      }),
    );
  });

  it("are found a few nodes at a time, each once, whatever comes and goes meanwhile", () => {
    const changes = fc.array(fc.tuple(topics, fc.boolean()), { maxLength: 40 });
    fc.assert(
      fc.property(
        fc.array(topics),
        changes,
        patterns,
        fc.nat(3),
        (kept, changed, pattern, more) => {
          const store = new RetainedStore<Event>(1000, 1e6);
          for (const topic of kept) store.set(event(topic));
          const left = [...changed];
          const { found } = find(store, pattern, 1 + more, () => {
            const change = left.shift();
            if (change === undefined) return;
            const [topic, isSet] = change;
            if (isSet) store.set(event(topic));
            else store.delete(topic);
          });
          const touched = new Set(changed.map(([topic]) => topic));
          const all = [...new Set(kept)].filter((topic) => matches(pattern, topic));
          expect(new Set(found).size).toBe(found.length);
          expect(all).toEqual(expect.arrayContaining(found));
          expect(found).toEqual(
            expect.arrayContaining(all.filter((topic) => !touched.has(topic)).sort()),
          );
        },
      ),
    );
  });

  it("are looked for only where some may be that the pattern matches", () => {
    const store = new RetainedStore<Event>(1e6, 1e9);
    for (let i = 0; i < 1000; i++) {
      store.set(event(`orders.${i}.created`));
      store.set(event(`stock.bern.${i}`));
    }
    const visited = (pattern: string) => find(store, pattern).visitedCount;
    expect(visited("orders.7.created")).toBe(4);
    expect(visited("stock.*.7")).toBe(4);
    expect(visited("stock.>")).toBe(1003);
    expect(visited("prices.>")).toBe(2);
    expect(visited("orders.7.>")).toBe(4);
  });

  it("come to an end though topics are made faster than they are looked at", () => {
    const store = new RetainedStore<Event>(1e6, 1e9);
    for (let i = 0; i < 10; i++) store.set(event(`t.${i}`));
    let made = 10;
    const { found, visitedCount } = find(store, ">", 1, () => {
      for (let i = 0; i < 5; i++) store.set(event(`t.${made++}`));
    });
    expect(found).toHaveLength(10);
    expect(visitedCount).toBe(12);
  });

  it("are bounded in count and bytes; one in place of another counts for the difference", () => {
    const store = new RetainedStore<Event>(2, 612);
    store.set(event("a", 60));
    expect(store.refusal("b", 41)).toMatch(/612 bytes/);
    expect(store.refusal("a", 356)).toBeUndefined();
    store.set(event("b", 40));
    expect(store.refusal("c", 0)).toMatch(/2 topics/);
    store.delete("a");
    expect(store.refusal("c", 60)).toBeUndefined();
  });

  it("count with the nodes of their topics, each once", () => {
    const store = new RetainedStore<Event>(100, 10 * 256);
    store.set(event("a.b.c", 0));
    store.set(event("a.b.d", 0));
    store.set(event("a.b", 0));
    expect(store).toMatchObject({ nodeCount: 4, bytes: 4 * 256 });
    const six = "a.b.1.2.3.4.5.6";
    expect(store.refusal(`${six}.7`, 0)).toMatch(/bytes of last values/);
    expect(store.refusal(six, 1)).toMatch(/bytes of last values/);
    expect(store.refusal(six, 0)).toBeUndefined();
    store.delete("a.b.c");
    expect(store.bytes).toBe(3 * 256);
  });
});
