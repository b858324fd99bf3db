// What comes in while the process is busy: ZeroMQ tells of it once, and nobody may take that from the reader.

import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { Dealer, type Socket, XPublisher, type XSubscriber } from "zeromq";
import type { CurveChannel } from "../../build/broker/curve-channel.js";
import type { CurveGate } from "../../build/broker/curve-gate.js";
import { CurvePort } from "../../build/broker/curve-port.js";
import { PlainSockets } from "../../build/broker/plain-topics.js";
import { eventually } from "../system/processes.js";
import { message, Stage, workerHello } from "./fake-port.js";

const limits = {
  heartbeatIntervalMs: 60_000,
  heartbeatTimeoutMs: 120_000,
  handshakeTimeoutMs: 5000,
  messageBytesMax: 1024 * 1024,
};

const opened: { close(): unknown }[] = [];

afterEach(() => {
  for (const each of opened.splice(0)) each.close();
});

function kept<T extends { close(): unknown }>(it: T): T {
  opened.push(it);
  return it;
}

/** Nothing of this process runs for so long but ZeroMQ's own thread. */
function block(ms: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
}

/** A channel to whoever connects to `socket`, which has no keys here. */
function channelOf<S extends Socket>(socket: S) {
  socket.bindSync("tcp://127.0.0.1:*");
  const close = () => socket.close();
  return kept({ socket, close, refuse() {}, access: undefined }) as unknown as CurveChannel<S>;
}

describe("a port under CURVE", () => {
  const heard: string[][] = [];
  const plain: unknown[] = [];
  let port: CurvePort;
  let peer: Dealer;
  let onPeerGone: () => void;

  beforeEach(async () => {
    heard.length = 0;
    plain.length = 0;
    const onMessage = ([, ...frames]: Buffer[]) => heard.push(frames.map(String));
    port = new CurvePort(
      limits,
      { onMessage, onTurn() {}, onUnreachable() {} },
      {
        onPlainWorker: (worker) => plain.push(worker),
        onPlainReply() {},
        onPlainGone() {},
        onPlainMistaken() {},
      },
    );
    const socket = new Dealer({ linger: 0 });
    const channel = channelOf(socket) as CurveChannel<Dealer>;
    peer = kept(new Dealer({ linger: 0 }));
    peer.connect(socket.lastEndpoint as string);
    // The connection stands: from here on ZeroMQ needs nobody else to bring a message in.
    await peer.send("");
    await socket.receive();
    ({ onPeerGone } = port.add(channel));
  });

  it("reads the HELLO of a worker that came while the process was busy for longer than it waits", async () => {
    await peer.send(message(workerHello()));
    block(1200);
    await eventually("it is read", () => heard.length === 1);
    expect(plain).toEqual([]);
    await peer.send("more");
    await eventually("and what follows", () => heard.length === 2);
  });

  it("reads what a peer had sent when it is told that it is gone, then tells it", async () => {
    await peer.send("last");
    await peer.send("words");
    block(100);
    onPeerGone();
    await eventually("it is told", () => heard.length === 3);
    expect(heard).toEqual([["last"], ["words"], [""]]);
    onPeerGone();
  });

  it("tells at once that a peer is gone that had sent nothing", async () => {
    onPeerGone();
    await eventually("it is told", () => heard.length === 1);
    expect(heard).toEqual([[""]]);
  });
});

it("what a plain PUB said last is heard when it is gone, and its socket is closed", async () => {
  const stage = new Stage();
  let open!: (channel: CurveChannel<XSubscriber>) => { onPeerGone(): void };
  let make!: (security: object) => XSubscriber;
  const gate = {
    listenFor: async (
      endpoint: string,
      { makeSocket, onOpen }: { makeSocket: never; onOpen: never },
    ) => {
      [make, open] = [makeSocket, onOpen];
      return endpoint;
    },
  } as unknown as CurveGate;
  const sockets = await PlainSockets.listen(stage.exchange, {
    ...limits,
    xsub: ["tcp://127.0.0.1:1"],
    xpub: [],
    gate,
  });
  const channel = channelOf(make({}));
  const { onPeerGone } = open(channel);
  sockets.listen("news", true);
  const peer = kept(new XPublisher({ linger: 0 }));
  peer.connect(channel.socket.lastEndpoint as string);
  expect(String(await peer.receive())).toBe("\u0001news");
  await peer.send(["news", "last"]);
  await peer.send(["news", "words"]);
  block(100);
  onPeerGone();
  await eventually("it is closed", () => channel.socket.closed);
  expect(sockets.counts.heard).toBe(2);
  sockets.close();
});
