// Plain PUB and SUB sockets as the broker sees them: each by itself, however it behaves.
import { existsSync, readdirSync } from "node:fs";
import { afterEach, beforeEach, expect, it } from "vitest";
import { Subscriber } from "zeromq";
import { Client } from "../../build/index.js";
import { eventually } from "../system/processes.js";
import { encodeMessage, handshakeBytes } from "../zmtp/zmtp-peer.js";
import { accessOf, curveOf, socketKeys } from "./curve-keys.js";
import { type HandPeer, PlainStage, plainCounts } from "./plain-stage.js";

let stage: PlainStage;

beforeEach(() => {
  stage = new PlainStage();
});

afterEach(() => stage.end());

const plain = () => plainCounts(stage.broker);
const refusals = (what: string) => stage.broker.stats.refusals[what] ?? 0;
const texts = (peer: HandPeer) => peer.messages.map((parts) => parts.join("|"));
const tell = (what: string, prefix: string) => {
  const body = Buffer.from(`${String.fromCharCode(what.length)}${what}${prefix}`, "latin1");
  return Buffer.concat([Buffer.from([4, body.length]), body]);
};

it.each([
  ["messages", (peer: HandPeer, prefix: string) => peer.say(`\x01${prefix}`), "\0"],
  [
    "commands",
    (peer: HandPeer, prefix: string) => peer.socket.write(tell("SUBSCRIBE", prefix)),
    undefined,
  ],
])("a SUB asks and takes back by %s, and is told what begins so, once", async (_, ask, zero) => {
  const { xpub, xsub } = await stage.start();
  const sub = await stage.peer(xpub[0], "SUB");
  for (const prefix of ["a", "ab", "ab", ""]) ask(sub, prefix);
  await eventually("it has asked", () => plain().prefixes === 3);
  const pub = await stage.peer(xsub[0], "PUB");
  pub.say("abc", "1", "", "x".repeat(300));
  await eventually("it is told", () => sub.messages.length === 1);
  if (zero === undefined) sub.socket.write(tell("CANCEL", ""));
  else sub.say(zero);
  await eventually("one is taken back", () => plain().prefixes === 2);
  pub.say("b", "for nobody");
  pub.say("a", "2");
  await eventually("it is told", () => sub.messages.length === 2);
  expect(texts(sub)).toEqual([`abc|1||${"x".repeat(300)}`, "a|2"]);
  expect(plain()).toMatchObject({ heard: 3, told: 2, dropped: 0 });
});

it("a PUB and a SUB of ZMTP 2.0 are served", async () => {
  const { xpub, xsub } = await stage.start();
  // Signature, revision 1, the type, an identity.
  const head = (type: number) =>
    Buffer.concat([
      Buffer.from("ff00000000000000017f01", "hex"),
      Buffer.of(type, 0, 2),
      Buffer.from("id"),
    ]);
  // To it goes: signature, revision, type; an identity of no bytes, which is read as a message.
  const sub = stage.stranger(xpub[0], head(2), { greetingSize: 12 });
  const pub = stage.stranger(xsub[0], head(1), { greetingSize: 12 });
  sub.say("\x01news");
  await eventually("the PUB is asked", () => texts(pub).includes("\x01news"));
  pub.say("news.x", "old");
  await eventually("the SUB is told", () => sub.messages.length === 2);
  expect(texts(sub)).toEqual(["", "news.x|old"]);
});

it("a SUB is asked whether it is there if it knows PING, and no PUB is: its program may say nothing", async () => {
  const { xpub, xsub } = await stage.start({ heartbeatIntervalMs: 30, heartbeatTimeoutMs: 60 });
  const pub = await stage.peer(xsub[0], "PUB");
  const handshake = handshakeBytes("SUB");
  // The minor version: of ZMTP 3.0, whose SUBs may take for a message what they do not know.
  handshake[11] = 0;
  const old = stage.stranger(xpub[0], handshake);
  const sub = await stage.peer(xpub[0], "SUB");
  await sub.closed();
  expect(sub.commands).toContain("PING");
  expect(refusals("silent")).toBe(1);
  old.say("\x01a");
  await eventually("it has asked", () => plain().prefixes === 1);
  pub.say("a", "still here");
  await eventually("it is told", () => old.messages.length === 1);
  expect(old.commands).toEqual(["READY"]);
  expect(pub.commands).toEqual(["READY"]);
});

it.each([
  ["PUB", "xpub"],
  ["SUB", "xsub"],
  ["PULL", "xsub"],
  ["DEALER", "xpub"],
] as const)("a %s at %s is refused, and told what is served", async (socketType, port) => {
  const broker = await stage.start();
  const peer = stage.stranger(broker[port][0], handshakeBytes(socketType), { isRead: false });
  await peer.closed();
  const served = port === "xpub" ? "SUB" : "PUB";
  expect(peer.bytes.toString("latin1")).toContain(
    `${socketType} sockets are not served here, use ${served}`,
  );
  expect(refusals("socket-type")).toBe(1);
});

it("what a PUB says last is heard when it is gone", async () => {
  const { xsub, xpub } = await stage.start();
  const sub = await stage.peer(xpub[0], "SUB");
  sub.say("\x01");
  await eventually("it has asked", () => plain().prefixes === 1);
  const pub = await stage.peer(xsub[0], "PUB");
  const last = Array.from({ length: 100 }, (_, i) => encodeMessage([Buffer.from(`last ${i}`)]));
  pub.socket.end(Buffer.concat(last));
  await eventually("all is told", () => sub.messages.length === 100);
  expect(texts(sub).at(-1)).toBe("last 99");
});

