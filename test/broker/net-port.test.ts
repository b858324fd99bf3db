// DEALER, REQ and ROUTER peers at a port, those that never come to be one, and messages that are too much.
import { once } from "node:events";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { Dealer, Publisher, Request, Router } from "zeromq";
import type { PortRefusal } from "../../build/broker/acceptor.js";
import { connectTo, encodeMessage, encodeReady, handshakeBytes } from "../zmtp/zmtp-peer.js";
import { bytes, closed, MiB, NetStage, readBytes, readyOf } from "./net-port-stage.js";

let stage: NetStage;

beforeEach(() => {
  stage = new NetStage();
});

afterEach(() => stage.end());

const refusals = () => Object.fromEntries(stage.port.refusalCounts);

describe("peers", () => {
  it("reach the port, which tells when they close", async () => {
    const port = await stage.start();
    const { log } = stage;
    const dealer = stage.opened(new Dealer({ linger: 0 }));
    dealer.connect(stage.endpoint);
    await dealer.send(["a", "b"]);
    const [id, ...parts] = await log.nth<Buffer[]>("message");
    expect(parts).toEqual([bytes("a"), bytes("b")]);
    const large = Buffer.alloc(MiB, 3);
    port.sendOnce(id, [large, bytes("x")]);
    const [echoed, last] = await dealer.receive();
    expect(echoed.equals(large)).toBe(true);
    expect(last).toEqual(bytes("x"));
    await dealer.send(echoed);
    const [again, whole] = await log.nth<Buffer[]>("message", 2);
    expect([again, whole.equals(large)]).toEqual([id, true]);
    dealer.close();
    expect(await log.nth("gone")).toEqual(id);
    expect(port.connectionCount).toBe(0);
  });

  it("may be REQ or ROUTER, and share the port with REP", async () => {
    const port = await stage.start();
    const { log } = stage;
    stage.plainEcho();
    const request = stage.opened(new Request({ linger: 0 }));
    request.connect(stage.endpoint);
    await request.send("ready");
    const [id, , body] = await log.nth<Buffer[]>("message");
    expect(body).toEqual(bytes("ready"));
    const worker = await stage.worker();
    worker.send([bytes("plain")]);
    port.sendOnce(id, [bytes(""), bytes("native")]);
    expect(await request.receive()).toEqual([bytes("native")]);
    expect(await log.nth(`reply ${worker.id}`)).toEqual([bytes("plain")]);
    const router = stage.opened(new Router({ linger: 0, mandatory: true }));
    router.connect(stage.endpoint, { routingId: "broker" });
    await router.send(["broker", "from a ROUTER"]);
    const [routerId, said] = await log.nth<Buffer[]>("message", 2);
    expect(said).toEqual(bytes("from a ROUTER"));
    port.sendOnce(routerId, [bytes("to a ROUTER")]);
    expect(await router.receive()).toEqual([bytes("broker"), bytes("to a ROUTER")]);
    expect(port.connectionCount).toBe(3);
    expect(refusals()).toEqual({});
  });

  it("may speak ZMTP 2.0: their identity is no message, and they are told of none", async () => {
    const port = await stage.start();
    const peer = stage.stranger();
    // Signature, revision 1, type 5 DEALER, an identity, then a message, all at once.
    const identity = encodeMessage([bytes("who I am")]);
    const head = Buffer.from("ff00000000000000017f0105", "hex");
    peer.write(Buffer.concat([head, identity, encodeMessage([bytes("a"), bytes("b")])]));
    const [id, ...parts] = await stage.log.nth<Buffer[]>("message");
    expect(parts).toEqual([bytes("a"), bytes("b")]);
    port.sendOnce(id, [bytes("back")]);
    // Signature, revision, type 6 ROUTER, no identity; the message.
    expect((await readBytes(peer, 14 + 6)).toString("hex")).toBe(
      `ff00000000000000017f03060000${encodeMessage([bytes("back")]).toString("hex")}`,
    );
    peer.destroy();
    expect(await stage.log.nth("gone")).toEqual(id);
    expect(stage.log.all("message")).toHaveLength(1);
  });

  it("come in bursts", async () => {
    await stage.start();
    for (let i = 0; i < 150; i++) {
      const peer = stage.stranger();
      peer.write(handshakeBytes("DEALER"));
      readyOf(peer).then(
        () => peer.write(encodeMessage([bytes(`${i}`)])),
        () => {},
      );
    }
    await stage.log.nth("message", 150);
    const seen = new Set(stage.log.all<Buffer[]>("message").map(([, body]) => String(body)));
    expect(seen.size).toBe(150);
    expect(refusals()).toEqual({});
  });

  it("get what the port was told to send before it ends, however late they read", async () => {
    const port = await stage.start({ heartbeatTimeoutMs: 60_000 });
    const { peer, id } = await stage.dealer();
    const dealer = stage.opened(new Dealer({ linger: 0 }));
    dealer.connect(stage.endpoint);
    await dealer.send("hello");
    const [dealerId] = await stage.log.nth<Buffer[]>("message", 2);
    for (const each of [id, dealerId]) {
      // In one message: there is no outbox here that would wait for the peer.
      port.sendOnce(
        each,
        Array.from({ length: 12 }, (_, i) => Buffer.alloc(MiB, i)),
      );
    }
    const ended = port.end(20_000);
    const frames = await dealer.receive();
    expect(frames.map((frame) => [frame.length, frame[0]])).toEqual(
      Array.from({ length: 12 }, (_, i) => [MiB, i]),
    );
    const ready = 64 + encodeReady("ROUTER", {}).length;
    await readBytes(peer, ready + 12 * (9 + MiB));
    await closed(peer);
    await ended;
    expect(port.connectionCount).toBe(0);
  });

  it("that do not read are waited for no longer than the port lingers", async () => {
    const port = await stage.start({ heartbeatTimeoutMs: 60_000 });
    const { id } = await stage.dealer();
    port.sendOnce(id, [Buffer.alloc(64 * MiB)]);
    await port.end(100);
    expect(port.connectionCount).toBe(0);
  });
});

