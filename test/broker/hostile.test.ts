// Bad input at both ports: nobody else notices, who can be told is told, all of it is counted.
import { connect } from "node:net";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { Dealer, Request } from "zeromq";
import { Client } from "../../build/client/client.js";
import { Worker } from "../../build/worker/worker.js";
import { type Shown, unhex, vectors } from "../wire/support.js";
import { encodeMessage, handshakeBytes } from "../zmtp/zmtp-peer.js";
import { clientHello, message, reply, request, session, workerHello } from "./fake-port.js";
import { BrokerProcess, RawPeer, random, seedOfRun } from "./processes.js";

const MiB = 1024 * 1024;
const limits = { recordBytesMax: MiB, absentWaitMs: 200 };
let broker: BrokerProcess;
let closers: (() => unknown)[];

beforeEach(async () => {
  closers = [];
  broker = await BrokerProcess.start({ limits });
});

afterEach(async () => {
  for (const close of closers.reverse()) await close();
  await broker.close();
});

function peer(endpoint: string): RawPeer {
  const raw = new RawPeer(endpoint);
  closers.push(() => raw.close());
  return raw;
}

async function greeted(role: "client" | "worker"): Promise<RawPeer> {
  const raw = peer(role === "client" ? broker.frontend : broker.backend);
  await raw.say(role === "client" ? clientHello() : workerHello(["echo"]));
  expect(await raw.receive()).toMatchObject({ kind: "WELCOME" });
  return raw;
}

async function faults(): Promise<Record<string, number>> {
  const counts = Object.entries((await broker.stats()).faults);
  return Object.fromEntries(counts.filter(([, count]) => count > 0));
}

const inBatch = { kind: "ERROR", record: 0xffffffff };

describe("who can be told is told, with the status and the reason", () => {
  it("alien: nothing comes back, and the next message is answered", async () => {
    const raw = peer(broker.frontend);
    await raw.send([Buffer.from("GET / HTTP/1.1\r\n\r\n")]);
    await raw.say(clientHello());
    expect(await raw.receive()).toMatchObject({ kind: "WELCOME" });
    expect(await faults()).toEqual({ alien: 1 });
  });

  it("version", async () => {
    const raw = peer(broker.frontend);
    const [bytes] = message(clientHello());
    bytes[2] = 2;
    await raw.send([bytes]);
    const reason = "version 2 is not spoken here; 1 is";
    expect(await raw.receive()).toEqual({ ...inBatch, status: 3, reason });
    expect(await faults()).toEqual({ version: 1 });
    expect((await broker.stats()).clients).toBe(0);
  });

  it("malformed: a count, a record, a request", async () => {
    const raw = await greeted("client");
    const [bytes] = message({ kind: "BYE" });
    bytes[4] = 2;
    await raw.send([bytes]);
    // BYE was taken before the fault; the session begins again.
    const reason = "fewer records than counted";
    expect(await raw.receive()).toEqual({ ...inBatch, status: 3, reason });
    await raw.say(clientHello(), request(1, { service: "" }));
    expect(await raw.receive()).toMatchObject({ kind: "WELCOME" });
    const why = "service must be 1..255 bytes of UTF-8, no control characters";
    expect(await raw.receive()).toMatchObject({
      kind: "FAILURE",
      session,
      sequence: "1",
      status: 3,
      reason: why,
    });
    await raw.say(request(0));
    expect(await raw.receive()).toEqual({
      kind: "ERROR",
      status: 3,
      record: 0,
      reason: "sequence must be 1..2^53-1",
    });
    expect(await faults()).toEqual({ malformed: 3 });
  });

  it("unknown", async () => {
    const raw = await greeted("worker");
    const [bytes] = message({ kind: "BYE" });
    bytes[8] = 8;
    await raw.send([bytes]);
    const reason = "kind 8 is not known here";
    expect(await raw.receive()).toEqual({ kind: "ERROR", status: 3, record: 0, reason });
    expect(await faults()).toEqual({ unknown: 1 });
  });

  it("stranger, at both ports, without state", async () => {
    for (const endpoint of [broker.frontend, broker.backend]) {
      const raw = peer(endpoint);
      await raw.say(request(1));
      const reason = "say HELLO first";
      expect(await raw.receive()).toEqual({ kind: "ERROR", status: 16, record: 0, reason });
    }
    expect(await faults()).toEqual({ stranger: 2 });
    expect(await broker.stats()).toMatchObject({ clients: 0, workers: 0, requests: 0 });
  });

  it("role: a record, a session, a port, a plain message", async () => {
    const client = await greeted("client");
    const denied = { kind: "ERROR", status: 7, record: 0 };
    await client.say(reply(request(1)));
    const reason = "kind 17 is not for this role";
    expect(await client.receive()).toEqual({ ...denied, reason });
    await client.say(request(1, { session: "0000000000000001" }));
    const notOurs = "the session is not that of its HELLO";
    expect(await client.receive()).toEqual({ ...denied, reason: notOurs });
    await client.send([Buffer.alloc(0), Buffer.from("plain")]);
    const batches = "one that said HELLO sends batches";
    expect(await client.receive()).toEqual({ ...inBatch, status: 7, reason: batches });
    const worker = peer(broker.frontend);
    await worker.say(workerHello());
    const backend = "a worker belongs at the backend";
    expect(await worker.receive()).toEqual({ ...denied, reason: backend });
    const lost = peer(broker.backend);
    await lost.say(clientHello());
    const frontend = "a client belongs at the frontend";
    expect(await lost.receive()).toEqual({ ...denied, reason: frontend });
    expect(await faults()).toEqual({ role: 5 });
  });

  it("plain: too large, too many frames, nobody serves it", async () => {
    const req = new Request({ linger: 0 });
    closers.push(() => req.close());
    req.connect(broker.frontend);
    const asks = async (body: Buffer[]) => {
      await req.send(body);
      return (await req.receive()).map(String);
    };
    expect(await asks([Buffer.alloc(MiB + 1)])).toEqual([
      "",
      "INVALID_ARGUMENT",
      "request larger than the broker takes",
    ]);
    expect(await asks(Array(256).fill(Buffer.from("a")))).toEqual([
      "",
      "INVALID_ARGUMENT",
      "request too many frames",
    ]);
    expect(await faults()).toEqual({ malformed: 2 });
    expect(await broker.stats()).toMatchObject({ clients: 0 });
    expect(await asks([Buffer.from("a")])).toEqual(["", "NOT_FOUND", 'no worker serves "default"']);
  });
});