it("one that says more than any mark has room for, and dies, ends nobody but itself", async () => {
  const { xsub, frontend } = await stage.start();
  const client = await Client.connect({ brokers: frontend });
  stage.onEnd(() => client.close({ timeoutMs: 0 }));
  const pub = await stage.peer(xsub[0], "PUB");
  // A heartbeat of its own with 100 ms to live, behind more messages than libzmq had room for at the broker.
  const count = 140_000;
  const ping = Buffer.from("\x04\x07\x04PING\0\x01", "latin1");
  pub.socket.write(Buffer.concat([ping, Buffer.alloc(2 * count), ping]));
  await eventually("all is heard", () => plain().heard === count);
  pub.socket.resetAndDestroy();
  expect(await client.publish("still.here", 1, { confirm: true })).toBe(0);
});

it.each([
  ["in all", [60_000, 60_000]],
  ["in one part", [120_000]],
])("a message of too many bytes %s ends its connection", async (_, sizes) => {
  const limits = { recordBytesMax: 65_536 };
  const { xsub } = await stage.start({ limits });
  const pub = await stage.peer(xsub[0], "PUB");
  // A MiB beside the record is let through.
  const parts = sizes.flatMap((size) => Array.from({ length: 10 }, () => Buffer.alloc(size)));
  pub.socket.write(encodeMessage(parts));
  await pub.closed();
  expect(refusals("message-too-large")).toBe(1);
  expect(plain().heard).toBe(0);
});

it("without CURVE too one SUB has no more prefixes than one client has subscriptions", async () => {
  const limits = { clientSubscriptionsMax: 3, subscriptionsMax: 5 };
  const { xpub } = await stage.start({ limits });
  const greedy = await stage.peer(xpub[0], "SUB");
  for (let i = 0; i < 1000; i++) greedy.say(`\x01greedy${i}`);
  await eventually("the rest is refused", () => plain().prefixesRefused === 997);
  const modest = await stage.peer(xpub[0], "SUB");
  modest.say("\x01m1");
  modest.say("\x01m2");
  await eventually("another has room", () => plain().prefixes === 5);
  // What was refused is not there to be taken back, and its connection stands.
  greedy.say("\0greedy500");
  greedy.say("\0greedy0");
  await eventually("one is taken back", () => plain().prefixes === 4);
  greedy.socket.destroy();
  await eventually("with it go the rest", () => plain().prefixes === 2);
});

it("a SUB that does not read misses what comes beyond 1000 messages, and nobody else does", async () => {
  const { xpub, xsub } = await stage.start({ heartbeatTimeoutMs: 60_000 });
  const [slow, quick] = [await stage.peer(xpub[0], "SUB"), await stage.peer(xpub[0], "SUB")];
  slow.socket.pause();
  for (const sub of [slow, quick]) sub.say("\x01n");
  await eventually("both have asked", () => plain().prefixes === 1);
  const pub = await stage.peer(xsub[0], "PUB");
  const body = "x".repeat(4000);
  let count = 0;
  await eventually("some are lost to it", () => {
    for (let i = 0; i < 100; i++) pub.say("n", `${count++} ${body}`);
    return plain().dropped > 500;
  });
  await eventually("the other has all", () => quick.messages.length === count);
  expect(plain().dropped).toBeLessThan(count);
  const lost = plain().dropped;
  slow.socket.resume();
  await eventually("it has the rest", () => slow.messages.length === count - lost);
  // In order: what was lost is the newest, behind 1000 that waited.
  const numbers = slow.messages.map(([, text]) => Number.parseInt(text, 10));
  expect(numbers).toEqual(Array.from({ length: count - lost }, (_, i) => i));
  pub.say("n", "again");
  await eventually("it hears again", () => slow.messages.at(-1)?.[1] === "again");
});

const fdCount = () => readdirSync("/proc/self/fd").length;

it.runIf(existsSync("/proc/self/fd"))("under CURVE a connection costs one descriptor", async () => {
  const { broker } = await stage.startSecure(accessOf({ client: { subscribe: [">"] } }));
  const open = async (count: number) => {
    for (let i = 0; i < count; i++) {
      const { peer, welcomeEnd } = await stage.curvePeer(broker.xpub[0], "SUB", "client");
      await eventually("it has READY", () => peer.bytes.length > welcomeEnd);
    }
  };
  await open(1);
  const before = fdCount();
  await open(20);
  // One of the peer's, in this process too.
  expect(fdCount() - before).toBe(40);
});

it("under CURVE many SUBs hear what one of libzmq's does", async () => {
  const access = accessOf({ client: { subscribe: [">"], publish: [">"] } });
  const { broker } = await stage.startSecure(access);
  const subs = Array.from({ length: 3 }, () => {
    const sub = stage.kept(new Subscriber({ ...socketKeys("client"), linger: 0 }));
    sub.connect(broker.xpub[0]);
    sub.subscribe("t");
    return sub;
  });
  // Each of them alone: they ask for the same.
  const client = await Client.connect({ brokers: broker.frontend, curve: curveOf("client") });
  stage.onEnd(() => client.close({ timeoutMs: 0 }));
  const heard = subs.map(() => [] as string[]);
  for (const [i, sub] of subs.entries()) {
    const read = async () => {
      for await (const [, body] of sub) heard[i].push(`${body.length}`);
    };
    read().catch(() => {});
  }
  await eventually("all are told", async () => {
    await client.publish("t.first", Buffer.alloc(1), { raw: true });
    return heard.every(({ length }) => length > 0);
  });
  const sizes = [3, 20_000, 300_000, 0, 70_000];
  for (const size of sizes) await client.publish("t.x", Buffer.alloc(size, 5), { raw: true });
  await eventually("all have all", () => heard.every((each) => each.at(-1) === "70000"));
  for (const each of heard) expect(each.slice(-5)).toEqual(sizes.map(String));
});
