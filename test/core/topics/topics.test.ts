// The decisions of publish and subscribe, without a wire.
import { beforeEach, describe, expect, it } from "vitest";
import { defaultLimits } from "../../../build/core/limits.js";
import type { TopicEvent, WhenFull } from "../../../build/core/topics/subscriptions.js";
import { Topics, UNTOLD_BYTES_MAX } from "../../../build/core/topics/topics.js";
import { SEND_COST } from "../../../build/core/topics/walk-pace.js";

interface Event extends TopicEvent {
  text: string;
  isOwn: boolean;
}

const KIB = 1024;
const WINDOW = 256 * KIB;
let topics: Topics<Event>;
/** What each peer was sent: `subscription:text`, `!` behind what was kept, `-n` before what n were dropped. */
let sent: Record<number, string[]>;
let keptCount: number;

function make(
  limits: Partial<typeof defaultLimits> = {},
  pace?: { turnMax: number; subscriberMax: number },
): void {
  sent = {};
  keptCount = 0;
  topics = new Topics<Event>(
    {
      deliver(peer, subscription, event, isRetained, dropped) {
        sent[peer] ??= [];
        sent[peer].push(
          `${dropped > 0 ? `-${dropped} ` : ""}${subscription}:${event.text}${isRetained ? "!" : ""}`,
        );
      },
      keep(event) {
        keptCount++;
        return { ...event, isOwn: true };
      },
      end(peer, subscription, status) {
        sent[peer] ??= [];
        sent[peer].push(`end ${subscription} ${status}`);
      },
      listen() {},
    },
    { ...defaultLimits, eventWindowBytes: WINDOW, ...limits },
    pace,
  );
}

beforeEach(() => make());

function publish(topic: string, text: string, { bytes = 100, isKept = false } = {}) {
  return topics.publish({ topic, bytes, holds: 0, text, isOwn: false }, isKept);
}

function subscribe(
  peer: number,
  id: number,
  pattern: string,
  { whenFull = "drop-oldest" as WhenFull, queueMax = 3, wantsRetained = true } = {},
) {
  const refusal = topics.subscribe(peer, id, pattern, { whenFull, queueMax, wantsRetained });
  topics.pump(peer);
  return refusal;
}

/** Fills the way to `peer`, so that what follows waits. */
function clog(peer: number): void {
  subscribe(peer, 99, "clog");
  publish("clog", "clog", { bytes: WINDOW });
  publish("clog", "clog", { bytes: 0 });
  sent = {};
  topics.unsubscribe(peer, 99);
}

describe("an event", () => {
  it("goes to each subscription that it matches, once each, at once and without a copy", () => {
    subscribe(1, 1, "a.*");
    subscribe(1, 2, "a.>");
    subscribe(2, 1, "a.b");
    subscribe(3, 1, "b");
    publish("a.b", "x");
    expect(sent).toEqual({ 1: ["2:x", "1:x"], 2: ["1:x"] });
    expect(topics.heard).toBe(3);
    expect(keptCount).toBe(0);
  });

  it("is for nobody who left or unsubscribed", () => {
    subscribe(1, 1, "a");
    subscribe(2, 1, "a");
    subscribe(2, 2, ">");
    publish("a", "1");
    topics.unsubscribe(2, 1);
    topics.leave(1);
    publish("a", "2");
    expect(sent).toEqual({ 1: ["1:1"], 2: ["2:1", "1:1", "2:2"] });
    expect(topics).toMatchObject({ subscriptionCount: 1, subscriberCount: 1 });
  });

  it("is refused where its topic is none", () => {
    for (const topic of ["", "a.*", ">", "a..b"]) expect(publish(topic, "x")?.status).toBe(3);
    expect(topics.counts).toMatchObject({ published: 0, publishRefused: 4 });
  });

  it("finds its subscriptions again without a walk, until these change", () => {
    subscribe(1, 1, "a.b");
    publish("a.b", "1");
    const { visitedCount } = topics.trie;
    publish("a.b", "2");
    expect(topics.trie.visitedCount).toBe(visitedCount);
    subscribe(2, 1, "a.*");
    publish("a.b", "3");
    expect(topics.trie.visitedCount).toBeGreaterThan(visitedCount);
    expect(sent[2]).toEqual(["1:3"]);
  });
});

