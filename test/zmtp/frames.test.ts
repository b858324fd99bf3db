import { once } from "node:events";
import { type AddressInfo, createServer, type Socket } from "node:net";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Dealer } from "zeromq";
import { encodeCommand, encodeMessage, encodeReady } from "../../build/zmtp/encode.js";
import { FrameReader, readPing } from "../../build/zmtp/frames.js";
import { encodeGreeting } from "../../build/zmtp/greeting.js";

type Item = { message: string[] } | { command: string; data: string };

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex");

/** All that a reader tells of `chunks`, and its fault. */
function readAll(chunks: Buffer[], messageSizeMax = -1) {
  const items: Item[] = [];
  const reader = new FrameReader(messageSizeMax, {
    onMessage: (parts) => items.push({ message: parts.map(hex) }),
    onCommand: (command, data) => items.push({ command, data: hex(data) }),
  });
  for (const chunk of chunks) {
    // A copy: what it was given is not its own any more.
    const fault = reader.read(Buffer.from(chunk));
    if (fault !== undefined) return { items, fault };
  }
  return { items, fault: undefined };
}

/** mulberry32 */
function randomOf(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) % below;
  };
}

const messages = [
  [Buffer.from("one")],
  [Buffer.alloc(16, 7), Buffer.alloc(0), Buffer.alloc(255, 1), Buffer.alloc(256, 2)],
  [Buffer.alloc(0)],
  [Buffer.alloc(70_000, 3), Buffer.from("tail")],
];

