// Plain PUSH and PULL sockets beside native clients and workers.
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { afterEach, expect, test } from "vitest";
import { Pull, Push } from "zeromq";
import { Broker, type BrokerOptions, Client, Worker } from "../../build/index.js";
import { endAll, eventually } from "./processes.js";

const any = "tcp://127.0.0.1:0";
const closers: (() => unknown)[] = [];

afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
  await endAll();
});

async function start(options: Partial<BrokerOptions> = {}) {
  const tasks = { backoffMsMin: 5, backoffMsMax: 20, ...options.tasks };
  const broker = await Broker.start({
    frontend: any,
    backend: any,
    push: any,
    pull: any,
    ...options,
    tasks,
  });
  closers.push(() => broker.close({ timeoutMs: 0 }));
  return broker;
}

function pusher(broker: Broker, highWaterMark = 1000): Push {
  const socket = new Push({ linger: 0, sendHighWaterMark: highWaterMark });
  socket.connect(broker.push ?? "");
  closers.push(() => socket.close());
  return socket;
}

/** A PULL socket and what it gets. */
function puller(broker: Broker): string[] {
  const socket = new Pull({ linger: 0 });
  socket.connect(broker.pull ?? "");
  const got: string[] = [];
  const read = async () => {
    for await (const frames of socket) got.push(frames.map(String).join("|"));
  };
  void read().catch(() => {});
  closers.push(() => socket.close());
  return got;
}

test("what PUSH sockets send reaches PULL sockets, frames and all", async () => {
  const broker = await start();
  const push = pusher(broker);
  const large = "x".repeat(20_000);
  await push.send("one");
  await push.send(["two", "", "frames"]);
  await push.send([large, large]);
  await eventually("they wait", () => broker.stats.tasks.queues[0]?.ready === 3);
  const got = puller(broker);
  await eventually("all are there", () => got.length === 3);
  expect(got).toEqual(["one", "two||frames", `${large}|${large}`]);
  expect(broker.stats.tasks.counts).toMatchObject({ pushed: 3, done: 3, failed: 0 });
});

test("native workers take part, and native pushes reach PULL sockets as they are", async () => {
  const broker = await start();
  const push = pusher(broker);
  const client = await Client.connect({ brokers: broker.frontend });
  closers.push(() => client.close());
  const seen: string[] = [];
  const worker = await Worker.start({
    brokers: broker.backend,
    queues: {
      default: {
        handler: (task: Uint8Array) => void seen.push(Buffer.from(task).toString()),
        raw: true,
      },
    },
  });
  for (let i = 0; i < 10; i++) await push.send(`p${i}`);
  await eventually("the worker has all", () => seen.length === 10);
  await worker.drain();
  const got = puller(broker);
  await client.push("default", "raw", { raw: true });
  await eventually("the PULL has it", () => got.length === 1);
  expect(got).toEqual(["raw"]);
  expect(broker.stats.tasks.counts).toMatchObject({ done: 11, failed: 0 });
});

test("a worker that fails plain tasks makes dead letters of them", async () => {
  const broker = await start({ tasks: { attemptsDefault: 2 } });
  const push = pusher(broker);
  const fail = () => {
    throw new Error("no");
  };
  const worker = await Worker.start({
    brokers: broker.backend,
    queues: { default: { handler: fail, raw: true } },
  });
  closers.push(() => worker.close());
  await push.send("bad");
  await eventually("it is dead", () => broker.stats.tasks.queues[0]?.dead === 1);
  expect(broker.stats.tasks.counts).toMatchObject({ failed: 2, dead: 1 });
});

test("PUSH sockets are held up while the queue is full, and nothing is lost", async () => {
  const broker = await start({ tasks: { queueCountMax: 50 } });
  const push = pusher(broker, 10);
  const count = 3000;
  let sent = 0;
  // Large enough for the network's own buffers to fill.
  const body = "y".repeat(10_000);
  const sending = (async () => {
    for (; sent < count; sent++) await push.send(`${sent} ${body}`);
  })();
  await eventually("the queue is full", () => broker.stats.tasks.queues[0]?.ready === 50);
  let before = -1;
  await eventually("the sender waits", async () => {
    const isStill = sent === before && sent > 50;
    before = sent;
    await new Promise((resolve) => setTimeout(resolve, 100));
    return isStill && sent === before;
  });
  expect(sent).toBeLessThan(count);
  expect(broker.stats.tasks.counts).toMatchObject({ pushed: 50, refused: 0 });
  const got = puller(broker);
  await sending;
  await eventually("all are there", () => got.length === count);
  expect(got.every((each, i) => each.startsWith(`${i} `))).toBe(true);
  expect(broker.stats.tasks.counts).toMatchObject({ pushed: count, done: count, refused: 0 });
});

test("PULL sockets that come and go leave tasks to the next", async () => {
  const broker = await start();
  const push = pusher(broker);
  const first = new Pull({ linger: 0 });
  first.connect(broker.pull ?? "");
  await push.send("a");
  expect(String(await first.receive())).toBe("a");
  await eventually("it is known", () => broker.stats.workers === 1);
  first.close();
  await eventually("it is gone", () => broker.stats.workers === 0);
  await push.send("b");
  await eventually("it waits", () => broker.stats.tasks.queues[0]?.ready === 1);
  const got = puller(broker);
  await eventually("the next has it", () => got.length === 1);
  expect(got).toEqual(["b"]);
});

test("connections that never say what they are take no PULL socket away", async () => {
  const broker = await start();
  const push = pusher(broker);
  const pull = new Pull({ linger: 0 });
  closers.push(() => pull.close());
  pull.connect(broker.pull ?? "");
  await push.send("before");
  expect(String(await pull.receive())).toBe("before");
  const port = Number(broker.pull?.split(":")[2]);
  const greeting = Buffer.alloc(64);
  greeting.set([0xff, 0, 0, 0, 0, 0, 0, 0, 1, 0x7f, 3]);
  greeting.write("NULL", 12);
  // A frame as large as none is: libzmq tells nothing but that it was cut off.
  const huge = Buffer.alloc(9);
  huge.set([6, 0x40]);
  for (const said of ["", "GET / HTTP/1.1\r\n\r\n", greeting, Buffer.concat([greeting, huge])]) {
    const socket: Socket = connect(port, "127.0.0.1");
    socket.on("error", () => {});
    await once(socket, "connect");
    if (said.length > 0) socket.write(said);
    // The last is cut off by the broker; of the others there is no sign when it has noticed.
    if (said.length > 64) await once(socket.resume(), "close");
    socket.destroy();
  }
  for (let i = 0; i < 20; i++) {
    await push.send(`after ${i}`);
    expect(String(await pull.receive())).toBe(`after ${i}`);
  }
  expect(broker.stats.workers).toBe(1);
  pull.close();
  await eventually("it is gone", () => broker.stats.workers === 0);
});

test("neither is there unless asked for", async () => {
  const broker = await start({ push: undefined, pull: undefined });
  expect([broker.push, broker.pull]).toEqual([undefined, undefined]);
  await expect(start({ push: "udp://1.2.3.4:5" })).rejects.toThrow(/push/);
  const other = await start();
  await expect(start({ push: other.push })).rejects.toThrow(String(other.push));
});