describe("a peer that does not read", () => {
  it("loses the oldest of a queue that drops these, and is told how many", () => {
    subscribe(1, 1, "a", { whenFull: "drop-oldest", queueMax: 2 });
    clog(1);
    for (const text of ["1", "2", "3", "4"]) publish("a", text);
    expect(sent).toEqual({});
    topics.taken(1, WINDOW);
    expect(sent[1]).toEqual(["-2 1:3", "1:4"]);
    expect(topics.counts.droppedOldest).toBe(2);
  });

  it("loses the newest of a queue that drops these", () => {
    subscribe(1, 1, "a", { whenFull: "drop-newest", queueMax: 2 });
    clog(1);
    for (const text of ["1", "2", "3", "4"]) publish("a", text);
    topics.taken(1, WINDOW);
    expect(sent[1]).toEqual(["-2 1:1", "1:2"]);
    publish("a", "5");
    expect(sent[1]).toEqual(["-2 1:1", "1:2", "1:5"]);
    expect(topics.counts.droppedNewest).toBe(2);
  });

  it("loses the subscription that is to end, and no other", () => {
    subscribe(1, 1, "a", { whenFull: "disconnect", queueMax: 2 });
    subscribe(1, 2, "a", { queueMax: 5 });
    clog(1);
    for (const text of ["1", "2", "3"]) publish("a", text);
    expect(sent[1]).toEqual(["end 1 8"]);
    topics.taken(1, WINDOW);
    expect(sent[1]).toEqual(["end 1 8", "2:1", "2:2", "2:3"]);
    expect(topics).toMatchObject({ subscriptionCount: 1, queuedBytes: 0 });
  });

  it("disturbs nobody else", () => {
    subscribe(1, 1, "a");
    subscribe(2, 1, "a");
    clog(1);
    for (let i = 0; i < 10; i++) publish("a", String(i));
    expect(sent[2]).toHaveLength(10);
  });

  describe("where the bytes are used up", () => {
    /** What `peer` has by now of each of its queues, and how many it was told are lost. */
    const drain = (peer: number) => {
      topics.taken(peer, WINDOW);
      return sent[peer];
    };

    it("by another subscription of its own, loses the new event and none that wait", () => {
      make({ clientEventBytesMax: 1000 });
      subscribe(1, 1, "small", { queueMax: 10 });
      subscribe(1, 2, "big", { queueMax: 10 });
      clog(1);
      for (const text of ["1", "2", "3"]) publish("small", text);
      publish("big", "big", { bytes: 600 });
      publish("small", "no room", { bytes: 500 });
      expect(topics.counts).toMatchObject({ droppedOldest: 0, droppedNewest: 1 });
      publish("small", "room", { bytes: 400 });
      expect(topics.counts).toMatchObject({ droppedOldest: 3, droppedNewest: 1 });
      expect(topics.queuedBytes).toBe(1000);
      expect(drain(1)).toEqual(["-4 1:room", "2:big"]);
    });

    it("by others, loses the new event and none that wait", () => {
      make({ clientEventBytesMax: 1000, eventBytesMax: 1500 });
      for (const peer of [1, 2]) {
        subscribe(peer, 1, `t.${peer}`, { queueMax: 10 });
        clog(peer);
      }
      for (let i = 0; i < 10; i++) publish("t.1", String(i));
      for (let i = 0; i < 4; i++) publish("t.2", String(i));
      publish("t.2", "no room", { bytes: 501 });
      expect(topics.counts).toMatchObject({ droppedOldest: 0, droppedNewest: 1 });
      publish("t.2", "room", { bytes: 300 });
      expect(drain(2)).toEqual(["-3 1:2", "1:3", "1:room"]);
    });

    it("by what waits for others too, loses the new event and none that wait", () => {
      make({ eventBytesMax: 1000 });
      for (const peer of [1, 2]) {
        subscribe(peer, 1, "both", { queueMax: 20 });
        clog(peer);
      }
      subscribe(1, 2, "one", { queueMax: 20 });
      for (let i = 0; i < 10; i++) publish("both", String(i));
      publish("both", "new");
      expect(topics.counts).toMatchObject({ droppedOldest: 0, droppedNewest: 2 });
      expect(topics).toMatchObject({ queuedCount: 20, queuedBytes: 1000 });
    });

    it("by a queue that is full as well, loses none for nothing", () => {
      make({ clientEventBytesMax: 1000 });
      subscribe(1, 1, "small", { queueMax: 2 });
      subscribe(1, 2, "big");
      clog(1);
      for (const text of ["1", "2"]) publish("small", text);
      publish("big", "big", { bytes: 700 });
      publish("small", "no room", { bytes: 400 });
      publish("small", "room");
      expect(drain(1)).toEqual(["-2 1:2", "2:big", "1:room"]);
    });
  });

  it("shares the way among its subscriptions in turn, each in order", () => {
    subscribe(1, 1, "a.*", { queueMax: 9 });
    subscribe(1, 2, "b", { queueMax: 9 });
    clog(1);
    for (const text of ["1", "2", "3"]) publish("a.x", text);
    publish("b", "4");
    topics.taken(1, WINDOW);
    expect(sent[1]).toEqual(["1:1", "2:4", "1:2", "1:3"]);
  });

  it("is sent no more than the window, and more as it reads", () => {
    subscribe(1, 1, "a", { queueMax: 1000 });
    for (let i = 0; i < 12; i++) publish("a", String(i), { bytes: 30 * KIB });
    expect(sent[1]).toHaveLength(8);
    expect(topics.outstanding(1)).toBe(240 * KIB);
    topics.taken(1, 60 * KIB);
    expect(sent[1]).toHaveLength(10);
  });

  it("is sent what is larger than the window, once it has read the rest", () => {
    subscribe(1, 1, "a");
    publish("a", "small", { bytes: UNTOLD_BYTES_MAX + 1 });
    publish("a", "large", { bytes: 10 * WINDOW });
    expect(sent[1]).toEqual(["1:small"]);
    topics.taken(1, 1);
    expect(sent[1]).toEqual(["1:small", "1:large"]);
  });

  it("holds one copy of what waits for many, and no more bytes than it may", () => {
    make({ clientEventBytesMax: 1000, eventBytesMax: 1500 });
    for (const peer of [1, 2]) {
      subscribe(peer, 1, "a", { queueMax: 1000 });
      clog(peer);
    }
    keptCount = 0;
    for (let i = 0; i < 20; i++) publish("a", String(i));
    expect(topics).toMatchObject({ queuedCount: 20, queuedBytes: 1000 });
    expect(keptCount).toBe(20);
    subscribe(3, 1, "b", { queueMax: 1000 });
    clog(3);
    for (let i = 0; i < 20; i++) publish("b", String(i));
    expect(topics.queuedBytes).toBe(1500);
    for (const peer of [1, 2, 3]) topics.leave(peer);
    expect(topics).toMatchObject({ queuedCount: 0, queuedBytes: 0, subscriptionCount: 0 });
  });
});

