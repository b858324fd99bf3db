// One ROUTER and its writer, towards peers that read, that do not, and that are not there.
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { Dealer } from "zeromq";
import { Outbox } from "../../build/broker/outbox.js";
import { RouterPort } from "../../build/broker/router-port.js";
import { writeError, writeWelcome } from "../../build/wire/session-record.js";

const MiB = 1024 * 1024;
/** Who was told of as unreachable, and whether for not reading. */
const told: [number, boolean][] = [];
let port: RouterPort;
let endpoint: string;
let peers: Dealer[];
let arrived: (routingId: Buffer) => void;

beforeEach(async () => {
  told.length = 0;
  peers = [];
  port = new RouterPort(
    {
      heartbeatIntervalMs: 60_000,
      heartbeatTimeoutMs: 120_000,
      handshakeTimeoutMs: 5000,
      messageBytesMax: 32 * MiB,
    },
    {
      onMessage: ([routingId]) => arrived(routingId),
      onTurn: () => port.flush(),
      onUnreachable: (outbox, isUnread) => told.push([outbox.peer, isUnread]),
    },
  );
  endpoint = await port.bind("tcp://127.0.0.1:*");
  port.open();
});

afterEach(() => {
  port.close(0);
  for (const peer of peers) peer.close();
});

/** A peer that reads nothing by itself, and its routing id. */
async function connect(): Promise<{ dealer: Dealer; routingId: Buffer }> {
  const dealer = new Dealer({ linger: 0, receiveHighWaterMark: 1, receiveBufferSize: 4096 });
  peers.push(dealer);
  const known = new Promise<Buffer>((resolve) => {
    arrived = resolve;
  });
  dealer.connect(endpoint);
  await dealer.send("hello");
  return { dealer, routingId: Buffer.from(await known) };
}

function nextTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

function writeSome(outbox: Outbox): void {
  writeError(outbox.writer, { status: 3, record: 0, reason: "x".repeat(1000) });
}

describe("a peer that reads", () => {
  it("gets more at once than one that does not may be owed", async () => {
    const { dealer, routingId } = await connect();
    const outbox = new Outbox(0);
    const frame = Buffer.alloc(6 * MiB, 1);
    for (let i = 0; i < 5; i++) {
      writeSome(outbox);
      outbox.writer.addFrame(frame);
      outbox.closeLargeBatch();
      port.due(outbox, routingId);
    }
    port.flush();
    for (let i = 0; i < 5; i++) expect((await dealer.receive())[1].length).toBe(6 * MiB);
    expect(told).toEqual([]);
    expect(outbox.isEmpty).toBe(true);
    expect(outbox.owedBytes).toBe(0);
  });

  it("gets all in order when it begins to read late", async () => {
    const { dealer, routingId } = await connect();
    const outbox = new Outbox(0);
    const count = 20_000;
    let sent = 0;
    // Until ZeroMQ takes no more, and some beyond.
    while (sent < count && outbox.owedBytes < 4 * MiB) {
      for (let i = 0; i < 100; i++) {
        writeError(outbox.writer, { status: 3, record: sent++, reason: "x".repeat(400) });
      }
      port.due(outbox, routingId);
      port.flush();
      await nextTurn();
    }
    expect(outbox.isEmpty).toBe(false);
    let next = 0;
    while (next < sent) {
      const [batch] = await dealer.receive();
      for (let at = 8; at < batch.length; at += batch.readUInt32LE(at + 4)) {
        expect(batch.readUInt32LE(at + 8)).toBe(next++);
      }
    }
    expect(next).toBe(sent);
    expect(told).toEqual([]);
  });

  it("sends what was written after all was sent, and before the flush that it was due for", async () => {
    const { dealer, routingId } = await connect();
    const outbox = new Outbox(0);
    const seen: string[] = [];
    const write = (reason: string) => {
      writeError(outbox.writer, { status: 3, record: 0, reason });
      port.due(outbox, routingId);
    };
    write("first");
    port.flush();
    // Due again, and sent by the one before when that has gone, not by a flush.
    write("second");
    await nextTurn();
    expect(outbox.isEmpty).toBe(true);
    write("third");
    port.flush();
    for (let i = 0; i < 3; i++) {
      const [batch] = await dealer.receive();
      seen.push(batch.subarray(8 + 16).toString());
    }
    expect(seen).toEqual(["first", "second", "third"]);
  });
});

describe("a peer that does not read", () => {
  it("is given up once, before it is owed much more than 8 MiB", async () => {
    const { routingId } = await connect();
    const outbox = new Outbox(0);
    let most = 0;
    for (let i = 0; i < 40_000 && told.length === 0; i++) {
      for (let j = 0; j < 10; j++) {
        writeSome(outbox);
        port.due(outbox, routingId);
      }
      port.flush();
      most = Math.max(most, outbox.owedBytes);
      await nextTurn();
    }
    expect(told).toEqual([[0, true]]);
    expect(most).toBeGreaterThan(8 * MiB);
    expect(most).toBeLessThan(9 * MiB);
  });

  it("is waited for while it is owed less", async () => {
    const { routingId } = await connect();
    const outbox = new Outbox(0);
    while (outbox.owedBytes < 2 * MiB) {
      for (let j = 0; j < 100; j++) writeSome(outbox);
      port.due(outbox, routingId);
      port.flush();
      await nextTurn();
    }
    const { dealer: other, routingId: otherId } = await connect();
    const otherOutbox = new Outbox(1);
    writeWelcome(otherOutbox.writer, {
      brokerLow: 1,
      brokerHigh: 1,
      inFlightMax: 1,
      recordMax: 1,
      directPort: 0,
    });
    port.due(otherOutbox, otherId);
    port.flush();
    expect((await other.receive())[0].length).toBe(40);
    expect(told).toEqual([]);
  });
});

describe("a peer that is not there", () => {
  it("is told of at the first message", async () => {
    const outbox = new Outbox(0);
    writeSome(outbox);
    port.due(outbox, Buffer.from("nobody"));
    port.flush();
    while (told.length === 0) await nextTurn();
    expect(told).toEqual([[0, false]]);
    port.drop(outbox);
    writeSome(outbox);
    port.flush();
    await nextTurn();
    expect(told).toHaveLength(1);
  });
});