/** One of the vectors, with some of it changed at random. Never of version 177: see `flush`. */
function mutate(below: (bound: number) => number): Buffer[] {
  const sources = [...vectors.records, ...vectors.malformed];
  const pick = <T>(list: readonly T[]): T => list[below(list.length)];
  let frames = pick(sources).frames.map((frame) => Buffer.from(unhex(frame)));
  for (let changes = below(4); changes > 0; changes--) {
    const at = below(frames.length);
    const frame = frames[at];
    const byte = below(Math.min(frame.length, 120));
    switch (below(9)) {
      case 0: // A flipped bit.
        if (frame.length > 0) frame[byte] ^= 1 << below(8);
        break;
      case 1: // A byte.
        if (frame.length > 0) frame[byte] = pick([0, 1, 0x7f, 0x80, 0xff]);
        break;
      case 2: // Truncated.
        frames[at] = frame.subarray(0, below(frame.length + 1));
        break;
      case 3: // A size, a count, an id: some word.
        if (frame.length >= byte + 4)
          frame.writeUInt32LE(pick([0, 7, 0xffffffff, below(99)]), byte);
        break;
      case 4: // Another kind.
        if (frame.length > 8) frame[8] = below(256);
        break;
      case 5: // Frames more, frames less.
        if (below(2) === 0) frames.push(Buffer.alloc(below(300), below(256)));
        else frames = frames.slice(0, Math.max(1, frames.length - 1));
        break;
      case 6: // Bytes more.
        frames[at] = Buffer.concat([frame, Buffer.alloc(1 + below(60), below(256))]);
        break;
      case 7: // As a plain message.
        frames = [Buffer.alloc(0), ...frames];
        break;
      case 8: // Random bytes.
        frames = [Buffer.from(Array.from({ length: below(64) }, () => below(256)))];
        break;
    }
  }
  if (frames[0].length > 2 && frames[0][2] === 177) frames[0][2] = 1;
  return frames;
}

/** Resolves when all that `raw` sent before is handled. */
async function flush(raw: RawPeer): Promise<void> {
  const [bytes] = message({ kind: "BYE" });
  bytes[2] = 177;
  raw.dealer.receiveTimeout = 50;
  for (;;) {
    // Said again while nothing comes: what a stranger is told is dropped while its pipe is full.
    await raw.send([bytes]);
    for (;;) {
      const frames = await raw.dealer.receive().catch(() => undefined);
      if (frames === undefined) break;
      if (frames.at(-1)?.includes("version 177 is not")) return;
    }
  }
}