describe("kept values", () => {
  it("come first to who subscribes, the last of each topic, unless not wanted", () => {
    publish("a.x", "old", { isKept: true });
    publish("a.x", "new", { isKept: true });
    publish("a.y", "y", { isKept: true });
    publish("b", "b", { isKept: true });
    publish("a.z", "not kept");
    subscribe(1, 1, "a.*");
    subscribe(2, 1, "a.*", { wantsRetained: false });
    publish("a.x", "newest");
    expect(sent).toEqual({ 1: ["1:new!", "1:y!", "1:newest"], 2: ["1:newest"] });
  });

  it("go with a deletion", () => {
    publish("a", "x", { isKept: true });
    topics.deleteRetained("a");
    topics.deleteRetained("never.there");
    subscribe(1, 1, "a");
    expect(sent).toEqual({});
    expect(topics.retained).toMatchObject({ count: 0, bytes: 0 });
  });

  it("come before what was published meanwhile, and none twice", () => {
    publish("a.1", "one", { isKept: true, bytes: WINDOW });
    publish("a.2", "two", { isKept: true, bytes: WINDOW });
    publish("a.3", "three", { isKept: true });
    subscribe(1, 1, "a.*");
    expect(sent[1]).toEqual(["1:one!"]);
    publish("a.2", "two again", { isKept: true });
    publish("a.9", "nine");
    topics.deleteRetained("a.3");
    topics.taken(1, WINDOW);
    expect(sent[1]).toEqual(["1:one!", "1:two again", "1:nine"]);
  });

  it("are refused beyond their bounds, and the event with them", () => {
    make({ retainedCountMax: 1, retainedBytesMax: 1256 });
    subscribe(1, 1, ">");
    expect(publish("a", "1", { isKept: true })).toBeUndefined();
    expect(publish("b", "2", { isKept: true })?.status).toBe(8);
    expect(publish("a", "3", { isKept: true, bytes: 2000 })?.status).toBe(8);
    expect(sent[1]).toEqual(["1:1"]);
  });
});

