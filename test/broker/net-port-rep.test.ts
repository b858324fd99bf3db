// REP sockets at a port: each over the connection that it made.
import { afterEach, beforeEach, expect, it } from "vitest";
import type { PlainWorker } from "../../build/broker/plain-worker.js";
import { encodeMessage, handshakeBytes } from "../zmtp/zmtp-peer.js";
import { bytes, closed, MiB, NetStage } from "./net-port-stage.js";

let stage: NetStage;

beforeEach(() => {
  stage = new NetStage();
});

afterEach(() => stage.end());

it("REP sockets are served over ZMTP 2.0, as JeroMQ 0.3 speaks it", async () => {
  await stage.start();
  const { log } = stage;
  const peer = stage.stranger();
  let received = Buffer.alloc(0);
  let onBytes = () => {};
  peer.on("data", (chunk) => {
    received = Buffer.concat([received, chunk]);
    onBytes();
  });
  const until = async (size: number) => {
    while (received.length < size) {
      await new Promise<void>((resolve) => {
        onBytes = resolve;
      });
    }
  };
  // Signature, revision 1, type 4; nothing is sent ahead of what it answers to.
  peer.write(Buffer.from("ff00000000000000017f", "hex"));
  await until(11);
  peer.write(Buffer.from([1, 4]));
  await until(12);
  peer.write(Buffer.from([0, 0])); // An identity of no bytes.
  await until(14);
  expect(received.toString("hex")).toBe("ff00000000000000017f03050000");
  const worker = await stage.worker();
  received = Buffer.alloc(0);
  worker.send([bytes("ask"), bytes("more")]);
  // The envelope's tag of 16 bytes, the delimiter, the parts.
  const head = 18;
  await until(head + 2 + 5 + 6);
  expect(received.subarray(head).toString("latin1")).toBe("\x01\0\x01\x03ask\0\x04more");
  peer.write(encodeMessage([received.subarray(2, head), Buffer.alloc(0), bytes("answer")]));
  expect(String(await log.nth(`reply ${worker.id}`))).toBe("answer");
  peer.destroy();
  await log.nth("rep-gone");
});

it("REP sockets are served one request after the other, parts intact", async () => {
  await stage.start();
  stage.plainEcho();
  const worker = await stage.worker();
  const requests = [
    [bytes("one")],
    [bytes(""), bytes("two"), bytes("")],
    [new Uint8Array(MiB).fill(7), bytes("large")],
    Array.from({ length: 255 }, (_, i) => bytes(`${i}`)),
  ];
  for (const [index, request] of requests.entries()) {
    worker.send(request);
    const reply = await stage.log.nth<Buffer[]>(`reply ${worker.id}`, index + 1);
    expect(reply.length).toBe(request.length);
    reply.forEach((part, at) => {
      expect(part.equals(request[at])).toBe(true);
    });
  }
});

it("REP sockets must have replied before the next request", async () => {
  await stage.start();
  stage.plainEcho();
  const worker = await stage.worker();
  worker.send([bytes("one")]);
  expect(() => worker.send([bytes("two")])).toThrow(/already has a request/);
});

it("REP sockets are gone once, when they close, when we close them", async () => {
  await stage.start();
  const { log } = stage;
  const first = stage.plainEcho();
  await stage.worker();
  first.close();
  expect(await log.nth<PlainWorker>("rep-gone")).toBe(log.all("worker")[0]);

  stage.plainEcho();
  const second = await stage.worker(2);
  second.send([bytes("unanswered")]);
  second.close();
  second.close();
  second.send([bytes("ignored")]);
  expect(await log.nth("rep-gone", 2)).toBe(second);
  // ZeroMQ connects again by itself: a new worker.
  expect((await stage.worker(3)).id).toBeGreaterThan(second.id);
  expect(log.all("rep-gone").length).toBe(2);
  expect(log.all(`reply ${second.id}`)).toEqual([]);
});

it("REP sockets that reply and leave at once have their reply delivered first", async () => {
  await stage.start();
  const { log } = stage;
  for (let round = 1; round <= 20; round++) {
    const peer = stage.stranger();
    peer.write(handshakeBytes("REP"));
    const worker = await stage.worker(round);
    worker.send([bytes("last words?")]);
    let seen = Buffer.alloc(0);
    peer.on("data", (chunk) => {
      seen = Buffer.concat([seen, chunk]);
      const at = seen.indexOf("last words?");
      // | 01 | 10 | tag 16 | 01 | 00 | 00 | size | "last words?"
      const tag = seen.subarray(at - 20, at - 4);
      if (at > 0) peer.end(encodeMessage([tag, bytes(""), bytes("yes")]));
    });
    await log.nth("rep-gone", round);
    expect(log.all<Buffer[]>(`reply ${worker.id}`)).toEqual([[bytes("yes")]]);
  }
});

