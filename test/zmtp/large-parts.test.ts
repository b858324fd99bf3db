// Under CURVE: what is too large to be sealed as it is sent, for peers that read, late or not at all.
import type { Socket } from "node:net";
import { Duplex } from "node:stream";
import { beforeAll, beforeEach, expect, test, vi } from "vitest";
import { outgoing } from "../../build/base/blocks.js";
import { CurveBox, type KeyPairBytes } from "../../build/zmtp/curve-box.js";
import { CurveClient, CurveServer } from "../../build/zmtp/curve-handshake.js";
import { CurveReader } from "../../build/zmtp/curve-reader.js";
import type { CurveSession } from "../../build/zmtp/curve-session.js";
import { encodeProperties } from "../../build/zmtp/encode.js";
import { FrameReader } from "../../build/zmtp/frames.js";
import { readCommandFrame } from "../../build/zmtp/greeting.js";
import { AHEAD_BYTES_MAX, LargeParts } from "../../build/zmtp/large-parts.js";
import { SealRoom } from "../../build/zmtp/seal-room.js";
import { SocketWriter } from "../../build/zmtp/writing.js";

/** Of a large part; and the room that there is. */
const PART = 512 * 1024;
const ROOM = 4 * PART;

let box: CurveBox;
let keys: KeyPairBytes;
/** What waits for a turn of the event loop, and for a timer. */
let turns: (() => void)[];
let timers: (() => void)[];
let nowMs: number;

beforeAll(async () => {
  box = await CurveBox.load();
  keys = box.keyPair();
});

beforeEach(() => {
  turns = [];
  timers = [];
  nowMs = 0;
  vi.stubGlobal("setImmediate", (callback: () => void) => turns.push(callback));
  vi.stubGlobal("setTimeout", (callback: () => void) => timers.push(callback));
  vi.spyOn(performance, "now").mockImplementation(() => nowMs);
  // A large part takes 4 ms.
  const { seal } = CurveBox.prototype;
  vi.spyOn(CurveBox.prototype, "seal").mockImplementation(function (this: CurveBox, ...args) {
    nowMs += (4 * args[3].length) / PART;
    return seal.apply(this, args);
  });
  return () => {
    vi.unstubAllGlobals();
    vi.restoreAllMocks();
  };
});

/** Bodies of commands, and both ends of one connection. */
const bodyOf = (frame: Buffer | undefined) =>
  Buffer.from((readCommandFrame(frame as Buffer, 0) as { body: Buffer }).body);

function pair(): { ours: CurveSession; theirs: CurveSession } {
  const server = new CurveServer(box, keys);
  const client = new CurveClient(box, box.keyPair(), keys.publicKey);
  const welcome = bodyOf(server.welcome(bodyOf(client.hello())));
  server.initiate(bodyOf(client.initiate(welcome, encodeProperties("DEALER"))));
  const { ready, session } = server.ready(encodeProperties("ROUTER"));
  return { ours: session, theirs: client.ready(bodyOf(ready))?.session as CurveSession };
}

/** One that takes a block, and no more until it reads. */
class Taker {
  isBlocked = false;
  isEnded = false;
  isChanged = false;
  /** It reads as fast as it is sent. */
  isFast = false;
  doneCount = 0;
  largestWrite = 0;
  readonly messages: Buffer[][] = [];
  readonly faults: string[] = [];
  readonly parts: LargeParts;
  readonly #reader: FrameReader;

  constructor(room: SealRoom) {
    const { ours, theirs } = pair();
    const sink = {
      onMessage: (parts: Buffer[]) => void this.messages.push(parts.map((one) => Buffer.from(one))),
      onCommand: () => {},
      onFault: (fault: string) => void this.faults.push(fault),
    };
    this.#reader = new FrameReader(-1, new CurveReader(theirs, -1, sink));
    this.parts = new LargeParts(ours, this, room);
  }

  write(piece: Buffer): void {
    this.largestWrite = Math.max(this.largestWrite, piece.length);
    this.#reader.read(Buffer.from(piece));
    outgoing.giveBack(piece);
    this.isBlocked = !this.isFast;
  }

  onWritten(): void {
    this.doneCount++;
  }

  onChanged(): void {
    this.isChanged = true;
  }

  /** Takes what was sent, and the next block of what is not. */
  read(): void {
    this.isBlocked = false;
    this.parts.goOn();
  }
}

/** The next turn of the event loop. */
function turn(): void {
  for (const callback of turns.splice(0)) callback();
}

function look(): void {
  for (const callback of timers.splice(0)) callback();
  turn();
}

/** So many, each pushed the same message. */
function scene(count: number, message: Buffer[], room = new SealRoom(ROOM)) {
  const takers = Array.from({ length: count }, () => new Taker(room));
  for (const { parts } of takers) parts.push(message);
  return { room, takers };
}

/** Large parts that were sealed. */
const sealed = () =>
  vi.mocked(CurveBox.prototype.seal).mock.calls.filter((args) => args[3].length >= PART).length;

test("20 peers that do not read: one part a turn, no more of them than there is room for", () => {
  const { room, takers } = scene(20, [Buffer.from("a.b"), Buffer.alloc(PART, 7)]);
  const before: number[] = [];
  for (let count = 0; turns.length > 0 && count < 1000; count++) {
    const had = room.bytes;
    turn();
    before.push(room.bytes - had);
    expect(room.bytes).toBeLessThanOrEqual(ROOM);
    for (const taker of takers) if (taker.isBlocked) taker.read();
    for (const taker of takers) taker.isBlocked = true;
  }
  // 3 of somewhat more than a fourth: 4 have no room. Of 4 ms each, a turn has two at most.
  expect(room.waitingCount).toBe(17);
  expect(Math.max(...before)).toBeLessThan(2.1 * PART);
  for (const { largestWrite } of takers) expect(largestWrite).toBeLessThan(AHEAD_BYTES_MAX);
});

