// Client credit through all the rooms: load is held back in the client, and not for ever.
import { expect, it } from "vitest";
import { Broker, Client, RequestError, Worker } from "../../build/index.js";
import { eventually } from "./processes.js";

it("holds load back in the client, which gives up what it cannot send in half its time", async () => {
  const broker = await Broker.start({
    frontend: "tcp://127.0.0.1:0",
    backend: "tcp://127.0.0.1:0",
    // Refusing by waits is not what this is about.
    limits: { codelTargetMs: 20, codelIntervalMs: 60_000, queueShortCount: 4 },
  });
  let open: () => void = () => {};
  let gate = Promise.resolve();
  const worker = await Worker.start({
    brokers: [...broker.backend],
    concurrency: 1,
    services: { gated: () => gate },
  });
  const client = await Client.connect({ brokers: [...broker.frontend] });
  const ask = (timeoutMs: number) =>
    client.request("gated", 1, { timeoutMs }).then(
      () => "reply",
      (error) => (error instanceof RequestError ? error.message : String(error)),
    );
  // Until the broker knows how fast the service is.
  const knownMs = performance.now() + 300;
  while (performance.now() < knownMs) await ask(10_000);

  gate = new Promise((resolve) => {
    open = resolve;
  });
  const asked = Array.from({ length: 2000 }, () => ask(30_000));
  await eventually("the client is told to hold back", () => {
    const { sent } = client.stats;
    asked.push(ask(30_000));
    return client.stats.sent === sent;
  });
  const inBroker = client.stats.sent;
  const short = Array.from({ length: 5 }, () => ask(6000));
  const halfMs = performance.now() + 3000;
  await eventually("half of their time is over", () => performance.now() > halfMs);
  expect(client.stats.sent).toBe(inBroker);
  gate = Promise.resolve();
  open();
  const held =
    "RESOURCE_EXHAUSTED: held back for half its time: the broker has more than it can do";
  expect(new Set(await Promise.all(short))).toEqual(new Set([held]));
  expect(new Set(await Promise.all(asked))).toEqual(new Set(["reply"]));
  // What was given up never reached the broker.
  expect(broker.stats.counts.requests).toBe(client.stats.sent);
  expect(client.stats.pending).toBe(0);
  await client.close();
  await worker.close();
  await broker.close();
});
