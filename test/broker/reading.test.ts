// What comes in while the process is busy: ZeroMQ tells of it once, and nobody may take that from the reader.

import { afterEach, expect, it } from "vitest";
import { type Socket, XPublisher, type XSubscriber } from "zeromq";
import type { CurveChannel } from "../../build/broker/curve-channel.js";
import type { CurveGate } from "../../build/broker/curve-gate.js";
import { PlainSockets } from "../../build/broker/plain-topics.js";
import { eventually } from "../system/processes.js";
import { Stage } from "./fake-port.js";

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