it.each([
  ["unasked", false, [bytes(""), bytes("surprise")], "reply-unexpected"],
  ["without an envelope", true, [bytes("bare")], "reply-malformed"],
])("REP sockets that reply %s are dropped", async (_, isAsked, reply, reason) => {
  const port = await stage.start();
  const { log } = stage;
  const peer = stage.stranger();
  peer.write(handshakeBytes("REP"));
  const worker = await stage.worker();
  if (isAsked) worker.send([bytes("request")]);
  peer.write(encodeMessage(reply));
  expect(await log.nth("rep-gone")).toBe(worker);
  await closed(peer);
  expect([...port.refusalCounts]).toEqual([[reason, 1]]);
  expect(log.all(`reply ${worker.id}`)).toEqual([]);
});

it("REP sockets with a reply above messageBytesMax are dropped", async () => {
  const port = await stage.start({ messageBytesMax: 1000 });
  const peer = stage.stranger();
  peer.write(handshakeBytes("REP"));
  const worker = await stage.worker();
  worker.send([bytes("request")]);
  peer.write(encodeMessage([bytes(""), Buffer.alloc(1001)]));
  expect(await stage.log.nth("rep-gone")).toBe(worker);
  expect([...port.refusalCounts]).toEqual([["message-too-large", 1]]);
  expect(stage.log.all(`reply ${worker.id}`)).toEqual([]);
});

it("REP sockets killed are gone at once, stopped ones after the heartbeat; both may come again", async () => {
  await stage.start();
  const { log } = stage;
  const child = stage.process("rep-worker.mjs");
  const first = await stage.worker();
  child.kill("SIGKILL");
  expect(await log.nth("rep-gone")).toBe(first);

  const stopped = stage.process("rep-worker.mjs");
  const second = await stage.worker(2);
  second.send([bytes("before")]);
  await log.nth(`reply ${second.id}`);
  const stoppedMs = performance.now();
  stopped.kill("SIGSTOP");
  second.send([bytes("lost")]);
  expect(await log.nth("rep-gone", 2)).toBe(second);
  expect(performance.now() - stoppedMs).toBeLessThan(15_000);

  stopped.kill("SIGCONT");
  const third = await stage.worker(3);
  third.send([bytes("after")]);
  expect(await log.nth(`reply ${third.id}`)).toEqual([bytes("after")]);
  expect(log.all("rep-gone").length).toBe(2);
});

it("REP sockets may bring a reply to an earlier connection: it is dropped, and so is a flood of them", async () => {
  const port = await stage.start();
  const { log } = stage;
  const peer = stage.stranger();
  peer.write(handshakeBytes("REP"));
  const worker = await stage.worker();
  const stale = encodeMessage([Buffer.alloc(16, 9), bytes(""), bytes("stale")]);
  worker.send([bytes("request")]);
  peer.write(stale);
  let seen = Buffer.alloc(0);
  peer.on("data", (chunk) => {
    seen = Buffer.concat([seen, chunk]);
    const at = seen.indexOf("request");
    if (at < 0) return;
    peer.removeAllListeners("data").resume();
    peer.write(encodeMessage([seen.subarray(at - 20, at - 4), bytes(""), bytes("fresh")]));
  });
  expect(await log.nth(`reply ${worker.id}`)).toEqual([bytes("fresh")]);
  for (let i = 0; i < 16; i++) peer.write(stale);
  expect(await log.nth("rep-gone")).toBe(worker);
  expect([...port.refusalCounts]).toEqual([["reply-unexpected", 1]]);
  expect(log.all(`reply ${worker.id}`).length).toBe(1);
});

it("REP sockets are refused where none are served, and told what is", async () => {
  const port = await stage.start({}, false);
  const peer = stage.stranger();
  let answer = "";
  peer.on("data", (chunk) => {
    answer += chunk.toString("latin1");
  });
  peer.write(handshakeBytes("REP"));
  await closed(peer);
  expect(answer).toMatch(/ERROR.REP sockets are not served here, use REQ or DEALER/);
  expect([...port.refusalCounts]).toEqual([["socket-type", 1]]);
});
