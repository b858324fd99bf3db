// Found by `npm run chaos -- --seed 11`: libzmq 4.3.5 aborts the process when a heartbeat falls due for a
// peer of which more waits unread than the high-water mark and that is gone: "Assertion failed: !_io_error
// (stream_engine_base.cpp:310)".
import { once } from "node:events";
import { expect, it } from "vitest";
import { connectTo, encodeMessage, handshakeBytes } from "../zmtp/zmtp-peer.js";
import { clientHello, message } from "./fake-port.js";
import { BrokerProcess } from "./processes.js";

const PEERS = 20;
/** What a client has in flight at most is 32768; 64 unread were enough to end the broker. */
const MESSAGES = 2000;

it.each(["frontend", "backend"] as const)(
  "a broker that lags survives peers at its %s that flood it and die meanwhile",
  async (end) => {
    const broker = await BrokerProcess.start();
    const sockets = Array.from({ length: PEERS }, () => connectTo(broker[end]));
    for (const socket of sockets) {
      socket.write(handshakeBytes("DEALER"));
      // Its greeting and READY: from here on its thread for I/O reads without the event loop.
      await once(socket, "data");
    }
    const flood = Buffer.concat(
      Array.from({ length: MESSAGES }, () => encodeMessage(message(clientHello()) as Buffer[])),
    );
    await broker.block();
    for (const socket of sockets) {
      await new Promise((resolve) => socket.write(flood, resolve));
      socket.resetAndDestroy();
    }
    await broker.until(({ clients, workers }) => clients === 0 && workers === 0);
    expect(broker.ended).toBeUndefined();
    await broker.close();
  },
);