describe("many kept values", () => {
  const PACE = { turnMax: 400, subscriberMax: 100 };
  /** How much a step may go past its share: to the end of a pattern, and what it found there. */
  const BEYOND = 32 + SEND_COST;
  let turnCount: number;

  /** Calls `turn` until nothing is left to do; each does no more than its share. */
  function settle(between = () => {}): void {
    for (turnCount = 0; topics.needsTurn; turnCount++) {
      const before = topics.pace.spentCount;
      topics.turn();
      expect(topics.pace.spentCount - before).toBeLessThanOrEqual(PACE.turnMax + BEYOND);
      between();
    }
  }

  beforeEach(() => {
    make({ eventWindowBytes: 64 * 1024 * KIB }, PACE);
    for (let i = 0; i < 1000; i++) publish(`t.${i}.x`, String(i), { isKept: true, bytes: 1 });
  });

  it("come over many turns, each once, and then what was published meanwhile", () => {
    subscribe(1, 1, ">", { queueMax: 1000 });
    expect(sent[1].length).toBeLessThan(PACE.subscriberMax);
    publish("t.999.x", "newer", { isKept: true });
    publish("t.1000.x", "new", { isKept: true });
    topics.deleteRetained("t.998.x");
    settle();
    const wanted = [...Array(998).keys()].map((i) => `1:${i}!`);
    expect(sent[1]).toEqual([...wanted, "1:newer", "1:new"]);
    expect(turnCount).toBeGreaterThan(10);
  });

  it("cost a turn no more for 5,000 subscriptions whose patterns match next to nothing", () => {
    const before = topics.pace.spentCount;
    for (let id = 1; id <= 5000; id++) subscribe(1, id, "*.*.y");
    expect(topics.pace.spentCount - before).toBeLessThanOrEqual(PACE.subscriberMax + BEYOND);
    expect(topics.needsTurn).toBe(true);
    // Nobody else waits for these.
    subscribe(2, 1, "t.7.x");
    expect(sent).toEqual({ 2: ["1:7!"] });
    for (let i = 0; i < 20; i++) topics.turn();
    for (let id = 1; id <= 5000; id++) topics.unsubscribe(1, id);
    settle();
    expect(sent).toEqual({ 2: ["1:7!"] });
  });

  it("come to all who wait for them in turn", () => {
    for (let peer = 1; peer <= 20; peer++) subscribe(peer, 1, ">");
    for (let i = 0; i < 5; i++) topics.turn();
    for (let peer = 1; peer <= 20; peer++) expect(sent[peer]?.length).toBeGreaterThan(10);
    settle();
    for (let peer = 1; peer <= 20; peer++) expect(new Set(sent[peer]).size).toBe(1000);
  });

  it("end with the subscription, and with the peer", () => {
    subscribe(1, 1, ">");
    subscribe(1, 2, "t.3.*");
    subscribe(2, 1, ">");
    topics.unsubscribe(1, 1);
    topics.leave(2);
    const count = sent[1].length;
    settle();
    expect(sent[1].slice(count)).toEqual(["2:3!"]);
    expect(sent[2].length).toBeLessThan(PACE.subscriberMax);
    expect(topics).toMatchObject({ subscriptionCount: 1, subscriberCount: 1 });
  });

  it("wait for room on the way, and go on with it in any turn", () => {
    make({ eventWindowBytes: WINDOW }, PACE);
    for (let i = 0; i < 40; i++) publish(`t.${i}`, String(i), { isKept: true, bytes: 30 * KIB });
    subscribe(1, 1, ">");
    settle();
    expect(sent[1]).toHaveLength(8);
    for (let i = 0; i < 40; i++) {
      topics.taken(1, 30 * KIB);
      settle();
    }
    expect(new Set(sent[1]).size).toBe(40);
    expect(sent[1]).toHaveLength(40);
  });
});