/** What a DEALER of libzmq writes for `messages`, behind its greeting and READY. */
async function framesOfZeroMQ(): Promise<Buffer> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const endpoint = `tcp://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const dealer = new Dealer({ linger: 0 });
  try {
    const accepted = once(server, "connection") as Promise<[Socket]>;
    dealer.connect(endpoint);
    const [peer] = await accepted;
    peer.write(Buffer.concat([encodeGreeting("NULL"), encodeReady("REP")]));
    for (const message of messages) await dealer.send(message);
    let bytes = Buffer.alloc(0);
    const isDone = () =>
      readAll([bytes.subarray(64)]).items.filter((item) => "message" in item).length ===
      messages.length;
    for await (const chunk of peer) {
      bytes = Buffer.concat([bytes, chunk]);
      if (bytes.length > 64 && isDone()) break;
    }
    return bytes.subarray(64);
  } finally {
    dealer.close();
    server.close();
  }
}

const ours = Buffer.concat([
  encodeReady("DEALER"),
  ...messages.flatMap((message) => encodeMessage(message)),
]);
const expected: Item[] = [
  { command: "READY", data: hex(encodeReady("DEALER").subarray(8)) },
  ...messages.map((message) => ({ message: message.map(hex) })),
];

describe("frames", () => {
  it("are written and read as libzmq writes them, READY included", async () => {
    const theirs = await framesOfZeroMQ();
    expect(hex(ours)).toBe(hex(theirs));
    expect(readAll([theirs])).toEqual({ items: expected, fault: undefined });
  });

  it("are the same wherever the stream is cut, and one byte at a time", () => {
    const short = Buffer.concat([
      encodeCommand("PING", Buffer.from([0, 9, 1])),
      ...encodeMessage([Buffer.from("ab"), Buffer.alloc(0), Buffer.alloc(300, 5)]),
      Buffer.from([6, 0, 0, 0, 0, 0, 0, 0, 6]), // A long command.
      Buffer.from("\x05READY", "latin1"),
      ...encodeMessage([Buffer.from("last")]),
    ]);
    const whole = readAll([short]);
    expect(whole.items.length).toBe(4);
    for (let cut = 0; cut <= short.length; cut++) {
      expect(readAll([short.subarray(0, cut), short.subarray(cut)])).toEqual(whole);
      // What is cut off tells nothing but what was whole.
      const { items, fault } = readAll([short.subarray(0, cut)]);
      expect(fault).toBe(undefined);
      expect(items).toEqual(whole.items.slice(0, items.length));
      if (cut < short.length) expect(items.length).toBeLessThan(4);
    }
    expect(readAll([...short].map((byte) => Buffer.from([byte])))).toEqual(whole);
    const sliced: Buffer[] = [];
    for (let at = 0; at < ours.length; at += 1000) sliced.push(ours.subarray(at, at + 1000));
    expect(readAll(sliced).items).toEqual(expected);
  });

  it("of a heartbeat may stand between the parts of a message", () => {
    const frames = Buffer.concat([
      Buffer.from([1, 1, 65]),
      encodeCommand("PONG", Buffer.alloc(0)),
      Buffer.from([0, 1, 66]),
    ]);
    expect(readAll([frames]).items).toEqual([
      { command: "PONG", data: "" },
      { message: ["41", "42"] },
    ]);
  });

  it.each([
    ["a reserved flag", [8, 0], "frame-malformed"],
    ["a command with more", [5, 0], "frame-malformed"],
    ["a command without a name", [4, 1, 0], "frame-malformed"],
    ["a command of no bytes", [4, 0], "frame-malformed"],
    ["a name longer than its command", [4, 2, 5, 65], "frame-malformed"],
    ["a command too long", [6, 0, 0, 0, 0, 0, 0, 32, 1], "frame-malformed"],
    ["a part too large", [2, 0, 0, 0, 0, 0, 0, 3, 233], "message-too-large"],
    ["a part of 2^64 - 1", [2, 255, 255, 255, 255, 255, 255, 255, 255], "message-too-large"],
    [
      "parts too large together",
      [3, 0, 0, 0, 0, 0, 0, 3, 231, ...Array(999), 0, 2],
      "message-too-large",
    ],
    ["parts without end", Array(1025).fill([1, 0]).flat(), "message-too-large"],
  ])("with %s are a fault", (_, frames, fault) => {
    const chunk = Buffer.from([...frames].map((byte) => byte ?? 0));
    expect(readAll([chunk], 1000)).toEqual({ items: [], fault });
  });

  it("take no memory for what was only announced", () => {
    const before = process.memoryUsage().arrayBuffers;
    const readers = Array.from({ length: 1000 }, () => {
      const reader = new FrameReader(-1, { onMessage() {}, onCommand() {} });
      expect(reader.read(Buffer.from([2, 0, 0, 0, 0, 0x3f, 0, 0, 0, 1]))).toBe(undefined);
      return reader;
    });
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(32 << 20);
    expect(readers.length).toBe(1000);
  });

  it("tell nothing after stop(), in the midst of a chunk too", () => {
    const told: string[] = [];
    const reader = new FrameReader(-1, {
      onMessage: (parts) => {
        told.push(String(parts));
        reader.stop();
      },
      onCommand() {},
    });
    reader.read(Buffer.from([0, 1, 65, 0, 1, 66]));
    reader.read(Buffer.from([0, 1, 67]));
    expect(told).toEqual(["A"]);
  });

  it("of any bytes are told alike however they are cut", () => {
    for (let seed = 1; seed <= 400; seed++) {
      const random = randomOf(seed);
      // Flags and sizes that mostly mean something, then anything.
      const bytes = Buffer.concat(
        Array.from({ length: 1 + random(20) }, () => {
          if (random(12) === 0)
            return Buffer.from(Array.from({ length: random(9) }, () => random(256)));
          const body = Buffer.from(Array.from({ length: random(6) }, () => random(8)));
          return Buffer.concat([Buffer.from([[0, 1, 1, 4][random(4)], body.length]), body]);
        }),
      );
      const whole = readAll([bytes], 5000);
      const chunks: Buffer[] = [];
      for (let at = 0; at < bytes.length; ) {
        const end = at + 1 + random(7);
        chunks.push(bytes.subarray(at, end));
        at = end;
      }
      expect(readAll(chunks, 5000), `seed ${seed}`).toEqual(whole);
    }
  });
});

it("told to hold still tell no more until they may go on, and nothing is lost or told twice", () => {
  fc.assert(
    fc.property(
      fc.array(fc.nat(6000), { minLength: 1, maxLength: 20 }),
      fc.integer({ min: 1, max: 9000 }),
      fc.nat(3),
      (sizes, cut, pauseEach) => {
        const messages = sizes.map((size, i) => Buffer.alloc(size, i));
        const wire = Buffer.concat(messages.flatMap((each) => encodeMessage([each])));
        const told: string[] = [];
        const reader = new FrameReader(-1, {
          onMessage: ([part]) => {
            told.push(part.toString("latin1"));
            if (pauseEach > 0 && told.length % pauseEach === 0) reader.pause();
          },
          onCommand: () => {},
        });
        for (let at = 0; at < wire.length; at += cut) {
          const before = told.length;
          reader.read(Buffer.from(wire.subarray(at, at + cut)));
          if (pauseEach > 0) expect(told.length - before).toBeLessThanOrEqual(pauseEach);
          for (let held = -1; held !== told.length; ) {
            held = told.length;
            reader.resume();
          }
        }
        expect(told).toEqual(messages.map((each) => each.toString("latin1")));
      },
    ),
  );
});

describe("large messages", () => {
  it("are written without a copy of their large parts", () => {
    const large = Buffer.alloc(100_000, 1);
    const message = [Buffer.from("tag"), Buffer.alloc(0), large, Buffer.from("x"), large];
    const pieces = encodeMessage(message);
    expect(pieces.filter((piece) => piece === large).length).toBe(2);
    expect(pieces.length).toBe(4);
    expect(readAll([Buffer.concat(pieces)]).items).toEqual([{ message: message.map(hex) }]);
    const many = Array.from({ length: 20 }, (_, i) => Buffer.alloc(1000, i));
    expect(encodeMessage(many).length).toBe(1);
    expect(readAll(encodeMessage(many) as Buffer[]).items).toEqual([{ message: many.map(hex) }]);
  });
});

it("PING's time to live and context are read, and one cut short is none", () => {
  expect(readPing(Buffer.from([0, 3, 7, 8]))).toEqual({ ttlMs: 300, context: Buffer.from([7, 8]) });
  expect(readPing(Buffer.alloc(40))?.context.length).toBe(16);
  expect(readPing(Buffer.from([1]))).toBe(undefined);
});
