import { afterEach, expect, test } from "vitest";
import { Request } from "zeromq";
import { Broker, Client, Worker } from "../../build/index.js";
import { endAll, eventually, Party } from "./processes.js";

afterEach(endAll);

const loopback = { frontend: "tcp://127.0.0.1:0", backend: "tcp://127.0.0.1:0" };

async function ask(socket: Request, text: string): Promise<string[]> {
  await socket.send(text);
  return (await socket.receive()).map(String);
}

function requester(broker: Broker): Request {
  const socket = new Request({ linger: 0 });
  socket.connect(broker.frontend[0]);
  return socket;
}

test("a slow REP worker of three holds up nobody", async () => {
  await using broker = await Broker.start(loopback);
  for (const [name, delayMs] of Object.entries({ slow: 300, quick1: 0, quick2: 0 })) {
    await Party.start("worker", { brokers: broker.backend, name, delayMs, plain: true });
  }
  await eventually("all are there", () => broker.stats.workers === 3);
  const tally: Record<string, number> = {};
  let next = 0;
  const asker = async () => {
    const socket = requester(broker);
    for (let i = next++; i < 2000; i = next++) {
      const [answer] = await ask(socket, String(i));
      const [name, echo] = answer.split(" ");
      expect(echo).toBe(String(i));
      tally[name] = (tally[name] ?? 0) + 1;
    }
    socket.close();
  };
  await Promise.all([asker(), asker(), asker(), asker()]);
  expect(tally.slow + tally.quick1 + tally.quick2).toBe(2000);
  // Dealt in turn it would have a third.
  expect(tally.slow).toBeLessThan(100);
});

test("a REP worker that dies in mid-request has its request given to another", async () => {
  await using broker = await Broker.start(loopback);
  const options = { brokers: broker.backend, plain: true };
  const dying = await Party.start("worker", { ...options, name: "dying", delayMs: 60_000 });
  await eventually("it is there", () => broker.stats.workers === 1);
  const socket = requester(broker);
  const asking = ask(socket, "x");
  await dying.until("running");
  await Party.start("worker", { ...options, name: "other" });
  await dying.kill();
  expect(await asking).toEqual(["other x"]);
  expect(broker.stats.counts.redelivered).toBe(1);
  socket.close();
});

test("plain and native clients and workers mix", async () => {
  await using broker = await Broker.start(loopback);
  await using client = await Client.connect({ brokers: broker.frontend });
  const socket = requester(broker);

  const native = await Worker.start({
    brokers: broker.backend,
    services: {
      default: { raw: true, handler: (body: Uint8Array) => `native ${Buffer.from(body)}` },
    },
  });
  expect(await ask(socket, "q1")).toEqual(["native q1"]);
  const large = "x".repeat(100_000);
  expect(await ask(socket, large)).toEqual([`native ${large}`]);
  await native.drain();

  await Party.start("worker", { brokers: broker.backend, name: "rep", plain: true });
  expect(await ask(socket, "q2")).toEqual(["rep q2"]);
  const reply = await client.request<Uint8Array>("default", "q3", { raw: true });
  expect(Buffer.from(reply).toString()).toBe("rep q3");
  const bytes = new Uint8Array(100_000).fill(120);
  const echo = await client.request<Uint8Array>("default", bytes, { raw: true });
  expect(echo.length).toBe(100_004);
  socket.close();
});

test("a plain request that fails is told so: '' , status , reason", async () => {
  await using broker = await Broker.start({ ...loopback, limits: { absentWaitMs: 50 } });
  const socket = requester(broker);
  expect(await ask(socket, "x")).toEqual(["", "NOT_FOUND", 'no worker serves "default"']);
  // The socket goes on: the next request is answered as if nothing had been.
  await Party.start("worker", { brokers: broker.backend, name: "rep", plain: true });
  expect(await ask(socket, "y")).toEqual(["rep y"]);
  socket.close();
});
