// Departures while the broker is busy, behind more than it has read.
import { expect, it } from "vitest";
import { Broker } from "../../build/broker/broker.js";
import { clientHello } from "./fake-port.js";
import { RawPeer } from "./processes.js";

const cancel = {
  kind: "CANCEL",
  session: "1122334455667788",
  sequence: "1",
  slot: 0,
  generation: 0,
  status: 1,
};
const PEERS = 10;
const MESSAGES = 63;

it("peers that leave with much unread are found out", async () => {
  const broker = await Broker.start({
    frontend: "tcp://127.0.0.1:*",
    backend: "tcp://127.0.0.1:*",
  });
  const peers = Array.from(
    { length: PEERS },
    () => new RawPeer(broker.frontend[0], { linger: -1 }),
  );
  for (const peer of peers) {
    await peer.say(clientHello());
    expect(await peer.receive()).toMatchObject({ kind: "WELCOME" });
  }
  expect(broker.stats.clients).toBe(PEERS);
  // The broker, in this very thread, reads nothing meanwhile.
  for (const peer of peers) {
    for (let i = 0; i < MESSAGES; i++) void peer.say(cancel);
    peer.close();
  }
  const endMs = performance.now() + 300;
  while (performance.now() < endMs);
  for (let i = 0; i < 500 && broker.stats.clients > 0; i++) {
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  expect(broker.stats.clients).toBe(0);
  expect(await broker.close()).toBe(true);
});
