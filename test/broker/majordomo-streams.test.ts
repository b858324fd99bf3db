// Native streams that workers of MDP/0.2 answer, and native generators that clients of MDP/0.2 ask, at an
// exchange without sockets; test/system/majordomo-streams.test.ts has sockets.
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { Status, statusName } from "../../build/base/status.js";
import type { Limits } from "../../build/core/limits.js";
import { readMessage, type Shown } from "../wire/support.js";
import { clientHello, reply, request, Stage, workerHello } from "./fake-port.js";
import { frames, got, hex, type Part, say, taken } from "./majordomo-stage.js";

const times = { heartbeatMs: 100, liveness: 3, busyLiveness: 0 };
const RAW = 1;
const STREAM = 8;
const RESTART = 16;
let stage: Stage;

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "performance"] });
  begin();
});

afterEach(() => {
  stage.close();
  expect(vi.getTimerCount()).toBe(0);
  vi.useRealTimers();
});

function begin(limits: Partial<Limits> = {}): void {
  stage?.close();
  stage = new Stage(limits, times);
}

const ready = (peer: string, service = "echo") => say(stage, "backend", peer, "MDPW02", 1, service);
const partial = (peer: string, address: Buffer, ...body: Part[]) =>
  say(stage, "backend", peer, "MDPW02", 3, address, "", ...body);
const final = (peer: string, address: Buffer, ...body: Part[]) =>
  say(stage, "backend", peer, "MDPW02", 4, address, "", ...body);
const leave = (side: "frontend" | "backend", peer: string) => say(stage, side, peer, "");
const core = () => stage.exchange.core;
const room = () => {
  const { count, cost } = stage.exchange.majordomo.partRoom;
  return [count, cost];
};

interface Ask {
  service?: string;
  flags?: number;
  timeoutMs?: number;
}

/** A native client that asks for streams. */
class Reader {
  #sequence = 0;

  constructor(readonly peer: string) {
    stage.send("frontend", peer, clientHello());
    stage.take("frontend", peer);
  }

