// CurveZMQ (RFC 26) by ourselves: the handshake between our two halves, and what neither side takes. That both
// halves are what libzmq speaks is for test/broker/curve.test.ts (its client, our server) and below (the reverse).
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { Duplex } from "node:stream";
import { setImmediate as turn } from "node:timers/promises";
import { afterEach, beforeAll, describe, expect, test, vi } from "vitest";
import { Router } from "zeromq";
import { decodeZ85, encodeZ85 } from "../../build/base/z85.js";
import { generateCurveKeys } from "../../build/broker/curve-keys.js";
import { Link } from "../../build/link/link.js";
import { BatchReader } from "../../build/wire/batch.js";
import { Kind } from "../../build/wire/layout.js";
import { writeBye } from "../../build/wire/session-record.js";
import { Connection } from "../../build/zmtp/connection.js";
import { CurveBox, type KeyPairBytes } from "../../build/zmtp/curve-box.js";
import { CurveClient, CurveServer } from "../../build/zmtp/curve-handshake.js";
import { CurveReader } from "../../build/zmtp/curve-reader.js";
import type { CurveSession } from "../../build/zmtp/curve-session.js";
import { encodeProperties } from "../../build/zmtp/encode.js";
import { FrameReader } from "../../build/zmtp/frames.js";
import { encodeGreeting, readCommandFrame, readProperties } from "../../build/zmtp/greeting.js";
import { PeerHandshake } from "../../build/zmtp/handshake.js";
import { Heartbeat } from "../../build/zmtp/heartbeat.js";
import type { Turns } from "../../build/zmtp/turns.js";
import { keyOf, socketKeys } from "../broker/curve-keys.js";
import { seedOfRun } from "../broker/processes.js";
import { Random } from "../random.mjs";

const random = new Random(seedOfRun());
const between = (low: number, high: number) => low + random.below(high - low + 1);
const someBytes = (size: number) =>
  Buffer.from(Array.from({ length: size }, () => random.below(256)));

let box: CurveBox;
let serverKeys: KeyPairBytes;
let clientKeys: KeyPairBytes;

beforeAll(async () => {
  box = await CurveBox.load();
  serverKeys = box.keyPair();
  clientKeys = box.keyPair();
});

test("a pair that is generated is one of CURVE's, and another each time", () => {
  const [one, other] = [generateCurveKeys(), generateCurveKeys()];
  for (const { publicKey, secretKey } of [one, other]) {
    expect(publicKey).toBe(encodeZ85(box.publicKeyOf(decodeZ85(secretKey))));
  }
  expect(one.secretKey).not.toBe(other.secretKey);
});

/** A command's body out of its frame. */
function bodyOf(frame: Buffer | undefined): Buffer {
  const command = readCommandFrame(frame as Buffer, 0);
  if (command.state !== "whole") throw new Error("no command");
  return Buffer.from(command.body);
}

function meet(server = new CurveServer(box, serverKeys)) {
  const client = new CurveClient(box, clientKeys, serverKeys.publicKey);
  const hello = bodyOf(client.hello());
  const welcome = bodyOf(server.welcome(hello));
  const initiate = bodyOf(client.initiate(welcome, encodeProperties("DEALER")));
  return { server, client, hello, welcome, initiate };
}

/** Both ends of one connection. */
function pair(): { ours: CurveSession; theirs: CurveSession } {
  const { server, client, initiate } = meet();
  expect(server.initiate(initiate)).toBeDefined();
  const { ready, session } = server.ready(encodeProperties("ROUTER"));
  const met = client.ready(bodyOf(ready));
  return { ours: session, theirs: met?.session as CurveSession };
}

/** `bytes` with one bit of the byte at `at` changed. */
function changed(bytes: Buffer, at: number): Buffer {
  const copy = Buffer.from(bytes);
  copy[at] ^= 1;
  return copy;
}

