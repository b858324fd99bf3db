// What a port sends: to peers that read, that read late or not at all, and that are not there.
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { Dealer } from "zeromq";
import { Outbox } from "../../build/broker/outbox.js";
import { writeError, writeWelcome } from "../../build/wire/session-record.js";
import { encodeReady } from "../zmtp/zmtp-peer.js";
import { anyPort, bytes, MiB, NetStage, readBytes } from "./net-port-stage.js";

let stage: NetStage;

beforeEach(async () => {
  stage = new NetStage();
  await stage.start({ heartbeatIntervalMs: 60_000, heartbeatTimeoutMs: 120_000 });
});

afterEach(() => stage.end());

/** A peer that reads nothing by itself, and its routing id. */
async function connect(): Promise<{ dealer: Dealer; id: Buffer }> {
  const dealer = new Dealer({ linger: 0, receiveHighWaterMark: 1, receiveBufferSize: 4096 });
  stage.opened(dealer).connect(stage.endpoint);
  const count = stage.log.all("message").length + 1;
  await dealer.send("hello");
  const [id] = await stage.log.nth<Buffer[]>("message", count);
  return { dealer, id };
}

function nextTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

function writeSome(outbox: Outbox): void {
  writeError(outbox.writer, { status: 3, record: 0, reason: "x".repeat(1000) });
}

/** Writes more and more for a peer until `owedBytes` of it are not taken. */
async function fill(outbox: Outbox, id: Buffer, owedBytes: number): Promise<number> {
  let count = 0;
  while (outbox.owedBytes < owedBytes) {
    for (let i = 0; i < 100; i++) {
      writeError(outbox.writer, { status: 3, record: count++, reason: "x".repeat(1000) });
      outbox.closeLargeBatch();
    }
    stage.port.due(outbox, id);
    stage.port.flush();
    await nextTurn();
  }
  return count;
}

describe("a peer that reads", () => {
  it("gets more at once than one that does not may be owed", async () => {
    const { port } = stage;
    const { dealer, id } = await connect();
    const outbox = new Outbox(0);
    const frame = Buffer.alloc(6 * MiB, 1);
    for (let i = 0; i < 5; i++) {
      writeSome(outbox);
      outbox.writer.addFrame(frame);
      outbox.closeLargeBatch();
      port.due(outbox, id);
    }
    port.flush();
    for (let i = 0; i < 5; i++) expect((await dealer.receive())[1].length).toBe(6 * MiB);
    expect(stage.unreachable).toEqual([]);
    expect(outbox.isEmpty).toBe(true);
    expect(outbox.owedBytes).toBe(0);
  });

  it("gets all in order when it begins to read late", async () => {
    const { dealer, id } = await connect();
    const outbox = new Outbox(0);
    const sent = await fill(outbox, id, 4 * MiB);
    expect(outbox.isEmpty).toBe(false);
    let next = 0;
    while (next < sent) {
      const [batch] = await dealer.receive();
      for (let at = 8; at < batch.length; at += batch.readUInt32LE(at + 4)) {
        expect(batch.readUInt32LE(at + 8)).toBe(next++);
      }
    }
    expect(next).toBe(sent);
    expect(stage.unreachable).toEqual([]);
    expect(outbox.isEmpty).toBe(true);
  });

  it("gets what is due again once what was due is sent, in order", async () => {
    const { port } = stage;
    const { dealer, id } = await connect();
    const outbox = new Outbox(0);
    for (const reason of ["first", "second", "third"]) {
      writeError(outbox.writer, { status: 3, record: 0, reason });
      port.due(outbox, id);
      port.due(outbox, id);
      port.flush();
      port.flush();
    }
    const seen: string[] = [];
    for (let i = 0; i < 3; i++) seen.push((await dealer.receive())[0].toString("latin1", 24));
    expect(seen).toEqual(["first", "second", "third"]);
  });
});