test("those that do not read give room to those that wait, and all get every byte in the end", () => {
  const body = Buffer.alloc(PART);
  for (let i = 0; i < PART; i++) body[i] = i * 31;
  const { room, takers } = scene(20, [Buffer.from("a.b"), body]);
  const reading = takers.slice(10);
  for (const taker of reading) taker.isFast = true;
  for (let i = 0; i < 200; i++) {
    if (turns.length > 0) turn();
    else look();
    for (const taker of reading) if (taker.parts.isEmpty === false) taker.read();
    // The topic alone.
    for (const taker of takers) if (taker.largestWrite < 1000) taker.read();
    expect(room.bytes).toBeLessThanOrEqual(ROOM);
  }
  for (const { messages } of reading) expect(messages).toHaveLength(1);
  // Each was sealed once, whoever gave room.
  expect(sealed()).toBe(20);
  for (let i = 0; i < 2000 && takers.some(({ parts }) => !parts.isEmpty); i++) {
    if (turns.length > 0) turn();
    else look();
    for (const taker of takers) taker.read();
    expect(room.bytes).toBeLessThanOrEqual(ROOM);
  }
  for (const { messages, faults, doneCount } of takers) {
    expect(faults).toEqual([]);
    expect(messages).toHaveLength(1);
    expect(messages[0][1].equals(body)).toBe(true);
    expect(doneCount).toBeGreaterThan(0);
  }
  expect(room.bytes).toBe(0);
  expect(room.waitingCount).toBe(0);
});

test("what has changed since it was sealed is not sealed again", () => {
  const body = Buffer.alloc(PART);
  const { room, takers } = scene(1, [body]);
  const [taker] = takers;
  taker.read();
  taker.parts.forget();
  expect(room.bytes).toBe(0);
  body[PART - 1] = 1;
  const { largestWrite } = taker;
  taker.write = () => expect.unreachable("nothing of it goes out");
  while (turns.length > 0) turn();
  taker.read();
  while (turns.length > 0 && !taker.isChanged) turn();
  expect(taker.isChanged).toBe(true);
  expect(taker.largestWrite).toBe(largestWrite);
});

test("one that is gone gives its room back, and what it had of messages on their way", () => {
  const block = outgoing.take(1000);
  const { room, takers } = scene(8, [block.subarray(0, 1000), Buffer.alloc(PART)]);
  for (let i = 0; i < 50; i++) {
    turn();
    for (const taker of takers) if (taker.largestWrite < 2000) taker.read();
  }
  expect(room.bytes).toBeGreaterThan(0);
  for (const taker of takers) {
    taker.isEnded = true;
    taker.parts.close();
  }
  for (let i = 0; i < 10; i++) turn();
  expect(room.bytes).toBe(0);
  expect(room.waitingCount).toBe(0);
  expect(outgoing.has(block)).toBe(false);
});

test("parts that are small are copied, and one alone goes out within the call", () => {
  const room = new SealRoom(ROOM);
  const taker = new Taker(room);
  taker.isFast = true;
  const [small, large] = [Buffer.from("topic"), Buffer.alloc(PART, 3)];
  taker.parts.push([small, large]);
  small.fill(0);
  expect(taker.messages[0].map(({ length }) => length)).toEqual([5, PART]);
  expect(taker.doneCount).toBe(0);
  const later = new Taker(room);
  later.parts.push([Buffer.from("x"), large, Buffer.from("end")]);
  expect(later.parts.isEmpty).toBe(false);
});

test("a writer that ends sends all that waits first, and says once that all is taken", async () => {
  const { ours, theirs } = pair();
  const messages: number[][] = [];
  const sink = {
    onMessage: (parts: Buffer[]) => void messages.push(parts.map(({ length }) => length)),
    onCommand: () => {},
    onFault: () => expect.unreachable("all is well"),
  };
  const reader = new FrameReader(-1, new CurveReader(theirs, -1, sink));
  const taken: (() => void)[] = [];
  let isOver = false;
  const socket = new Duplex({
    read: () => {},
    write(chunk, _, callback) {
      reader.read(Buffer.from(chunk));
      taken.push(callback);
    },
    final(callback) {
      isOver = true;
      callback();
    },
  });
  let drainedCount = 0;
  const writer = new SocketWriter(socket as Socket, ours, () => drainedCount++);
  const large = Buffer.alloc(PART);
  const take = async () => {
    taken.shift()?.();
    turn();
    await new Promise<void>((resolve) => process.nextTick(resolve));
    expect(writer.unsentBytes).toBeLessThan(2.1 * PART);
  };
  writer.send([Buffer.from("one"), large]);
  expect(writer.isBlocked).toBe(true);
  writer.send([Buffer.from("two"), large]);
  writer.send([Buffer.from("small")]);
  for (let i = 0; i < 100 && drainedCount === 0; i++) await take();
  expect(messages).toEqual([[3, PART], [3, PART], [5]]);
  expect(drainedCount).toBe(1);
  writer.send([large, large]);
  writer.end();
  writer.send([Buffer.from("too late")]);
  for (let i = 0; i < 100 && !isOver; i++) await take();
  expect(messages.slice(3)).toEqual([[PART, PART]]);
});
