// Plain PUSH and PULL sockets as the broker sees them: each by itself, however it behaves.
import { afterEach, beforeEach, expect, it } from "vitest";
import { Pull } from "zeromq";
import { type BrokerOptions, Client, type PushOptions } from "../../build/index.js";
import { eventually } from "../system/processes.js";
import { encodeMessage, handshakeBytes } from "../zmtp/zmtp-peer.js";
import { accessOf } from "./curve-keys.js";
import { type HandPeer, PlainStage } from "./plain-stage.js";

let stage: PlainStage;

beforeEach(() => {
  stage = new PlainStage();
});

afterEach(() => stage.end());

const counts = () => stage.broker.stats.tasks.counts;
const queue = () => stage.broker.stats.tasks.queues[0];
const refusals = (what: string) => stage.broker.stats.refusals[what] ?? 0;
const firsts = (peer: HandPeer) => peer.messages.map(([first]) => first);
const numbered = (count: number) =>
  Buffer.concat(Array.from({ length: count }, (_, i) => encodeMessage([Buffer.from(`${i}`)])));
const upTo = (count: number) => Array.from({ length: count }, (_, i) => `${i}`);

it("of a PUSH that is held up all is taken that was read with what filled the queue, in order", async () => {
  const { push, pull } = await stage.start({ tasks: { queueCountMax: 5 } });
  const pusher = await stage.peer(push, "PUSH");
  // In one piece, and then it is gone.
  pusher.socket.end(numbered(300));
  await eventually("the queue is full", () => queue()?.ready === 5);
  expect(counts()).toMatchObject({ pushed: 5, refused: 0 });
  const puller = await stage.peer(pull, "PULL");
  await eventually("it has all", () => puller.messages.length === 300);
  expect(firsts(puller)).toEqual(upTo(300));
});

it("while the queue is full no PUSH is read, and each has its turn when there is room", async () => {
  const { push, pull } = await stage.start({ tasks: { queueCountMax: 4 } });
  const pushers = [await stage.peer(push, "PUSH"), await stage.peer(push, "PUSH")];
  const body = "x".repeat(100_000);
  for (const [i, pusher] of pushers.entries()) {
    for (let k = 0; k < 300; k++) pusher.say(`${i}`, body);
  }
  await eventually("the queue is full", () => queue()?.ready === 4);
  // 30 MB each: what the system takes is less.
  for (const { socket } of pushers) expect(socket.writableLength).toBeGreaterThan(0);
  const puller = await stage.peer(pull, "PULL");
  await eventually("it has all", () => puller.messages.length === 600);
  expect(
    firsts(puller)
      .slice(10, 60)
      .filter((first) => first === "0").length,
  ).toBeGreaterThan(10);
  expect(
    firsts(puller)
      .slice(10, 60)
      .filter((first) => first === "1").length,
  ).toBeGreaterThan(10);
});

it("a PUSH that is held up is not taken for dead, though it said to be when it is silent for 100 ms", async () => {
  const { push, pull } = await stage.start({
    tasks: { queueCountMax: 1 },
    heartbeatIntervalMs: 30,
    heartbeatTimeoutMs: 60,
  });
  const pusher = await stage.peer(push, "PUSH");
  pusher.socket.write(Buffer.from("\x04\x07\x04PING\0\x01", "latin1"));
  await eventually("it is answered", () => pusher.commands.includes("PONG"));
  pusher.socket.write(numbered(3));
  await eventually("it is held up", () => queue()?.ready === 1);
  // Another that says the same later, and is not held up, is gone when its time is over.
  const silent = await stage.peer(push, "PUSH");
  silent.socket.write(Buffer.from("\x04\x07\x04PING\0\x01", "latin1"));
  await silent.closed();
  expect(refusals("silent")).toBe(1);
  const puller = await stage.peer(pull, "PULL");
  await eventually("all of the first is taken", () => puller.messages.length === 3);
});