/** What a reader makes of bytes that come in these pieces. */
function readAll(session: CurveSession, pieces: readonly Buffer[], messageBytesMax = -1) {
  const messages: string[][] = [];
  const commands: [string, string][] = [];
  const faults: string[] = [];
  const reader = new CurveReader(session, messageBytesMax, {
    onMessage: (parts) => messages.push(parts.map((part) => part.toString("hex"))),
    onCommand: (name, data) => commands.push([name, data.toString("hex")]),
    onFault: (fault) => faults.push(fault),
  });
  const frames = new FrameReader(CurveReader.frameSizeMax(messageBytesMax), reader);
  for (const piece of pieces) {
    const fault = frames.read(Buffer.from(piece));
    if (fault !== undefined) faults.push(fault);
  }
  reader.stop();
  return { messages, commands, faults };
}

describe("the handshake", () => {
  test("shows each the other's key, its properties, and a session of their own", () => {
    const { server, client, initiate } = meet();
    const shown = server.initiate(initiate);
    expect(Buffer.from(shown?.key as Uint8Array)).toEqual(Buffer.from(clientKeys.publicKey));
    expect(readProperties(shown?.properties as Buffer)).toMatchObject({ socketType: "DEALER" });
    const { ready } = server.ready(encodeProperties("ROUTER"));
    const met = client.ready(bodyOf(ready));
    expect(readProperties(met?.properties as Buffer)).toMatchObject({ socketType: "ROUTER" });
  });

  test("takes no HELLO, WELCOME, INITIATE or READY of which a single bit is changed", () => {
    // Of HELLO the padding and the version are in clear and not sealed; the version is looked at.
    const padding = new Set(Array.from({ length: 72 }, (_, i) => 8 + i));
    const { hello } = meet();
    for (let at = 0; at < hello.length; at++) {
      const isTaken = new CurveServer(box, serverKeys).welcome(changed(hello, at)) !== undefined;
      expect([at, isTaken]).toEqual([at, padding.has(at)]);
    }
    const client = new CurveClient(box, clientKeys, serverKeys.publicKey);
    const server = new CurveServer(box, serverKeys);
    const welcome = bodyOf(server.welcome(bodyOf(client.hello())));
    for (let at = 0; at < welcome.length; at++) {
      expect(client.initiate(changed(welcome, at), encodeProperties("DEALER"))).toBeUndefined();
    }
    const initiate = bodyOf(client.initiate(welcome, encodeProperties("DEALER")));
    for (let at = 0; at < initiate.length; at++) {
      const fresh = meet();
      const bent = fresh.server.initiate(changed(fresh.initiate, at));
      expect([at, bent]).toEqual([at, undefined]);
    }
    expect(server.initiate(initiate)).toBeDefined();
    const ready = bodyOf(server.ready(encodeProperties("ROUTER")).ready);
    for (let at = 0; at < ready.length; at++) {
      expect(client.ready(changed(ready, at))).toBeUndefined();
    }
    expect(client.ready(ready)).toBeDefined();
  });

  test("takes nothing that is cut short, whatever its length", () => {
    const { hello } = meet();
    for (let size = 0; size < hello.length; size++) {
      expect(new CurveServer(box, serverKeys).welcome(hello.subarray(0, size))).toBeUndefined();
    }
    for (const size of [0, 1, 9, 105, 112, 113, 128, 200, 256, 257]) {
      const { server, initiate } = meet();
      expect(server.initiate(initiate.subarray(0, size))).toBeUndefined();
    }
  });

  test("takes no INITIATE of another connection, with that one's cookie or its own", () => {
    const one = meet();
    const other = meet();
    expect(other.server.initiate(one.initiate)).toBeUndefined();
    const withCookie = Buffer.from(one.initiate);
    other.initiate.copy(withCookie, 9, 9, 9 + 96);
    expect(meet().server.initiate(withCookie)).toBeUndefined();
    expect(other.server.initiate(withCookie)).toBeUndefined();
  });

  test("takes no key that has not vouched for this very connection", () => {
    // A client that knows another's public key, not its secret one.
    const victim = box.keyPair();
    const thief = { publicKey: victim.publicKey, secretKey: clientKeys.secretKey };
    const server = new CurveServer(box, serverKeys);
    const client = new CurveClient(box, thief, serverKeys.publicKey);
    const welcome = bodyOf(server.welcome(bodyOf(client.hello())));
    const initiate = bodyOf(client.initiate(welcome, encodeProperties("DEALER")));
    expect(server.initiate(initiate)).toBeUndefined();
  });

  test("takes no vouch that was made for another server", () => {
    // A server that a client trusts hands its vouch on: the vouch names the server that it is for.
    const other = box.keyPair();
    const middle = new CurveServer(box, other);
    const client = new CurveClient(box, clientKeys, other.publicKey);
    const welcome = bodyOf(middle.welcome(bodyOf(client.hello())));
    const initiate = bodyOf(client.initiate(welcome, encodeProperties("DEALER")));
    // The same transient keys and cookie, and the other server's long-term key in the vouch.
    Object.assign(other, { publicKey: serverKeys.publicKey });
    expect(middle.initiate(initiate)).toBeUndefined();
  });

  test("does not open to who holds the wrong server key, nor by a key of small order", () => {
    const stranger = new CurveClient(box, clientKeys, box.keyPair().publicKey);
    expect(new CurveServer(box, serverKeys).welcome(bodyOf(stranger.hello()))).toBeUndefined();
    expect(() => new CurveClient(box, clientKeys, new Uint8Array(32))).toThrow(
      "serverKey is the public key of nobody",
    );
    const { hello } = meet();
    hello.fill(0, 80, 112);
    expect(new CurveServer(box, serverKeys).welcome(hello)).toBeUndefined();
  });

  test("is refused out of order", () => {
    const server = new CurveServer(box, serverKeys);
    const { initiate } = meet();
    expect(server.initiate(initiate)).toBeUndefined();
    const client = new CurveClient(box, clientKeys, serverKeys.publicKey);
    expect(client.ready(randomBytes(100))).toBeUndefined();
  });
});