/** A client and a worker that do as they should until `stop`. */
async function startHonest(): Promise<{ stop(): Promise<{ asked: number; failed: string[] }> }> {
  const connection = { heartbeatIntervalMs: 1000, heartbeatTimeoutMs: 20_000 };
  const worker = await Worker.start({
    ...connection,
    brokers: [broker.backend],
    services: { echo: (value: unknown) => value },
  });
  const client = await Client.connect({ ...connection, brokers: [broker.frontend] });
  const failed: string[] = [];
  let isOn = true;
  let asked = 0;
  const lines = Array.from({ length: 4 }, async () => {
    while (isOn) {
      const value = { n: ++asked };
      const got = await client.request("echo", value).catch((error: Error) => error);
      if (got instanceof Error) failed.push(got.message);
      else if ((got as typeof value).n !== value.n) failed.push(`${value.n} got ${got}`);
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
  });
  return {
    async stop() {
      isOn = false;
      await Promise.all(lines);
      await client.close();
      await worker.close();
      return { asked, failed };
    },
  };
}

describe("many of them", () => {
  it("100,000 random and mutated messages disturb nobody and leave nothing behind", async () => {
    const below = random(seedOfRun());
    const honest = await startHonest();
    await broker.collect();
    const rssBefore = broker.rssBytes;
    const filesBefore = broker.fileCount;
    let rssMost = rssBefore;
    const hellos: Record<string, Shown[]> = {
      "client ": [clientHello(vectors.session)],
      "worker ": [workerHello(["orders.price"], 4, vectors.session)],
      stranger: [],
    };
    // Peers that come and go, 500 messages each; HELLO again and again, since a mutated BYE ends it.
    for (let round = 0; round < 40; round++) {
      const side = round % 2 === 0 ? broker.frontend : broker.backend;
      const raws = Object.keys(hellos).map((role) => ({ role, raw: new RawPeer(side) }));
      await Promise.all(
        raws.map(async ({ role, raw }) => {
          for (let i = 0; i < 834; i++) {
            if (i % 50 === 0 && hellos[role].length > 0) await raw.say(...hellos[role]);
            await raw.send(mutate(below));
          }
          await flush(raw);
          raw.close();
        }),
      );
      rssMost = Math.max(rssMost, broker.rssBytes);
      expect(broker.ended).toBeUndefined();
    }
    const { asked, failed } = await honest.stop();
    expect(failed).toEqual([]);
    expect(asked).toBeGreaterThan(100);

    const stats = await broker.until(
      (now) => now.requests + now.clients + now.workers + now.queued === 0,
    );
    // Nobody shows a key here.
    const { unread, denied, ...counted } = stats.faults;
    expect(denied).toBe(0);
    console.log("faults", JSON.stringify({ unread, ...counted }), "honest requests", asked);
    for (const [name, count] of Object.entries(counted)) expect(count, name).toBeGreaterThan(100);
    expect(stats.counts.stale).toBeGreaterThan(0);
    expect(stats.requestBytes).toBe(0);
    for (const service of Object.values(stats.services)) expect(service.inFlight).toBe(0);
    await broker.collect();
    const mib = (bytes: number) => Math.round(bytes / MiB);
    console.log(
      `rss MiB: ${mib(rssBefore)} before, ${mib(rssMost)} most, ${mib(broker.rssBytes)} after`,
    );
    expect(broker.rssBytes - rssBefore).toBeLessThan(64 * MiB);
    expect(broker.fileCount).toBeLessThanOrEqual(filesBefore);
  });

  it("connections of garbage, half handshakes and silence at the frontend", async () => {
    const below = random(seedOfRun());
    const honest = await startHonest();
    const filesBefore = broker.fileCount;
    const { port } = new URL(broker.frontend.replace("tcp", "http"));
    const greeting = handshakeBytes("DEALER");
    const sockets = Array.from({ length: 600 }, (_, n) => {
      const socket = connect({ host: "127.0.0.1", port: Number(port) });
      socket.on("error", () => {});
      const bytes = Buffer.from(Array.from({ length: below(200) }, () => below(256)));
      const openings = [
        bytes,
        greeting.subarray(0, below(greeting.length)),
        Buffer.concat([greeting, bytes]),
        Buffer.concat([greeting, encodeMessage([Buffer.alloc(0), bytes])]),
        Buffer.alloc(0),
      ];
      socket.write(openings[n % openings.length]);
      return socket;
    });
    await Promise.all(
      sockets.map((socket) => {
        if (socket.destroyed || !socket.connecting) return undefined;
        return new Promise((resolve) => {
          socket.once("connect", resolve);
          socket.once("close", resolve);
        });
      }),
    );
    // A client that comes in the middle of it is served.
    const late = new Dealer({ linger: 0 });
    late.connect(broker.frontend);
    await late.send(message(clientHello("00000000000000cc"))[0] as Buffer);
    expect((await late.receive())[0].length).toBe(40);
    late.close();
    for (const socket of sockets) socket.destroy();
    expect((await honest.stop()).failed).toEqual([]);
    await broker.until(({ clients, workers }) => clients + workers === 0);
    for (let i = 0; i < 500 && broker.fileCount > filesBefore; i++) {
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    expect(broker.fileCount).toBeLessThanOrEqual(filesBefore);
    expect(broker.ended).toBeUndefined();
  });
});