describe("the handshake", () => {
  it("may come byte by byte", async () => {
    await stage.start();
    const peer = stage.stranger();
    const ready = readyOf(peer);
    for (const byte of handshakeBytes("DEALER")) {
      await new Promise((resolve) => peer.write(Buffer.from([byte]), resolve));
      await new Promise((resolve) => setImmediate(resolve));
    }
    await ready;
    peer.write(encodeMessage([bytes("slow")]));
    expect((await stage.log.nth<Buffer[]>("message"))[1]).toEqual(bytes("slow"));
  });

  it("may be cut in two anywhere, and so may the message in one piece with it", async () => {
    await stage.start({ connectionsMax: 10_000 });
    const whole = Buffer.concat([handshakeBytes("DEALER"), encodeMessage([bytes("cut")])]);
    for (let size = 1; size < whole.length; size++) {
      const peer = stage.stranger();
      await new Promise((resolve) => peer.write(whole.subarray(0, size), resolve));
      await new Promise((resolve) => setImmediate(resolve));
      peer.write(whole.subarray(size));
      expect((await stage.log.nth<Buffer[]>("message", size))[1]).toEqual(bytes("cut"));
      peer.destroy();
    }
    expect(refusals()).toEqual({});
  });
});

describe("strangers", () => {
  it("are refused by reason, told why, and disturb nobody", async () => {
    const port = await stage.start({ handshakeTimeoutMs: 700 });
    stage.plainEcho();
    const worker = await stage.worker();
    const publisher = new Publisher({ linger: 0 });
    publisher.connect(stage.endpoint);
    const until = async (reason: PortRefusal) => {
      while (!port.refusalCounts.has(reason)) {
        await new Promise((resolve) => setImmediate(resolve));
      }
    };
    await until("socket-type");
    publisher.close();

    const cases: [PortRefusal, Buffer][] = [
      ["not-zmtp", bytes("GET / HTTP/1.1\r\n\r\n")],
      ["zmtp-version", Buffer.from("ff00000000000000017f02", "hex")],
      ["ready-malformed", Buffer.concat([handshakeBytes("REP").subarray(0, 64), Buffer.alloc(9)])],
      [
        "ready-too-large",
        Buffer.concat([
          handshakeBytes("REP").subarray(0, 64),
          Buffer.from([6, ...Array(8).fill(1)]),
        ]),
      ],
      ["handshake-timeout", handshakeBytes("REP").subarray(0, 70)],
    ];
    for (const [reason, start] of cases) {
      const peer = stage.stranger();
      peer.write(start);
      await until(reason);
      await closed(peer);
      expect([reason, port.refusalCounts.get(reason)]).toEqual([reason, 1]);
    }
    const early = stage.stranger();
    await once(early, "data");
    early.destroy();
    await until("closed-early");

    const told = stage.stranger();
    let answer = "";
    told.on("data", (chunk) => {
      answer += chunk.toString("latin1");
    });
    told.write(Buffer.concat([handshakeBytes("SUB").subarray(0, 64), encodeReady("SUB", {})]));
    await closed(told);
    expect(answer.slice(64)).toMatch(/ERROR.SUB sockets are not served here, use DEALER or REP/);

    worker.send([bytes("still here?")]);
    await stage.log.nth(`reply ${worker.id}`);
    expect([stage.log.all("rep-gone"), stage.log.all("message"), stage.log.all("gone")]) //
      .toEqual([[], [], []]);
  });

  it("that flood with half-open connections are bounded and lock nobody out", async () => {
    const port = await stage.start({ handshakesMax: 64, connectionsMax: 100 });
    for (let i = 0; i < 500; i++) stage.stranger().resume();
    while (port.refusalCounts.get("handshakes-max") !== 436) {
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect(port.connectionCount).toBe(64);
    stage.plainEcho();
    const worker = await stage.worker();
    worker.send([bytes("through")]);
    await stage.log.nth(`reply ${worker.id}`);
    expect(port.connectionCount).toBe(64);
  });

  it("above connectionsMax are refused until one leaves", async () => {
    const port = await stage.start({ connectionsMax: 2 });
    const first = stage.plainEcho();
    await stage.worker();
    const { peer } = await stage.dealer();
    stage.plainEcho();
    while (!port.refusalCounts.has("connections-max")) {
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect(port.connectionCount).toBe(2);
    first.close();
    await stage.worker(2);
    peer.destroy();
    await stage.log.nth("gone");
    expect(port.connectionCount).toBe(1);
  });

  it("of each endpoint are counted for themselves", async () => {
    const port = await stage.start({ connectionsMax: 1 });
    const other = await port.listen("tcp://127.0.0.1:0");
    await stage.dealer();
    const peer = connectTo(other);
    stage.onEnd(() => peer.destroy());
    peer.write(Buffer.concat([handshakeBytes("DEALER"), encodeMessage([bytes("too")])]));
    expect((await stage.log.nth<Buffer[]>("message", 2))[1]).toEqual(bytes("too"));
    expect(port.connectionCount).toBe(2);
  });
});

describe("a message", () => {
  const frame = (flags: number, size: number) => {
    const head = Buffer.alloc(9);
    head[0] = flags | 2;
    head.writeBigUInt64BE(BigInt(size), 1);
    return Buffer.concat([head, Buffer.alloc(size, 7)]);
  };

  it("may have 1024 frames, and as many bytes as may be", async () => {
    await stage.start({ messageBytesMax: 100_000 });
    const { peer, id } = await stage.dealer();
    const parts = Array.from({ length: 1024 }, (_, i) => Buffer.alloc(1, i));
    peer.write(encodeMessage(parts));
    expect(await stage.log.nth<Buffer[]>("message", 2)).toEqual([id, ...parts]);
    peer.write(Buffer.concat([frame(1, 60_000), frame(0, 40_000)]));
    const [, ...large] = await stage.log.nth<Buffer[]>("message", 3);
    expect(large.map(({ length }) => length)).toEqual([60_000, 40_000]);
    expect(refusals()).toEqual({});
  });

  it.each([
    ["of 1025 frames", encodeMessage(Array.from({ length: 1025 }, () => bytes("x")))],
    ["of a byte too many", frame(0, 100_001)],
    ["of frames too large together", Buffer.concat([frame(1, 60_000), frame(0, 40_001)])],
    ["that is announced too large", frame(0, 0).fill(0xff, 1)],
    ["that never ends, of nothing", Buffer.concat(Array(2000).fill(Buffer.from([1, 0])))],
    ["that never ends, of a lot", Buffer.concat(Array(4).fill(frame(1, 30_000)))],
  ])("%s ends its connection", async (_, sent) => {
    await stage.start({ messageBytesMax: 100_000 });
    const { peer, id } = await stage.dealer();
    const other = await stage.dealer();
    peer.write(sent);
    expect(await stage.log.nth("gone")).toEqual(id);
    await closed(peer);
    expect(refusals()).toEqual({ "message-too-large": 1 });
    other.peer.write(encodeMessage([bytes("unharmed")]));
    expect(await stage.log.nth("message", 3)).toEqual([other.id, bytes("unharmed")]);
  });

  it("that is not finished holds its bytes and not much more", async () => {
    await stage.start({ messageBytesMax: 16 * MiB });
    const peers = [];
    for (let i = 0; i < 50; i++) peers.push((await stage.dealer()).peer);
    const before = process.memoryUsage().arrayBuffers;
    const announced = frame(1, 0);
    announced.writeBigUInt64BE(BigInt(15 * MiB), 1);
    for (const peer of peers) {
      // Many small ones, then one of which nothing comes but its size.
      const small = encodeMessage(Array.from({ length: 501 }, () => Buffer.alloc(20, 1)));
      small[small.length - 22] = 1;
      peer.write(Buffer.concat([small, announced, Buffer.alloc(100)]));
    }
    // They have come when what others send behind them has.
    const { peer } = await stage.dealer();
    peer.write(encodeMessage([bytes("behind")]));
    await stage.log.nth("message", 52);
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(16 * MiB);
    expect(stage.port.connectionCount).toBe(51);
  });

  it.each([
    ["an ERROR", "\x04\x0a\x05ERROR\x03why", "peer-error"],
    ["no frame", "\x40\x00", "frame-malformed"],
    ["a PING cut short", "\x04\x05\x04PING", "frame-malformed"],
  ])("that is %s ends its connection", async (_, sent, reason) => {
    await stage.start();
    for (const socketType of ["DEALER", "REP"]) {
      const peer = stage.stranger();
      // In one piece with the handshake: what comes early is read too.
      peer.write(Buffer.concat([handshakeBytes(socketType), Buffer.from(sent, "latin1")]));
      await closed(peer);
    }
    await stage.log.nth("gone");
    await stage.log.nth("rep-gone");
    expect(refusals()).toEqual({ [reason]: 2 });
    expect(stage.port.connectionCount).toBe(0);
  });
});