describe("a peer that does not read", () => {
  it("is given up once, when nothing moved for a while, and before it is owed much more than 64 MiB", async () => {
    const { port, unreachable } = stage;
    const { id } = await connect();
    const outbox = new Outbox(0);
    let most = 0;
    for (let i = 0; i < 40_000 && unreachable.length === 0; i++) {
      for (let j = 0; j < 10; j++) {
        writeSome(outbox);
        port.due(outbox, id);
      }
      port.flush();
      most = Math.max(most, outbox.owedBytes);
      await nextTurn();
    }
    expect(unreachable).toEqual([[0, true]]);
    expect(most).toBeGreaterThan(8 * MiB);
    expect(most).toBeLessThan(65 * MiB);
  });

  it("is waited for while it is owed less, and holds up no other", async () => {
    const { port } = stage;
    const { id } = await connect();
    await fill(new Outbox(0), id, 2 * MiB);
    const { dealer: other, id: otherId } = await connect();
    const outbox = new Outbox(1);
    writeWelcome(outbox.writer, { brokerLow: 1, brokerHigh: 1, inFlightMax: 1, recordMax: 1 });
    port.due(outbox, otherId);
    port.flush();
    expect((await other.receive())[0].length).toBe(40);
    expect(stage.unreachable).toEqual([]);
  });

  it("misses what is sent once and can wait, and gets what it is owed nevertheless", async () => {
    const { port } = stage;
    const { peer, id } = await stage.dealer();
    const outbox = new Outbox(0);
    const sent = await fill(outbox, id, MiB);
    port.sendOnce(id, [bytes("by the way")]);
    let size = 64 + encodeReady("ROUTER", {}).length;
    const chunks: Buffer[] = [await readBytes(peer, size)];
    // All frames that it is owed, whatever their number.
    for (let count = 0; count < sent; ) {
      chunks.push(await readBytes(peer, 1));
      const all = Buffer.concat(chunks);
      chunks.splice(0, chunks.length, all);
      for (; size + 9 <= all.length; size += 9 + all.readUInt32BE(size + 5)) {
        const end = size + 9 + all.readUInt32BE(size + 5);
        if (end > all.length) break;
        // One long frame, without more behind it, a batch.
        expect([all[size], all.toString("latin1", size + 9, size + 11)]).toEqual([2, "WQ"]);
        count += all.readUInt32LE(size + 9 + 4);
      }
    }
    expect(outbox.isEmpty).toBe(true);
    expect(stage.unreachable).toEqual([]);
  });

  it("gets what waits as soon as it has read, whatever was sent once meanwhile: no later try is needed", async () => {
    const { port } = stage;
    const { peer, id } = await stage.dealer();
    // So no later try is ever made.
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
    stage.onEnd(() => vi.useRealTimers());
    const outbox = new Outbox(0);
    await fill(outbox, id, MiB);
    port.sendOnce(id, [bytes("by the way")]);
    peer.resume();
    const endMs = performance.now() + 5000;
    while (!outbox.isEmpty && performance.now() < endMs) await nextTurn();
    expect(outbox.owedBytes).toBe(0);
    expect(stage.unreachable).toEqual([]);
  });

  it("is not known any more once it is dropped: what it is owed is gone", async () => {
    const { port } = stage;
    const { peer, id } = await stage.dealer();
    const outbox = new Outbox(0);
    await fill(outbox, id, MiB);
    port.drop(outbox);
    const { owedBytes } = outbox;
    await readBytes(peer, 3 * MiB);
    await port.settle(10_000);
    expect(outbox.owedBytes).toBe(owedBytes);
  });

  it("is settled when it has read, and for no longer than nothing moves", async () => {
    const { port } = stage;
    const { peer, id } = await stage.dealer();
    const outbox = new Outbox(0);
    await fill(outbox, id, 2 * MiB);
    await port.settle(50);
    expect(outbox.isEmpty).toBe(false);
    peer.resume();
    await port.settle(20_000);
    expect(outbox.isEmpty).toBe(true);
  });
});

describe("a peer that is not there", () => {
  it("is told of at the first message", async () => {
    const { port, unreachable } = stage;
    const outbox = new Outbox(0);
    writeSome(outbox);
    port.due(outbox, bytes("nobody"));
    port.flush();
    expect(unreachable).toEqual([[0, false]]);
    port.drop(outbox);
    writeSome(outbox);
    port.flush();
    await nextTurn();
    expect(unreachable).toHaveLength(1);
  });

  it("is told of when it leaves with something owed to it", async () => {
    const { port, unreachable } = stage;
    const { peer, id } = await stage.dealer();
    const outbox = new Outbox(0);
    await fill(outbox, id, MiB);
    peer.destroy();
    expect(await stage.log.nth("gone")).toEqual(id);
    // It is not blocked for ever: the next try finds it gone.
    while (unreachable.length === 0) await nextTurn();
    expect(unreachable).toEqual([[0, false]]);
    port.drop(outbox);
  });

  it("is no reason that another connection gets what was its", async () => {
    const { port } = stage;
    const { peer, id } = await stage.dealer();
    peer.destroy();
    await stage.log.nth("gone");
    await port.listen(anyPort);
    const { id: nextId } = await stage.dealer();
    expect(nextId).not.toEqual(id);
  });
});