describe("a peer that goes on behind its HELLO", () => {
  test("is not read until that had its turn, and is refused then", async () => {
    const steps: (() => void)[] = [];
    const turns = {
      add: (_whom: string, step: () => void) => void steps.push(step),
    } as unknown as Turns;
    const refusals: string[] = [];
    const server = createServer().listen(0, "127.0.0.1");
    await once(server, "listening");
    const { port } = server.address() as AddressInfo;
    const far = connect(port, "127.0.0.1");
    far.on("error", () => {});
    const [near] = (await once(server, "connection")) as [Socket];
    new PeerHandshake({
      peer: near,
      curve: { box, keys: serverKeys, turns },
      timeoutMs: 60_000,
      onReady: () => refusals.push("ready"),
      onRefused: (reason) => refusals.push(reason),
    });
    const { hello } = meet();
    const said = Buffer.concat([encodeGreeting("CURVE"), Buffer.from([4, 200]), hello]);
    far.write(Buffer.concat([said, Buffer.alloc(16 * 1024 * 1024, 4)]));
    while (steps.length === 0) await turn();
    for (let i = 0; i < 100; i++) await turn();
    expect(near.bytesRead).toBeLessThan(1024 * 1024);
    const closed = once(near, "close");
    // HELLO is answered; what stands behind it is no INITIATE.
    expect(steps.length).toBe(1);
    steps[0]();
    await closed;
    expect(near.bytesRead).toBeLessThan(1024 * 1024);
    expect(refusals).toEqual(["initiate-refused"]);
    far.destroy();
    server.close();
  });
});

