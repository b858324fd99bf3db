// What plain PUBs and SUBs are written, in pieces: once for all, and no more than a peer takes.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { FanOut, KeptRoom } from "../../build/broker/fan-out.js";
import { PrefixIndex } from "../../build/broker/prefix-index.js";
import { SubLine } from "../../build/broker/sub-line.js";
import { Wishes } from "../../build/broker/wishes.js";

/** Takes what it is sent, or as much of it as no bytes. */
class Taker {
  isBlocked = false;
  isEnded = false;
  isStuck = false;
  readonly pieces: Uint8Array[] = [];
  text = "";
  readonly messages: string[] = [];

  sendEncoded(pieces: Uint8Array[]): void {
    this.pieces.push(...pieces);
    this.text += Buffer.concat(pieces).toString("latin1");
    this.isBlocked = this.isStuck;
  }

  send(parts: Uint8Array[]): void {
    this.messages.push(`large ${Buffer.from(parts[0]).toString("latin1")}`);
    this.isBlocked = this.isStuck;
  }

  sendAll(messages: Uint8Array[][]): void {
    for (const [part] of messages) this.messages.push(Buffer.from(part).toString("latin1"));
    this.isBlocked = this.isStuck;
  }

  close(): void {
    this.isEnded = true;
  }
}

const bytes = (text: string) => Buffer.from(text);

describe("a fan-out", () => {
  function scene(count: number, bytesMax = 1_000_000, queuedBytesMax = bytesMax, isSealed = false) {
    const fanOut = new FanOut(isSealed);
    const kept = new KeptRoom(bytesMax);
    let dropped = 0;
    const room = {
      fanOut,
      kept,
      queuedBytesMax,
      isSealed,
      onDropped: () => void dropped++,
    };
    const takers = Array.from({ length: count }, () => new Taker());
    const lines = takers.map((taker) => {
      const line = new SubLine({} as never, room);
      line.attach(taker as never);
      return line;
    });
    const tell = (...parts: string[]) => {
      const told = fanOut.add(parts.map(bytes));
      for (const line of lines) line.tell(told);
    };
    return { fanOut, kept, takers, lines, tell, dropped: () => dropped };
  }

  it("writes the same bytes to all who heard the same, a turn in one piece", () => {
    const { fanOut, takers, tell } = scene(100);
    tell("a", "1");
    tell("b", "x".repeat(300));
    fanOut.flush();
    const [first, ...rest] = takers;
    expect(first.pieces).toHaveLength(1);
    expect(first.text.startsWith("\x01\x01a\x00\x011\x01\x01b\x02")).toBe(true);
    for (const { pieces } of rest) {
      expect(pieces[0].buffer).toBe(first.pieces[0].buffer);
      expect(pieces[0].byteOffset).toBe(first.pieces[0].byteOffset);
    }
  });

  it("keeps what some do not take, once for all of them, and forgets it when the last has it", () => {
    const { fanOut, kept, takers, lines, tell } = scene(3);
    for (const taker of takers.slice(1)) taker.isStuck = true;
    tell("under way");
    fanOut.flush();
    expect(kept.bytes).toBe(0);
    tell("waits");
    fanOut.flush();
    const once = kept.bytes;
    expect(once).toBeGreaterThan(7);
    for (const taker of takers) Object.assign(taker, { isStuck: false, isBlocked: false });
    lines[1].onDrained();
    expect(kept.bytes).toBe(once);
    lines[2].onDrained();
    expect(kept.bytes).toBe(0);
    expect(takers.map(({ text }) => text)).toEqual(Array(3).fill("\0\x09under way\0\x05waits"));
  });

  it("under CURVE counts what is large until it is taken, and nobody is sent more before", () => {
    const { fanOut, kept, takers, lines, tell, dropped } = scene(2, 1_000_000, 400_000, true);
    for (const taker of takers) taker.isStuck = true;
    const large = "x".repeat(300_000);
    for (const name of ["a", "b", "c"]) {
      tell(name, large);
      tell(`small ${name}`);
      fanOut.flush();
    }
    expect(takers[0].messages).toEqual(["large a"]);
    // Each once: the third has no room behind the second.
    expect(kept.bytes).toBeGreaterThan(600_000);
    expect(kept.bytes).toBeLessThan(700_000);
    expect(dropped()).toBe(2);
    for (const taker of takers) Object.assign(taker, { isStuck: false, isBlocked: false });
    for (const line of lines) line.onDrained();
    const all = ["large a", "small a", "large b", "small b", "small c"];
    for (const { messages } of takers) expect(messages).toEqual(all);
    expect(kept.bytes).toBe(0);
  });

  it("forgets what waited for one that is gone", () => {
    const { fanOut, kept, takers, lines, tell } = scene(1);
    takers[0].isStuck = true;
    for (let i = 0; i < 10; i++) {
      tell(`${i}`);
      fanOut.flush();
    }
    expect(kept.bytes).toBeGreaterThan(0);
    lines[0].onGone();
    expect(kept.bytes).toBe(0);
  });

  it("drops beyond 1000 messages, or where there is no room for their bytes", () => {
    const many = scene(1);
    many.takers[0].isStuck = true;
    for (let i = 0; i < 1500; i++) {
      many.tell("x");
      many.fanOut.flush();
    }
    expect(many.dropped()).toBe(499);
    const single = scene(1, 1_000_000, 5000);
    single.takers[0].isStuck = true;
    for (let i = 0; i < 6; i++) {
      single.tell("x".repeat(2000));
      single.fanOut.flush();
    }
    expect(single.dropped()).toBe(3);
    const large = scene(2, 10_000);
    for (const taker of large.takers) taker.isStuck = true;
    for (let i = 0; i < 10; i++) {
      large.tell("x".repeat(2000));
      large.fanOut.flush();
    }
    expect(large.kept.bytes).toBeLessThanOrEqual(10_000);
    expect(large.dropped()).toBe(2 * 6);
  });
});