it("each PULL is a worker, in turn", async () => {
  const { push, pull } = await stage.start();
  const pullers = [await stage.peer(pull, "PULL"), await stage.peer(pull, "PULL")];
  await eventually("both are there", () => stage.broker.stats.workers === 2);
  const pusher = await stage.peer(push, "PUSH");
  pusher.socket.write(numbered(100));
  const all = () => pullers.reduce((sum, { messages }) => sum + messages.length, 0);
  await eventually("all are done", () => all() === 100);
  for (const { messages } of pullers) expect(messages.length).toBeGreaterThan(40);
  pullers[0].socket.destroy();
  await eventually("one is left", () => stage.broker.stats.workers === 1);
});

it("what a PULL had in part when it died is another's, at once and whole", async () => {
  const { push, pull } = await stage.start();
  const dying = await stage.peer(pull, "PULL");
  dying.socket.pause();
  const pusher = await stage.peer(push, "PUSH");
  // More than the system takes for one that does not read.
  const part = Buffer.alloc(5_000_000, "x");
  pusher.say("large", part, part, part);
  await eventually("it is under way", () => queue()?.inFlight === 1);
  dying.socket.resetAndDestroy();
  const other = await stage.peer(pull, "PULL");
  await eventually("another has it", () => other.messages.length === 1);
  expect(other.messages[0].map(({ length }) => length)).toEqual([5, ...Array(3).fill(5_000_000)]);
  expect(counts()).toMatchObject({ pushed: 1, done: 1, failed: 0, retried: 0 });
});

/** A PULL that does not read, with a task in part that is more than the system takes for it. */
async function stuckPull(options: BrokerOptions, push: PushOptions) {
  const { frontend, pull } = await stage.start(options);
  const peer = await stage.peer(pull, "PULL");
  peer.socket.pause();
  const client = await Client.connect({ brokers: frontend });
  stage.onEnd(() => client.close({ timeoutMs: 0 }));
  await client.push("default", Buffer.alloc(15_000_000, "x"), { raw: true, ...push });
  await eventually("it is under way", () => queue()?.inFlight === 1);
  return peer;
}

it("what a PULL has in part is not done, however long it takes nothing, and another's when it dies", async () => {
  const dying = await stuckPull({}, {});
  // It counts as none, and no more is given to it.
  await eventually("it is stuck", () => queue()?.isServed === false);
  expect(counts().done).toBe(0);
  dying.socket.resetAndDestroy();
  await eventually("it is gone", () => stage.broker.stats.workers === 0);
  const other = await stage.peer(stage.broker.pull, "PULL");
  await eventually("another has it", () => other.messages.length === 1);
  expect(other.messages[0][0]).toHaveLength(15_000_000);
  expect(counts()).toMatchObject({ done: 1, failed: 0 });
});

it("a PULL that was stuck gets the rest of its task and is a worker again", async () => {
  const stuck = await stuckPull({}, {});
  await eventually("it is stuck", () => queue()?.isServed === false);
  stuck.socket.resume();
  await eventually("it has it", () => counts().done === 1);
  const pusher = await stage.peer(stage.broker.push, "PUSH");
  pusher.say("more");
  await eventually("it gets more", () => stuck.messages.length === 2);
  expect(stuck.messages[0][0]).toHaveLength(15_000_000);
  expect(stage.broker.stats.workers).toBe(1);
});

it("an attempt that is over while a PULL has the task in part is another's alone", async () => {
  const tasks = { backoffMsMin: 5, backoffMsMax: 20 };
  // Long enough for the other to take it in time, on a slow day too.
  const slow = await stuckPull({ tasks }, { attemptTimeoutMs: 2000 });
  const other = await stage.peer(stage.broker.pull, "PULL");
  await eventually("another has it", () => other.messages.length === 1);
  // It reads what there is, and then its connection is over.
  await slow.closed();
  expect(slow.messages).toEqual([]);
  expect(counts()).toMatchObject({ done: 1, failed: 1, retried: 1 });
  expect(stage.broker.stats.workers).toBe(1);
});