describe("traffic", () => {
  test("is the same on the other side, wherever it is cut, of all sizes and counts of parts", () => {
    const { ours, theirs } = pair();
    const sizes = [0, 1, 200, 221, 222, 223, 255, 256, 4096, 16_000, 65_000, 65_536, 200_000];
    const sent: Buffer[][] = sizes.map((size) => [someBytes(size)]);
    for (let i = 0; i < 60; i++) {
      const count = between(1, 6);
      sent.push(Array.from({ length: count }, () => someBytes(between(0, 5000))));
    }
    const wire = Buffer.concat(sent.map((parts) => Buffer.from(ours.sealMessage(parts))));
    const pieces: Buffer[] = [];
    for (let at = 0; at < wire.length; ) {
      const size = between(1, between(2, 90_000));
      pieces.push(wire.subarray(at, at + size));
      at += size;
    }
    const { messages, faults } = readAll(theirs, pieces);
    expect(faults).toEqual([]);
    expect(messages).toEqual(sent.map((parts) => parts.map((part) => part.toString("hex"))));
    expect(wire.includes(sent[6][0])).toBe(false);
  });

  test("has commands in it, and the reverse direction has nonces of its own", () => {
    const { ours, theirs } = pair();
    const ping = Buffer.from("\x04PING\x00\x00hi", "latin1");
    const there = Buffer.concat([ours.sealCommand(ping), ours.sealMessage([Buffer.from("a")])]);
    expect(readAll(theirs, [there])).toEqual({
      commands: [["PING", "00006869"]],
      messages: [["61"]],
      faults: [],
    });
    const back = theirs.sealMessage([Buffer.from("b")]);
    expect(readAll(ours, [back]).messages).toEqual([["62"]]);
    // What we said ourselves is nothing that the other said.
    const echoed = pair();
    expect(readAll(echoed.ours, [echoed.ours.sealMessage([ping])]).faults).toEqual([
      "message-refused",
    ]);
  });

  test("is taken in a command's frame too, as RFC 26 has it", () => {
    const { ours, theirs } = pair();
    const frame = Buffer.from(ours.sealMessage([Buffer.from("abc")]));
    frame[0] = 4;
    expect(readAll(theirs, [frame])).toMatchObject({ messages: [["616263"]], faults: [] });
  });

  test("of which one bit is changed, that comes twice, late or of another connection, ends it", () => {
    const refused = { messages: [], commands: [], faults: ["message-refused"] };
    const whole = pair().ours.sealMessage([Buffer.from("abc")]).length;
    // The frame's own head says where it ends; what stands behind it is looked at here.
    for (let at = 2; at < whole; at++) {
      const { ours, theirs } = pair();
      const frame = Buffer.from(ours.sealMessage([Buffer.from("abc")]));
      expect([at, readAll(theirs, [changed(frame, at)])]).toEqual([at, refused]);
    }
    const { ours, theirs } = pair();
    const [first, second] = ["1", "2"].map((text) => {
      return Buffer.from(ours.sealMessage([Buffer.from(text)]));
    });
    expect(readAll(theirs, [second, first, second])).toEqual({
      messages: [["32"]],
      commands: [],
      faults: ["message-refused"],
    });
    expect(readAll(pair().theirs, [first])).toEqual(refused);
  });

  test.each([
    ["a message", Buffer.from([0, 3, 1, 2, 3])],
    ["a message of two parts", Buffer.from([1, 1, 1, 0, 1, 2])],
    ["a PING", Buffer.from([4, 7, 4, 80, 73, 78, 71, 0, 0])],
    ["an ERROR", Buffer.from([4, 7, 5, 69, 82, 82, 79, 82, 0])],
    ["no bytes", Buffer.from([0, 0])],
  ])("in clear ends it: %s", (_what, bytes) => {
    expect(readAll(pair().theirs, [bytes])).toEqual({
      messages: [],
      commands: [],
      faults: ["message-refused"],
    });
  });

  test("has bounds: bytes of all parts of a message, and their count", () => {
    const one = pair();
    const parts = [Buffer.alloc(600), Buffer.alloc(500)];
    const fits = one.ours.sealMessage([parts[0], Buffer.alloc(400)]);
    const wire = Buffer.concat([fits, one.ours.sealMessage(parts)]);
    const read = readAll(one.theirs, [wire], 1000);
    expect([read.messages.length, read.faults]).toEqual([1, ["message-too-large"]]);
    const other = pair();
    const many = other.ours.sealMessage(Array.from({ length: 1025 }, () => Buffer.alloc(0)));
    expect(readAll(other.theirs, [Buffer.from(many)])).toMatchObject({
      messages: [],
      faults: ["message-too-large"],
    });
  });

  test("is sealed and opened no more when the session has ended", () => {
    const { ours, theirs } = pair();
    const frame = Buffer.from(ours.sealMessage([Buffer.from("abc")]));
    ours.end();
    theirs.end();
    expect(() => ours.sealMessage([Buffer.from("abc")])).toThrow("has ended seals nothing");
    expect(readAll(theirs, [frame]).faults).toEqual(["message-refused"]);
  });
});