describe("a PUB that does not read", () => {
  it("is asked for what is wanted in the end, when it reads, whatever came and went", () => {
    const prefix = fc.constantFrom("", "a", "ab", "b", "c");
    const change = fc.record({ prefix, isWanted: fc.boolean(), isRead: fc.boolean() });
    fc.assert(
      fc.property(fc.array(change), fc.array(prefix), (changes, first) => {
        const wishes = new Wishes();
        const wanted = new Set<string>();
        const want = (what: string, isOne: boolean) => {
          if (wanted.has(what) === isOne) return;
          if (isOne) wanted.add(what);
          else wanted.delete(what);
          wishes.want(what, isOne);
        };
        for (const each of first) want(each, true);
        const line = wishes.addLine();
        const taker = new Taker();
        line.attach(taker as never);
        for (const { prefix: what, isWanted, isRead } of changes) {
          taker.isBlocked = !isRead;
          want(what, isWanted);
          line.flush();
        }
        taker.isBlocked = false;
        line.flush();
        const asked = new Set<string>();
        for (const text of taker.messages) {
          if (text[0] === "\x01") asked.add(text.slice(1));
          else asked.delete(text.slice(1));
        }
        expect(asked).toEqual(wanted);
        expect(wishes.count).toBe(wanted.size);
      }),
    );
  });

  it("is owed a bounded number of changes", () => {
    const wishes = new Wishes();
    const line = wishes.addLine();
    const taker = new Taker();
    line.attach(taker as never);
    line.flush();
    taker.isBlocked = true;
    for (let i = 0; i < 65_536; i++) wishes.want(`${i}`, true);
    expect(taker.isEnded).toBe(false);
    wishes.want("one more", true);
    expect(taker.isEnded).toBe(true);
  });
});

it("an index of prefixes finds each whose prefix a topic begins with, once", () => {
  const text = fc.string({ unit: fc.constantFrom("a", "b", "."), maxLength: 5 });
  const step = fc.record({ prefix: text, it: fc.nat(3), isOneMore: fc.boolean(), topic: text });
  fc.assert(
    fc.property(fc.array(step), (steps) => {
      const index = new PrefixIndex<number>();
      const all = new Set<string>();
      for (const { prefix, it, isOneMore, topic } of steps) {
        const had = [...all].some((each) => each.slice(1) === prefix);
        if (isOneMore) {
          all.add(`${it}${prefix}`);
          expect(index.add(prefix, it)).toBe(!had);
        } else {
          const wasThere = all.delete(`${it}${prefix}`);
          const has = [...all].some((each) => each.slice(1) === prefix);
          expect(index.delete(prefix, it)).toBe(wasThere && !has);
        }
        const found = [...all].filter((each) => topic.startsWith(each.slice(1)));
        const wanted = new Set(found.map((each) => Number(each[0])));
        expect([...index.of(topic)].sort()).toEqual([...wanted].sort());
      }
    }),
  );
});