it.each([
  ["PULL", "push", "PUSH"],
  ["DEALER", "push", "PUSH"],
  ["PUSH", "pull", "PULL"],
  ["SUB", "pull", "PULL"],
] as const)(
  "a %s at the port for %s is refused, and told what is served",
  async (type, port, served) => {
    const broker = await stage.start();
    const peer = stage.stranger(broker[port], handshakeBytes(type), { isRead: false });
    await peer.closed();
    const told = `${type} sockets are not served here, use ${served}`;
    expect(peer.bytes.toString("latin1")).toContain(told);
    expect(refusals("socket-type")).toBe(1);
  },
);

it("a PULL has nothing to say, and little of it", async () => {
  const { push, pull } = await stage.start();
  const puller = await stage.peer(pull, "PULL");
  puller.say("anything", "at all");
  const pusher = await stage.peer(push, "PUSH");
  pusher.say("task");
  await eventually("it is served all the same", () => puller.messages.length === 1);
  puller.say("x".repeat(769));
  await puller.closed();
  expect(refusals("message-too-large")).toBe(1);
});

it("all parts of a message together are bounded", async () => {
  const { push } = await stage.start({ limits: { recordBytesMax: 65_536 } });
  const pusher = await stage.peer(push, "PUSH");
  pusher.say(...Array.from({ length: 20 }, () => Buffer.alloc(60_000)));
  await pusher.closed();
  expect(refusals("message-too-large")).toBe(1);
  expect(counts().pushed).toBe(0);
});

it("a flood that ends in death ends nobody but who sent it", async () => {
  const { push, frontend } = await stage.start({ tasks: { queueCountMax: 10 } });
  const client = await Client.connect({ brokers: frontend });
  stage.onEnd(() => client.close({ timeoutMs: 0 }));
  const ping = Buffer.from("\x04\x07\x04PING\0\x01", "latin1");
  const pusher = await stage.peer(push, "PUSH");
  pusher.socket.write(Buffer.concat([ping, Buffer.alloc(280_000), ping]));
  await eventually("the queue is full", () => queue()?.ready === 10);
  pusher.socket.resetAndDestroy();
  const puller = stage.kept(new Pull({ linger: 0 }));
  puller.connect(stage.broker.pull as string);
  for (let i = 0; i < 10; i++) expect(await puller.receive()).toHaveLength(1);
  await client.push("other", 1);
});

it("under CURVE one without the right is held for a second, and cut off without a word", async () => {
  const access = accessOf({ client: { pull: ["*"] }, worker: { push: ["*"] } });
  const { broker, events } = await stage.startSecure(access, { connectionsMax: 1 });
  const startMs = performance.now();
  const { peer, welcomeEnd } = await stage.curvePeer(broker.push, "PUSH", "client");
  await eventually("it is denied", () => refusals("denied") === 1);
  // It takes its place meanwhile.
  const { socket } = stage.stranger(broker.push, Buffer.alloc(0));
  await new Promise((resolve) => socket.once("close", resolve));
  expect(refusals("connections-max")).toBe(1);
  await peer.closed();
  expect(performance.now() - startMs).toBeGreaterThan(900);
  expect(peer.bytes.length).toBe(welcomeEnd);
  expect(events).toMatchObject([{ what: "denied", name: "client" }]);
  // And has left it again.
  const granted = await stage.curvePeer(broker.push, "PUSH", "worker");
  await eventually("READY", () => granted.peer.bytes.length > granted.welcomeEnd);
});

it("a message that can never fit the queue is dropped, and holds up no PUSH", async () => {
  const { push, pull } = await stage.start({ tasks: { queueBytesMax: 100_000 } });
  const pushers = [await stage.peer(push, "PUSH"), await stage.peer(push, "PUSH")];
  pushers[0].say("large", Buffer.alloc(100_000));
  pushers[0].say("0");
  // Frames cost more than their bytes.
  pushers[1].say(...Array.from({ length: 255 }, () => "x".repeat(300)));
  pushers[1].say("1");
  const puller = await stage.peer(pull, "PULL");
  await eventually("what fits is done", () => puller.messages.length === 2);
  expect(new Set(firsts(puller))).toEqual(new Set(["0", "1"]));
  expect(stage.broker.stats.faults.malformed).toBe(2);
  expect(counts()).toMatchObject({ pushed: 2, refused: 0 });
});