test.each([
  [true, ["PING"]],
  [false, []],
])("a peer that knows PING, %s, is sent in boxes: %j", (knowsPing, sent) => {
  const { ours, theirs } = pair();
  const written: Buffer[] = [];
  const keepAlive = vi.fn();
  const socket = Object.assign(
    new Duplex({
      read() {},
      write(bytes: Buffer, _encoding, done) {
        written.push(Buffer.from(bytes));
        done();
      },
    }),
    { setKeepAlive: keepAlive },
  );
  const heartbeat = new Heartbeat(300, 1000);
  const connection = new Connection(
    { version: 3, knowsPing, messageBytesMax: 1000, heartbeat, curve: ours },
    { onMessage() {}, onEnd() {} },
  );
  connection.attach(socket as unknown as Socket);
  for (let i = 0; i < heartbeat.beatsToPing + 1; i++) connection.beat();
  connection.close();
  heartbeat.delete(connection);
  const { commands, messages } = readAll(theirs, written);
  expect([commands.map(([name]) => name), messages]).toEqual([sent, []]);
  // Whoever cannot be asked is left to TCP.
  expect(keepAlive).toHaveBeenCalledTimes(knowsPing ? 0 : 1);
});

describe("our half beside libzmq's server", () => {
  const opened: { close(): unknown }[] = [];

  afterEach(async () => {
    for (const each of opened.splice(0)) await each.close();
  });

  test("says what is read there, and reads what is said, heartbeats between", async () => {
    const { curveSecretKey } = socketKeys("broker");
    const router = new Router({
      linger: 0,
      curveServer: true,
      curveSecretKey,
      heartbeatInterval: 20,
      heartbeatTimeout: 2000,
    });
    opened.push(router);
    await router.bind("tcp://127.0.0.1:*");
    const heard: string[] = [];
    const downs: string[] = [];
    let isHeard = () => {};
    const link = await new Promise<Link>((resolve) => {
      const made: Link = new Link(
        {
          endpoint: router.lastEndpoint as string,
          heartbeatIntervalMs: 20,
          heartbeatTimeoutMs: 2000,
          handshakeTimeoutMs: 5000,
          reconnectMsMin: 20,
          reconnectMsMax: 100,
          curve: { ...keyOf.client, serverKey: keyOf.broker.publicKey },
        },
        {
          onOpen: () => {
            made.welcomed(1024);
            resolve(made);
          },
          onMessage: (frames) => {
            heard.push(frames.map(String).join("|"));
            isHeard();
          },
          onDown: (reason) => downs.push(reason),
        },
      );
      opened.push(made);
    });
    for (let round = 0; round < 50; round++) {
      writeBye(link.writer);
      link.flush();
      const [id, ...batch] = await router.receive();
      const reader = new BatchReader();
      reader.open(batch, 0);
      expect([reader.next(), reader.kind]).toEqual([true, Kind.BYE]);
      const hearing = new Promise<void>((resolve) => {
        isHeard = resolve;
      });
      await router.send([id, "a", `${round}`, ""]);
      await hearing;
      expect(heard.at(-1)).toBe(`a|${round}|`);
      // For heartbeats of both sides to be said in between.
      if (round % 10 === 0) await new Promise((resolve) => setTimeout(resolve, 30));
    }
    expect(downs).toEqual([]);
  });
});

test("Z85 both ways, by the RFC's own example", () => {
  const bytes = Buffer.from("864fd26fb559f75b", "hex");
  expect(encodeZ85(bytes)).toBe("HelloWorld");
  expect(Buffer.from(decodeZ85("HelloWorld"))).toEqual(bytes);
  for (let i = 0; i < 100; i++) {
    const key = someBytes(32);
    expect(Buffer.from(decodeZ85(encodeZ85(key)))).toEqual(Buffer.from(key));
  }
});