describe("subscriptions", () => {
  it("are refused where pattern or number are none, or beyond their bounds", () => {
    make({ clientSubscriptionsMax: 2, subscriptionsMax: 3 });
    expect(subscribe(1, 1, "a*")?.status).toBe(3);
    expect(subscribe(1, 1, "a")).toBeUndefined();
    expect(subscribe(1, 1, "b")?.status).toBe(3);
    expect(subscribe(1, 2, "b")).toBeUndefined();
    expect(subscribe(1, 3, "c")?.status).toBe(8);
    expect(subscribe(2, 1, "c")).toBeUndefined();
    expect(subscribe(2, 2, "d")?.status).toBe(8);
    topics.leave(1);
    expect(subscribe(2, 2, "d")).toBeUndefined();
    expect(topics.counts.subscribeRefused).toBe(4);
  });

  it("are refused beyond the bytes that they may take, of one client and of all", () => {
    const long = (i: number) => `${"*.".repeat(31)}t${i}`;
    const each = 512 + 32 * 320 + 4 * long(0).length;
    make({ clientSubscriptionBytesMax: 2 * each + 1, subscriptionBytesMax: 4 * each });
    for (let id = 0; id < 2; id++) expect(subscribe(1, id + 1, long(id))).toBeUndefined();
    const held = 2 * each;
    const mine = subscribe(1, 3, long(3));
    expect(mine).toMatchObject({
      status: 8,
      reason: `${held + 1} bytes of subscriptions of one client at most: it has ${held}, and this one takes ${each}`,
    });
    for (let id = 0; id < 2; id++) expect(subscribe(2, id + 1, long(id))).toBeUndefined();
    expect(subscribe(3, 1, "a")).toMatchObject({
      status: 8,
      reason: `the broker keeps ${4 * each} bytes of subscriptions at most: it has ${4 * each}, and this one takes 836`,
    });
    topics.unsubscribe(1, 1);
    topics.leave(2);
    expect(topics.room.bytes).toBe(each);
    expect(subscribe(3, 1, "a")).toBeUndefined();
    topics.leave(1);
    topics.leave(3);
    expect(topics.room).toMatchObject({ count: 0, bytes: 0 });
  });

  it("of 10,000, each of its own topic, cost one event the same", () => {
    for (let i = 0; i < 10_000; i++) subscribe(1 + (i % 100), i, `t.${i}`);
    const before = topics.trie.visitedCount;
    publish("t.4711", "x");
    expect(topics.trie.visitedCount - before).toBe(3);
    expect(sent).toEqual({ 12: ["4711:x"] });
  });
});
