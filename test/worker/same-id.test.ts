// Who asks under the id of another request, for another service, gets nothing of it: an id is only a number, and
// those who serve have seen it.
import { expect, test } from "vitest";
import { Broker, Worker } from "../../build/index.js";
import { Flag } from "../../build/wire/layout.js";
import { clientHello, request } from "../broker/fake-port.js";
import { RawPeer } from "../broker/processes.js";
import { eventually } from "../system/processes.js";

const loopback = { frontend: "tcp://127.0.0.1:0", backend: "tcp://127.0.0.1:0" };
const isEnd = (({ kind }: { kind: string }) => kind === "REPLY" || kind === "FAILURE") as never;

/** Asks `service` under an id that all use, over a connection of its own, and gives how it ended. */
async function ask(broker: Broker, service: string) {
  const peer = new RawPeer(broker.frontend[0]);
  await peer.say(clientHello(), request(1, { flags: Flag.RAW, service }));
  return { peer, end: peer.receive(isEnd) };
}

test("a reply that is remembered is that of its service alone", async () => {
  await using broker = await Broker.start(loopback);
  const ran: string[] = [];
  const handler = (name: string) => ({
    raw: true,
    handler: () => {
      ran.push(name);
      return name;
    },
  });
  await using _worker = await Worker.start({
    brokers: broker.backend,
    services: { open: handler("open"), closed: handler("closed") },
  });
  for (const service of ["open", "closed", "open", "closed"]) {
    const { peer, end } = await ask(broker, service);
    expect(await end).toMatchObject({
      kind: "REPLY",
      body: [Buffer.from(service).toString("hex")],
    });
    peer.close();
    await eventually("it is gone", () => broker.stats.clients === 0);
  }
  // Of one id the latest is remembered, which is the other's each time.
  expect(ran).toEqual(["open", "closed", "open", "closed"]);
});

test("a request that runs is not taken over by one for another service", async () => {
  await using broker = await Broker.start(loopback);
  let release: ((reply: string) => void) | undefined;
  await using _worker = await Worker.start({
    brokers: broker.backend,
    services: {
      slow: { raw: true, handler: () => new Promise<string>((resolve) => (release = resolve)) },
      open: { raw: true, handler: () => "open" },
    },
  });
  const slow = await ask(broker, "slow");
  await eventually("it runs", () => release !== undefined);
  const other = await ask(broker, "open");
  expect(await other.end).toMatchObject({
    kind: "FAILURE",
    status: 3,
    reason: "another request has this id",
  });
  release?.("done");
  expect(await slow.end).toMatchObject({ kind: "REPLY" });
  slow.peer.close();
  other.peer.close();
});

test("a reply that is remembered and larger than another broker takes is refused there, and the connection stays", async () => {
  await using one = await Broker.start(loopback);
  await using other = await Broker.start({ ...loopback, limits: { recordBytesMax: 64 * 1024 } });
  const downs: unknown[] = [];
  let runCount = 0;
  await using _worker = await Worker.start({
    brokers: [...one.backend, ...other.backend],
    services: {
      large: {
        raw: true,
        handler: () => {
          runCount++;
          return new Uint8Array(3 * 1024 * 1024);
        },
      },
    },
    onConnection: (event) => event.state === "down" && downs.push(event),
  });
  await eventually("it is at both", () => one.stats.workers + other.stats.workers === 2);
  const first = await ask(one, "large");
  expect(await first.end).toMatchObject({ kind: "REPLY" });
  const again = await ask(other, "large");
  expect(await again.end).toMatchObject({
    kind: "FAILURE",
    status: 13,
    reason: expect.stringMatching(/^reply of 31\d+ bytes; the broker takes 65536/),
  });
  expect(runCount).toBe(1);
  expect(downs).toEqual([]);
  first.peer.close();
  again.peer.close();
});