  /** Asks, and grants so much of the answer. */
  ask(partsMax: number, bytesMax = 100_000, { flags = 0, ...rest }: Ask = {}): void {
    const change = { flags: RAW | STREAM | flags, body: [hex("q")], ...rest };
    const question = request(++this.#sequence, change);
    stage.send("frontend", this.peer, question, this.#credit(partsMax, bytesMax));
  }

  grant(partsMax: number, bytesMax = 100_000): void {
    stage.send("frontend", this.peer, this.#credit(partsMax, bytesMax));
  }

  cancel(): void {
    stage.send("frontend", this.peer, { ...this.#id("CANCEL"), status: 0 });
  }

  #credit(partsMax: number, bytesMax: number): Shown {
    const [parts, bytes] = [String(partsMax), String(bytesMax)];
    return { ...this.#id("STREAM_CREDIT"), partsMax: parts, bytesMax: bytes };
  }

  #id(kind: string): Shown {
    const { slot, generation, session, sequence } = request(this.#sequence);
    return { kind, slot, generation, session, sequence, flags: 0 };
  }

  /** What came since it was last asked for: parts by place, the end, or the name of a failure. */
  get seen(): string[] {
    return stage.take("frontend", this.peer).map(({ kind, body, index, flags, status, reason }) => {
      const texts = (body as string[] | undefined)?.map((frame) => {
        return Buffer.from(frame, "hex").toString("latin1");
      });
      const text = texts?.join("+");
      if (kind === "STREAM_PART") return `${index} ${text}`;
      if (kind === "STREAM_END") return `end ${index}${text}`;
      if (kind === "REPLY") return `reply ${text}`;
      if (kind === "FAILURE") return `${statusName(status as number)}: ${reason}`;
      return `${kind} ${flags}`;
    });
  }
}

/** "n" has asked for a stream and granted so many parts; "w" has the question. */
function beginStream(partsMax: number) {
  ready("w");
  const reader = new Reader("n");
  reader.ask(partsMax);
  return { reader, address: taken(stage, "w").address };
}

describe("a native stream at a worker of MDP/0.2", () => {
  it("each PARTIAL is a part and FINAL the last one, each in its place, of one run", () => {
    ready("w");
    const reader = new Reader("n");
    reader.ask(32);
    const { address, message } = taken(stage, "w");
    expect(message).toEqual(["MDPW02", "\x02", address.toString("latin1"), "", "q"]);
    partial("w", address, "one");
    partial("w", address, "two", "", "frames");
    const two = stage.take("frontend", "n");
    expect(two).toMatchObject([
      { kind: "STREAM_PART", flags: RAW, sequence: "1", index: "0", body: [hex("one")] },
      { kind: "STREAM_PART", flags: RAW, index: "1", body: ["two", "", "frames"].map(hex) },
    ]);
    final("w", address, "three");
    const rest = stage.take("frontend", "n");
    expect(rest).toMatchObject([
      { kind: "STREAM_PART", index: "2", isLast: false, body: [hex("three")] },
      { kind: "STREAM_END", flags: RAW, sequence: "1", index: "3", isLast: true, body: [""] },
    ]);
    const runs = [...two, ...rest].map(({ run }) => run);
    expect(new Set(runs).size).toBe(1);
    expect(core().counts).toMatchObject({ parts: 3, replies: 1, stale: 0 });
    // Another time it is another run.
    reader.ask(32);
    partial("w", taken(stage, "w").address, "one");
    expect(stage.take("frontend", "n")[0].run).not.toBe(runs[0]);
  });

  it("an empty FINAL behind parts is the end alone; a FINAL alone is one reply", () => {
    ready("w");
    const reader = new Reader("n");
    for (const last of [[""], []]) {
      reader.ask(32);
      const { address } = taken(stage, "w");
      partial("w", address, "one");
      final("w", address, ...last);
      expect(reader.seen).toEqual(["0 one", "end 1"]);
    }
    // What says nothing by its length may still be said in two frames.
    reader.ask(32);
    const { address } = taken(stage, "w");
    partial("w", address, "");
    final("w", address, "", "");
    expect(reader.seen).toEqual(["0 ", "1 +", "end 2"]);
    for (const only of ["all", ""]) {
      reader.ask(32);
      final("w", taken(stage, "w").address, only);
      expect(reader.seen).toEqual([`reply ${only}`]);
    }
    expect(core().requests.count).toBe(0);
  });

  it("a plain request gets the parts gathered, as before", () => {
    ready("w");
    const reader = new Reader("n");
    stage.send("frontend", "n", request(99, { flags: RAW }));
    const { address } = taken(stage, "w");
    partial("w", address, "one");
    final("w", address, "two");
    expect(reader.seen).toEqual(["reply one+two"]);
  });

  it("holds parts beyond the window, and passes them on as they are granted, in order", () => {
    const { reader, address } = beginStream(2);
    for (let n = 0; n < 7; n++) partial("w", address, `p${n}`);
    expect(reader.seen).toEqual(["0 p0", "1 p1"]);
    expect(room()).toEqual([5, 5 * 130]);
    reader.grant(3);
    expect(reader.seen).toEqual(["2 p2"]);
    // Behind what is held, whatever is granted.
    reader.grant(6);
    partial("w", address, "p7");
    expect(reader.seen).toEqual(["3 p3", "4 p4", "5 p5"]);
    reader.grant(100);
    partial("w", address, "p8");
    final("w", address, "p9");
    expect(reader.seen).toEqual(["6 p6", "7 p7", "8 p8", "9 p9", "end 10"]);
    expect(room()).toEqual([0, 0]);
  });

  it("the window in bytes counts too, with one part beyond it", () => {
    ready("w");
    const reader = new Reader("n");
    reader.ask(100, 2500);
    const { address } = taken(stage, "w");
    for (let n = 0; n < 5; n++) partial("w", address, String(n).repeat(1000));
    const places = () => reader.seen.map((part) => part.slice(0, 3));
    expect(places()).toEqual(["0 0", "1 1", "2 2"]);
    reader.grant(100, 3300);
    expect(places()).toEqual(["3 3"]);
    final("w", address, "");
    expect(reader.seen).toEqual([]);
    reader.grant(100, 10_000);
    expect(places()).toEqual(["4 4", "end"]);
  });

  it("a worker whose FINAL is held is free for the next, and says no more of the first", () => {
    ready("w");
    const slow = new Reader("slow");
    slow.ask(1);
    const first = taken(stage, "w").address;
    for (const text of ["a", "b", "c"]) partial("w", first, text);
    const other = new Reader("other");
    other.ask(32);
    // Not before it has done.
    expect(got(stage, "backend", "w")).toEqual([]);
    final("w", first, "d");
    const second = taken(stage, "w").address;
    partial("w", second, "x");
    // Twice is once too often, and does not end early what is held.
    final("w", first, "again");
    partial("w", first, "again");
    expect(core().counts.stale).toBe(2);
    expect(slow.seen).toEqual(["0 a"]);
    slow.grant(3);
    final("w", second, "y");
    expect(other.seen).toEqual(["0 x", "1 y", "end 2"]);
    slow.grant(10);
    expect(slow.seen).toEqual(["1 b", "2 c", "3 d", "end 4"]);
    // One at a time, as before.
    other.ask(32);
    slow.ask(32);
    expect(got(stage, "backend", "w")).toHaveLength(1);
    expect(core().requests.count).toBe(2);
  });

  it("whose readers are slow: any number of them are held, and the worker works on", () => {
    ready("w");
    const readers = Array.from({ length: 20 }, (_, n) => new Reader(`n${n}`));
    for (const [n, reader] of readers.entries()) {
      reader.ask(1);
      const { address } = taken(stage, "w");
      for (let part = 0; part < 3; part++) partial("w", address, `${n}.${part}`);
      final("w", address, "");
    }
    const concurrency = () => [...core().workers()].map((worker) => worker.concurrency);
    expect(concurrency()).toEqual([21]);
    for (const [n, reader] of readers.entries()) {
      expect(reader.seen).toEqual([`0 ${n}.0`]);
      reader.grant(5);
      expect(reader.seen).toEqual([`1 ${n}.1`, `2 ${n}.2`, "end 3"]);
    }
    expect(concurrency()).toEqual([1]);
    expect([core().requests.count, ...room()]).toEqual([0, 0, 0]);
  });

  it("death of the worker in mid-stream ends it as UNAVAILABLE, held parts or not", () => {
    const reader = new Reader("n");
    for (const window of [32, 1]) {
      ready("w");
      reader.ask(window);
      const { address } = taken(stage, "w");
      ready("other");
      for (const text of ["a", "b"]) partial("w", address, text);
      leave("backend", "w");
      const seen = reader.seen;
      expect(seen.at(-1)).toMatch(/^UNAVAILABLE: .*mid-stream/);
      expect(seen.slice(0, -1)).toEqual(window === 1 ? ["0 a"] : ["0 a", "1 b"]);
      expect(got(stage, "backend", "other")).toEqual([]);
      say(stage, "backend", "other", "MDPW02", 6);
      expect(room()).toEqual([0, 0]);
    }
    expect(core().requests.count).toBe(0);
  });

  it("death of the worker before a part is passed on: another begins", () => {
    ready("v");
    const reader = new Reader("n");
    reader.ask(0);
    const { address } = taken(stage, "v");
    partial("v", address, "held");
    ready("w");
    leave("backend", "v");
    expect(room()).toEqual([0, 0]);
    const again = taken(stage, "w").address;
    partial("v", address, "late");
    reader.grant(32);
    expect(reader.seen).toEqual([]);
    partial("w", again, "good");
    final("w", again, "");
    expect(reader.seen).toEqual(["0 good", "end 1"]);
  });

  it("death of the worker of a stream that may restart: anew from the first part, of another run", () => {
    ready("v");
    const reader = new Reader("n");
    reader.ask(3, 100_000, { flags: RESTART });
    const first = taken(stage, "v").address;
    for (const text of ["a", "b", "c", "d", "e"]) partial("v", first, text);
    const before = stage.take("frontend", "n");
    expect(before.map(({ index }) => index)).toEqual(["0", "1", "2"]);
    ready("w");
    leave("backend", "v");
    const second = taken(stage, "w").address;
    for (const text of ["A", "B"]) partial("w", second, text);
    // All that was granted was used.
    expect(stage.take("frontend", "n")).toEqual([]);
    reader.grant(10);
    const after = stage.take("frontend", "n");
    expect(after).toMatchObject([
      { index: "0", body: [hex("A")] },
      { index: "1", body: [hex("B")] },
    ]);
    expect(after[0].run).not.toBe(before[0].run);
    final("w", second, "C");
    expect(reader.seen).toEqual(["2 C", "end 3"]);
  });

  it("death of a worker whose FINAL is held takes what is held with it", () => {
    const { reader, address } = beginStream(1);
    partial("w", address, "a");
    partial("w", address, "b");
    final("w", address, "c");
    say(stage, "backend", "w", "MDPW02", 6);
    expect(reader.seen).toEqual(["0 a", expect.stringMatching(/^UNAVAILABLE/)]);
    expect([core().requests.count, ...room()]).toEqual([0, 0, 0]);
  });

  it("cancelled: later parts are dropped, and the worker is usable again after FINAL", () => {
    const { reader, address } = beginStream(1);
    for (const text of ["a", "b", "c"]) partial("w", address, text);
    reader.cancel();
    expect(room()).toEqual([0, 0]);
    reader.ask(32);
    for (let n = 0; n < 100; n++) partial("w", address, "late");
    expect(got(stage, "backend", "w")).toEqual([]);
    expect(room()).toEqual([0, 0]);
    final("w", address, "late too");
    const next = taken(stage, "w").address;
    partial("w", next, "x");
    final("w", next, "");
    expect(reader.seen).toEqual(["0 a", "0 x", "end 1"]);
    expect(core().counts).toMatchObject({ stale: 0, cancelled: 1 });
  });

  it("cancelled behind its FINAL: nothing is left of it, and the worker takes one at a time", () => {
    const { reader, address } = beginStream(1);
    partial("w", address, "a");
    partial("w", address, "b");
    final("w", address, "c");
    reader.cancel();
    expect([core().requests.count, ...room()]).toEqual([0, 0, 0]);
    reader.ask(32);
    new Reader("m").ask(32);
    expect(got(stage, "backend", "w")).toHaveLength(1);
  });

  it("cancelled behind its FINAL, with the next under way: that goes on", () => {
    ready("w");
    const reader = new Reader("n");
    reader.ask(1);
    const first = taken(stage, "w").address;
    partial("w", first, "a");
    partial("w", first, "b");
    final("w", first, "c");
    const other = new Reader("m");
    other.ask(32);
    const second = taken(stage, "w").address;
    reader.cancel();
    // It is at work, and may be silent as before.
    vi.advanceTimersByTime(5000);
    stage.takeMessages("backend", "w");
    partial("w", second, "x");
    final("w", second, "");
    expect(other.seen).toEqual(["0 x", "end 1"]);
    expect(core().requests.count).toBe(0);
  });

  it("a client that leaves takes its streams with it", () => {
    ready("w");
    const reader = new Reader("n");
    reader.ask(1);
    const first = taken(stage, "w").address;
    partial("w", first, "a");
    partial("w", first, "b");
    final("w", first, "c");
    reader.ask(1);
    const second = taken(stage, "w").address;
    partial("w", second, "a");
    partial("w", second, "b");
    leave("frontend", "n");
    expect(room()).toEqual([0, 0]);
    expect(core().requests.count).toBe(1);
    final("w", second, "c");
    expect(core().requests.count).toBe(0);
  });

  it("the deadline is for the whole of it, held or not", () => {
    ready("v");
    ready("w", "other");
    const reader = new Reader("n");
    reader.ask(1, 100_000, { timeoutMs: 250 });
    const first = taken(stage, "v").address;
    const second = new Reader("m");
    second.ask(1, 100_000, { timeoutMs: 250, service: "other" });
    const held = taken(stage, "w").address;
    for (const [worker, address] of [
      ["v", first],
      ["w", held],
    ] as const) {
      partial(worker, address, "a");
      partial(worker, address, "b");
    }
    final("w", held, "c");
    for (let n = 0; n < 4; n++) {
      vi.advanceTimersByTime(80);
      for (const worker of ["v", "w"]) say(stage, "backend", worker, "MDPW02", 5);
    }
    for (const { seen } of [reader, second]) {
      expect(seen).toEqual(["0 a", expect.stringMatching(/^DEADLINE_EXCEEDED/)]);
    }
    expect(room()).toEqual([0, 0]);
    // That which its worker has not ended has its place until then.
    expect(core().requests.count).toBe(1);
    final("v", first, "late");
    expect(core().requests.count).toBe(0);
  });

  it("a part too large ends it as INTERNAL, and the worker is free at its FINAL", () => {
    begin({ recordBytesMax: 1000 });
    const { reader, address } = beginStream(32);
    partial("w", address, "a");
    partial("w", address, Buffer.alloc(1001));
    expect(reader.seen).toEqual(["0 a", expect.stringMatching(/^INTERNAL: .*larger/)]);
    expect(stage.exchange.faults.malformed).toBe(1);
    reader.ask(32);
    partial("w", address, Buffer.alloc(1001));
    expect(got(stage, "backend", "w")).toEqual([]);
    final("w", address, "");
    const next = taken(stage, "w").address;
    partial("w", next, "a");
    final("w", next, Buffer.alloc(1001));
    expect(reader.seen).toEqual(["0 a", expect.stringMatching(/^INTERNAL: .*larger/)]);
    expect(core().requests.count).toBe(0);
    expect(core().counts.stale).toBe(0);
  });

  describe("what is held is bounded", () => {
    const limits = { recordBytesMax: 10_000, queueBytesMax: 20_000, requestBytesMax: 20_000 };

    it("in bytes: past it the stream ends, and nothing else does", () => {
      begin(limits);
      for (const service of ["a", "b", "c"]) ready(service, service);
      const readers = ["a", "b", "c"].map((service) => {
        const reader = new Reader(`of ${service}`);
        reader.ask(1, 100_000, { service });
        return reader;
      });
      const [a, b, c] = ["a", "b", "c"].map((worker) => taken(stage, worker).address);
      const body = Buffer.alloc(4000, "x");
      partial("b", b, "0");
      partial("b", b, body);
      partial("a", a, "0");
      for (let n = 0; n < 3; n++) partial("a", a, body);
      expect(room()).toEqual([4, 4 * 4128]);
      expect(readers[0].seen).toEqual(["0 0"]);
      // A fifth would be beyond it.
      partial("a", a, body);
      expect(readers[0].seen).toEqual([expect.stringMatching(/^RESOURCE_EXHAUSTED: .*no room/)]);
      expect(room()).toEqual([1, 4128]);
      // Its worker sends on, and that goes nowhere; the place is free at its end.
      for (let n = 0; n < 100; n++) partial("a", a, body);
      expect(room()).toEqual([1, 4128]);
      readers[0].ask(1, 100_000, { service: "a" });
      expect(got(stage, "backend", "a")).toEqual([]);
      final("a", a, "");
      const next = taken(stage, "a").address;
      partial("a", next, "1");
      // Others have what room there is, held or gathered.
      partial("c", c, "0");
      for (let n = 0; n < 3; n++) partial("c", c, body);
      readers[1].grant(9);
      expect(readers[1].seen).toEqual(["0 0", expect.stringMatching(/^1 x/)]);
      final("b", b, "");
      expect(readers[1].seen).toEqual(["end 2"]);
      readers[2].grant(9);
      final("c", c, "");
      expect(readers[2].seen.map((part) => part[0])).toEqual(["0", "1", "2", "3", "e"]);
      final("a", next, "");
      expect(readers[0].seen).toEqual(["0 1", "end 1"]);
      expect([core().requests.count, ...room()]).toEqual([0, 0, 0]);
      expect(core().counts).toMatchObject({ failures: 1, stale: 0 });
    });

    it("in parts, however small", () => {
      begin({ requestsMax: 64, clientInFlightMax: 8, queueCountMax: 8 });
      ready("w");
      const reader = new Reader("n");
      reader.ask(1);
      const { address } = taken(stage, "w");
      for (let n = 0; n < 1000; n++) {
        partial("w", address, "x");
        expect(room()[0]).toBeLessThan(64);
      }
      expect(reader.seen).toEqual(["0 x", expect.stringMatching(/^RESOURCE_EXHAUSTED/)]);
      final("w", address, "");
      expect(core().requests.count).toBe(0);
    });

    it("for one reader so that some is left for the others", () => {
      begin({ requestsMax: 90, clientInFlightMax: 8, queueCountMax: 8, queueShare: 2 });
      ready("a", "a");
      ready("b", "b");
      const [greedy, modest] = [new Reader("g"), new Reader("m")];
      greedy.ask(1, 100_000, { service: "a" });
      modest.ask(1, 100_000, { service: "b" });
      const [a, b] = ["a", "b"].map((worker) => taken(stage, worker).address);
      for (let n = 0; n < 61; n++) partial("a", a, "x");
      expect(greedy.seen).toEqual(["0 x"]);
      for (let n = 0; n < 20; n++) partial("b", b, "x");
      partial("a", a, "x");
      expect(greedy.seen).toEqual([expect.stringMatching(/^RESOURCE_EXHAUSTED/)]);
      modest.grant(100);
      expect(modest.seen).toHaveLength(20);
    });

    it("a FINAL for which there is no room ends it too, and the worker has done", () => {
      begin(limits);
      ready("w");
      const reader = new Reader("n");
      reader.ask(1);
      const { address } = taken(stage, "w");
      partial("w", address, "a");
      for (let n = 0; n < 2; n++) partial("w", address, Buffer.alloc(8000));
      final("w", address, Buffer.alloc(8000));
      expect(reader.seen).toEqual(["0 a", expect.stringMatching(/^RESOURCE_EXHAUSTED/)]);
      expect([core().requests.count, ...room()]).toEqual([0, 0, 0]);
    });
  });

  it("a broker that is about to stop waits for what is held", async () => {
    const { reader, address } = beginStream(1);
    partial("w", address, "a");
    final("w", address, "b");
    const closing = stage.exchange.shutdown(10_000);
    reader.grant(5);
    expect(reader.seen).toEqual(["0 a", "DRAIN undefined", "1 b", "end 2"]);
    leave("frontend", "n");
    expect(await closing).toBe(true);
    expect(got(stage, "backend", "w")).toEqual([["MDPW02", "\x06"]]);
  });
});

describe("a client of MDP/0.2 at a native worker", () => {
  const ask = (peer: string, body = "q") => say(stage, "frontend", peer, "MDPC02", 1, "echo", body);
  const replies = (peer: string) => got(stage, "frontend", peer).map((message) => message.slice(1));

  /** The native worker "n" joins. */
  function join(concurrency = 4): void {
    stage.send("backend", "n", workerHello(["echo"], concurrency));
    stage.take("backend", "n");
  }

  /** A part, or the end, of the answer to `asked`. */
  function part(asked: Shown, index: number, text: string, isLast = false): Shown {
    const { slot, generation, session, sequence } = asked;
    const run = "0102030405060708";
    const place = { index: String(index), isLast, run };
    const kind = isLast ? "STREAM_END" : "STREAM_PART";
    return { kind, slot, generation, session, sequence, flags: RAW, ...place, body: [hex(text)] };
  }

  const credit = (records: Shown[]) =>
    records
      .filter(({ kind }) => kind === "STREAM_CREDIT")
      .map(({ partsMax, bytesMax }) => [Number(partsMax), Number(bytesMax)]);

  it("each part is a PARTIAL, and the end a FINAL: with what the handler returned, or empty", () => {
    join();
    ask("c");
    const [asked, granted] = stage.take("backend", "n");
    expect(asked).toMatchObject({ kind: "REQUEST", flags: RAW | STREAM, body: [hex("q")] });
    expect(credit([granted])).toEqual([[32, 65_536]]);
    stage.send("backend", "n", part(asked, 0, "a"), part(asked, 1, ""), part(asked, 2, "c"));
    expect(replies("c")).toEqual([
      ["\x02", "echo", "a"],
      ["\x02", "echo", ""],
      ["\x02", "echo", "c"],
    ]);
    stage.send("backend", "n", part(asked, 3, "", true));
    expect(replies("c")).toEqual([["\x03", "echo", ""]]);
    ask("c");
    const [again] = stage.take("backend", "n");
    stage.send("backend", "n", part(again, 0, "the end", true));
    expect(replies("c")).toEqual([["\x03", "echo", "the end"]]);
    expect(core().counts).toMatchObject({ parts: 3, replies: 2, stale: 0, failures: 0 });
    expect(stage.exchange.majordomo.unanswered).toBe(0);
  });

  it("a handler that has one reply gives it, as FINAL", () => {
    join();
    say(stage, "frontend", "c", "", "MDPC02", 1, "echo", "q");
    const [asked] = stage.take("backend", "n");
    stage.send("backend", "n", reply(asked, [hex("one")]));
    expect(got(stage, "frontend", "c")).toEqual([["", "MDPC02", "\x03", "echo", "one"]]);
  });

  it("nothing stands behind the credit, which a worker without streams does not know", () => {
    join();
    for (const peer of ["a", "b", "c"]) {
      const body = Buffer.alloc(20_000);
      stage.receive("frontend", peer, frames("MDPC02", 1, "echo", body));
    }
    stage.exchange.onTurn();
    const messages = stage.takeMessages("backend", "n");
    const kinds = messages.map((message) =>
      readMessage(message).records.map((record) => (record as Shown).kind),
    );
    expect(kinds).toEqual(Array(3).fill(["REQUEST", "STREAM_CREDIT"]));
  });

  it("clients of 0.1 and REQ ask for one reply, as before", () => {
    join();
    stage.send("backend", "d", workerHello(["default"], 4, "1122334455667799"));
    stage.take("backend", "d");
    say(stage, "frontend", "c", "", "MDPC01", "echo", "q");
    expect(stage.take("backend", "n")).toMatchObject([{ kind: "REQUEST", flags: RAW }]);
    say(stage, "frontend", "r", "", "q");
    expect(stage.take("backend", "d")).toMatchObject([{ kind: "REQUEST", flags: RAW }]);
    expect(core().streams.count).toBe(0);
  });

  it("grants more as the client takes it, half a window at a time", () => {
    join();
    ask("c");
    const [asked] = stage.take("backend", "n");
    for (let index = 0; index < 200; index++) {
      stage.send("backend", "n", part(asked, index, "x"));
      const granted = credit(stage.take("backend", "n"));
      if ((index + 1) % 16 === 0) expect(granted.map(([parts]) => parts)).toEqual([index + 33]);
      else expect(granted).toEqual([]);
    }
    stage.send("backend", "n", part(asked, 200, "x".repeat(40_000)));
    const granted = credit(stage.take("backend", "n"));
    expect(granted.map(([parts]) => parts)).toEqual([233]);
    expect(granted[0][1]).toBeGreaterThan(65_536 + 40_000);
    expect(replies("c")).toHaveLength(201);
  });

  /** Sends parts of each stream as long as any is granted; how many, of each. */
  function flood(asked: readonly Shown[], text: string): number[] {
    const sent = asked.map(() => 0);
    const limits = asked.map(() => [32, 65_536]);
    const bytes = asked.map(() => 0);
    for (let isMore = true; isMore; ) {
      isMore = false;
      for (const [n, each] of asked.entries()) {
        while (sent[n] < limits[n][0] && bytes[n] < limits[n][1]) {
          stage.send("backend", "n", part(each, sent[n]++, text));
          bytes[n] += 64 + text.length;
          isMore = true;
        }
      }
      for (const record of stage.take("backend", "n")) {
        const n = asked.findIndex(({ slot }) => slot === record.slot);
        const [[partsMax, bytesMax]] = credit([record]);
        limits[n] = [partsMax, bytesMax];
      }
    }
    return sent;
  }

  it.each([
    ["small", "x", 64 * 32 + 1024 + 64],
    ["large", "x".repeat(20_000), 400],
  ])("a client that reads nothing stops its handlers, %s parts", (_name, text, countMax) => {
    join(64);
    stage.ports.frontend.stuck.add("c");
    for (let n = 0; n < 64; n++) ask("c");
    ask("other");
    const records = stage.take("backend", "n");
    const asked = records.filter(({ kind }) => kind === "REQUEST");
    expect(asked).toHaveLength(64);
    const sent = flood(asked, text);
    const count = sent.reduce((sum, each) => sum + each, 0);
    expect(count).toBeLessThanOrEqual(countMax);
    expect(count).toBeGreaterThanOrEqual(64);
    const { outbox } = [...stage.exchange.peers].find(({ role }) => role === "mdp-client") as never;
    const { owedBytes } = outbox as { owedBytes: number };
    // Far from what would have it given up.
    expect(owedBytes).toBeLessThan(8 * 1024 * 1024);
    // When it reads, all goes on.
    stage.ports.frontend.stuck.clear();
    stage.exchange.onTurn();
    vi.advanceTimersByTime(10);
    expect(credit(stage.take("backend", "n")).length).toBeGreaterThan(0);
    expect(replies("c")).toHaveLength(count);
    expect(core().counts.failures).toBe(0);
    leave("frontend", "c");
    leave("frontend", "other");
    vi.advanceTimersByTime(10);
  });

  it("a worker lost in mid-stream: silence, and counted; before the first part another begins", () => {
    join();
    ask("c");
    stage.take("backend", "n");
    stage.send("backend", "m", workerHello(["echo"], 4, "1122334455667799"));
    stage.take("backend", "m");
    leave("backend", "n");
    const [asked, granted] = stage.take("backend", "m");
    expect(credit([granted])).toEqual([[32, 65_536]]);
    stage.send("backend", "m", part(asked, 0, "a"));
    leave("backend", "m");
    expect(replies("c")).toEqual([["\x02", "echo", "a"]]);
    expect(stage.exchange.majordomo.unanswered).toBe(1);
    expect(core().requests.count).toBe(0);
  });

  it("a client that leaves stops the handler", () => {
    join();
    ask("c");
    const [asked] = stage.take("backend", "n");
    stage.send("backend", "n", part(asked, 0, "a"));
    leave("frontend", "c");
    const { slot } = asked;
    expect(stage.take("backend", "n")).toMatchObject([
      { kind: "CANCEL", slot, status: Status.CANCELLED },
    ]);
  });

  it("at a worker of 0.2 parts go straight on, as before, whatever the window", () => {
    ready("w");
    ask("c");
    const { address } = taken(stage, "w");
    for (let n = 0; n < 100; n++) partial("w", address, `p${n}`);
    final("w", address, "end");
    expect(replies("c").map((message) => message[2])).toEqual([
      ...Array.from({ length: 100 }, (_, n) => `p${n}`),
      "end",
    ]);
    expect(room()).toEqual([0, 0]);
    leave("backend", "w");
  });
});
