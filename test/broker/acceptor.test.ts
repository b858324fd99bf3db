import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { Dealer, Publisher, Reply, Request, Router } from "zeromq";
import { Acceptor, type AcceptorOptions, type PlainWorker } from "../../build/broker/acceptor.js";
import { connectTo, encodeMessage, encodeReady, handshakeBytes } from "../zmtp/zmtp-peer.js";

const anyPort = "tcp://127.0.0.1:0";
const bytes = (text: string) => Buffer.from(text);
const fixture = (name: string) => fileURLToPath(new URL(`fixtures/${name}`, import.meta.url));

/** Tells of peers that come and go, [id, ''] each (ZMQ_ROUTER_NOTIFY, draft). */
class NotifyingRouter extends Router {
  constructor() {
    super({ linger: 0, mandatory: true });
    this.setInt32Option(97, 3);
  }
}

/** Records events; `nth` waits for the nth of a kind. */
class Recorder {
  #entries = new Map<string, unknown[]>();
  #waiting: (() => void)[] = [];

  add(kind: string, value: unknown): void {
    this.#entries.set(kind, [...this.all(kind), value]);
    for (const check of this.#waiting.splice(0)) check();
  }

  all<T>(kind: string): T[] {
    return (this.#entries.get(kind) ?? []) as T[];
  }

  async nth<T>(kind: string, count = 1): Promise<T> {
    while (this.all(kind).length < count) {
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
    return this.all<T>(kind)[count - 1];
  }
}

let folder: string;
let router: Router;
let log: Recorder;
let closers: (() => unknown)[];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "wt-"));
  router = new Router({ linger: 0 });
  log = new Recorder();
  closers = [];
});

afterEach(async () => {
  for (const close of closers.reverse()) await close();
  router.close();
  rmSync(folder, { recursive: true, force: true });
});

async function start(options: Partial<AcceptorOptions> = {}): Promise<Acceptor> {
  const routerEndpoint = `ipc://${folder}/router`;
  await router.bind(routerEndpoint);
  const acceptor = await Acceptor.listen({
    endpoint: anyPort,
    routerEndpoint,
    heartbeatIntervalMs: 300,
    heartbeatTimeoutMs: 900,
    handshakeTimeoutMs: 10_000,
    connectionsMax: 1000,
    maxMessageSize: 16 << 20,
    events: {
      onPlainWorker: (worker) => log.add("worker", worker),
      onPlainReply: (worker, parts) => log.add(`reply ${worker.id}`, parts),
      onPlainGone: (worker) => log.add("gone", worker),
      onRefused: (reason) => log.add(reason, reason),
    },
    ...options,
  });
  closers.push(() => acceptor.close());
  return acceptor;
}

function opened<T extends { close(): void }>(socket: T): T {
  closers.push(() => socket.close());
  return socket;
}

function peerOf(acceptor: Acceptor) {
  const peer = connectTo(acceptor.endpoint);
  closers.push(() => peer.destroy());
  return peer;
}

function plainEcho(endpoint: string): Reply {
  const reply = opened(new Reply({ linger: 0 }));
  reply.connect(endpoint);
  const serve = async () => {
    for await (const parts of reply) await reply.send(parts);
  };
  serve().catch(() => {}); // Ends when the socket is closed.
  return reply;
}

/** Waits for ZeroMQ's READY: no message may be sent before. Leaves the peer paused. */
async function readyOf(peer: Socket): Promise<void> {
  let size = 0;
  while (size <= 64) {
    const [chunk] = await once(peer, "data");
    size += chunk.length;
  }
  peer.pause();
}

function startWorkerProcess(endpoint: string): ChildProcess {
  const child = spawn(process.execPath, [fixture("rep-worker.mjs"), endpoint], {
    stdio: "inherit",
  });
  closers.push(() => child.kill("SIGKILL"));
  return child;
}

describe("REP workers", () => {
  it("are served over ZMTP 2.0, as JeroMQ 0.3 speaks it", async () => {
    const acceptor = await start();
    const peer = peerOf(acceptor);
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
    const worker = await log.nth<PlainWorker>("worker");
    received = Buffer.alloc(0);
    worker.send([bytes("ask"), bytes("more")]);
    // The envelope's tag of 16 bytes, the delimiter, the parts.
    const head = 18;
    await until(head + 2 + 5 + 6);
    expect(received.subarray(head).toString("latin1")).toBe("\x01\0\x01\x03ask\0\x04more");
    peer.write(encodeMessage([received.subarray(2, head), Buffer.alloc(0), bytes("answer")]));
    expect(String(await log.nth(`reply ${worker.id}`))).toBe("answer");
    peer.destroy();
    await log.nth("gone");
  });

  it("are served one request after the other, parts intact", async () => {
    const acceptor = await start();
    plainEcho(acceptor.endpoint);
    const worker = await log.nth<PlainWorker>("worker");
    const requests = [
      [bytes("one")],
      [bytes(""), bytes("two"), bytes("")],
      [new Uint8Array(1 << 20).fill(7), bytes("large")],
    ];
    for (const [index, request] of requests.entries()) {
      worker.send(request);
      const reply = await log.nth<Buffer[]>(`reply ${worker.id}`, index + 1);
      expect(reply.length).toBe(request.length);
      reply.forEach((part, at) => {
        expect(part.equals(request[at])).toBe(true);
      });
    }
  });

  it("must have replied before the next request", async () => {
    const acceptor = await start();
    plainEcho(acceptor.endpoint);
    const worker = await log.nth<PlainWorker>("worker");
    worker.send([bytes("one")]);
    expect(() => worker.send([bytes("two")])).toThrow(/already has a request/);
  });

  it("are gone once, when they close, when we close them", async () => {
    const acceptor = await start();
    const first = plainEcho(acceptor.endpoint);
    await log.nth("worker");
    first.close();
    expect(await log.nth<PlainWorker>("gone")).toBe(log.all("worker")[0]);

    plainEcho(acceptor.endpoint);
    const second = await log.nth<PlainWorker>("worker", 2);
    second.send([bytes("unanswered")]);
    second.close();
    second.close();
    second.send([bytes("ignored")]);
    expect(await log.nth("gone", 2)).toBe(second);
    // ZeroMQ connects again by itself: a new worker.
    expect((await log.nth<PlainWorker>("worker", 3)).id).toBeGreaterThan(second.id);
    expect(log.all("gone").length).toBe(2);
    expect(log.all(`reply ${second.id}`)).toEqual([]);
  });

  it("that reply and leave at once have their reply delivered first", async () => {
    const acceptor = await start();
    for (let round = 1; round <= 20; round++) {
      const peer = peerOf(acceptor);
      peer.write(handshakeBytes("REP"));
      const worker = await log.nth<PlainWorker>("worker", round);
      worker.send([bytes("last words?")]);
      let seen = Buffer.alloc(0);
      peer.on("data", (chunk) => {
        seen = Buffer.concat([seen, chunk]);
        const at = seen.indexOf("last words?");
        // | 01 | 10 | tag 16 | 01 | 00 | 00 | size | "last words?"
        const tag = seen.subarray(at - 20, at - 4);
        if (at > 0) peer.end(encodeMessage([tag, bytes(""), bytes("yes")]));
      });
      await log.nth("gone", round);
      expect(log.all<Buffer[]>(`reply ${worker.id}`)).toEqual([[bytes("yes")]]);
    }
  });

  it.each([
    ["unasked", false, [bytes(""), bytes("surprise")], "reply-unexpected"],
    ["without an envelope", true, [bytes("bare")], "reply-malformed"],
  ])("that reply %s are dropped", async (_, isAsked, reply, reason) => {
    const acceptor = await start();
    const peer = peerOf(acceptor);
    peer.write(handshakeBytes("REP"));
    const worker = await log.nth<PlainWorker>("worker");
    if (isAsked) worker.send([bytes("request")]);
    peer.write(encodeMessage(reply));
    peer.resume();
    await log.nth(reason);
    expect(await log.nth("gone")).toBe(worker);
    if (!peer.closed) await once(peer, "close");
    expect(acceptor.refusalCounts.get(reason as "reply-malformed")).toBe(1);
    expect(log.all(`reply ${worker.id}`)).toEqual([]);
  });

  it("with a reply above maxMessageSize are dropped", async () => {
    const acceptor = await start({ maxMessageSize: 1000 });
    const peer = peerOf(acceptor);
    peer.write(handshakeBytes("REP"));
    const worker = await log.nth<PlainWorker>("worker");
    worker.send([bytes("request")]);
    peer.write(encodeMessage([bytes(""), Buffer.alloc(1001)]));
    expect(await log.nth("gone")).toBe(worker);
    expect(log.all(`reply ${worker.id}`)).toEqual([]);
  });

  it("killed are gone at once, stopped ones after the heartbeat; both may come again", async () => {
    const acceptor = await start();
    const child = startWorkerProcess(acceptor.endpoint);
    const first = await log.nth<PlainWorker>("worker");
    child.kill("SIGKILL");
    expect(await log.nth("gone")).toBe(first);

    const stopped = startWorkerProcess(acceptor.endpoint);
    const second = await log.nth<PlainWorker>("worker", 2);
    second.send([bytes("before")]);
    await log.nth(`reply ${second.id}`);
    const stoppedMs = performance.now();
    stopped.kill("SIGSTOP");
    second.send([bytes("lost")]);
    expect(await log.nth("gone", 2)).toBe(second);
    expect(performance.now() - stoppedMs).toBeLessThan(10_000);

    stopped.kill("SIGCONT");
    const third = await log.nth<PlainWorker>("worker", 3);
    third.send([bytes("after")]);
    expect(await log.nth(`reply ${third.id}`)).toEqual([bytes("after")]);
    expect(log.all("gone").length).toBe(2);
  });

  it("may bring a reply to an earlier connection: it is dropped, and so is a flood of them", async () => {
    const acceptor = await start();
    const peer = peerOf(acceptor);
    peer.write(handshakeBytes("REP"));
    const worker = await log.nth<PlainWorker>("worker");
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
    expect(await log.nth("gone")).toBe(worker);
    expect(acceptor.refusalCounts.get("reply-unexpected")).toBe(1);
    expect(log.all(`reply ${worker.id}`).length).toBe(1);
  });

  it("have their PING answered, its context given back, and are asked themselves", async () => {
    const acceptor = await start();
    const peer = peerOf(acceptor);
    peer.write(handshakeBytes("REP"));
    await log.nth("worker");
    let seen = "";
    const isTold = new Promise<void>((resolve) => {
      peer.on("data", (chunk) => {
        seen += chunk.toString("latin1");
        if (seen.includes("\x04\x08\x04PONGabc") && seen.includes("\x04\x07\x04PING\0\0"))
          resolve();
      });
    });
    peer.write(Buffer.from("\x04\x0a\x04PING\0\0abc", "latin1"));
    await isTold;
    // It answers nothing: gone after the heartbeat.
    await log.nth("gone");
    if (!peer.closed) await once(peer, "close");
  });

  it("that said how long they may be silent are held to it", async () => {
    const acceptor = await start({ heartbeatIntervalMs: 60_000, heartbeatTimeoutMs: 120_000 });
    const peer = peerOf(acceptor);
    peer.write(handshakeBytes("REP"));
    await log.nth("worker");
    peer.write(Buffer.from("\x04\x07\x04PING\0\x02", "latin1"));
    peer.resume();
    await log.nth("gone");
  });

  it.each([
    ["ERROR", "\x04\x0a\x05ERROR\x03why", "peer-error"],
    ["no frame", "\x40\x00", "frame-malformed"],
    ["a PING cut short", "\x04\x05\x04PING", "frame-malformed"],
  ])("that send %s are dropped and counted", async (_, sent, reason) => {
    const acceptor = await start();
    const peer = peerOf(acceptor);
    peer.resume();
    // In one piece with the handshake: what comes early is read too.
    peer.write(Buffer.concat([handshakeBytes("REP"), Buffer.from(sent, "latin1")]));
    await log.nth(reason);
    await log.nth("gone");
    expect(acceptor.refusalCounts.get(reason as "peer-error")).toBe(1);
    expect(acceptor.connectionCount).toBe(0);
  });

  it("stopped amid a large request are gone too", async () => {
    const acceptor = await start();
    const child = startWorkerProcess(acceptor.endpoint);
    const worker = await log.nth<PlainWorker>("worker");
    child.kill("SIGSTOP");
    worker.send([Buffer.alloc(64 << 20)]);
    expect(await log.nth("gone")).toBe(worker);
  });
});

describe("native workers", () => {
  it("reach the ROUTER, which is told when they close", async () => {
    router.close();
    router = new NotifyingRouter();
    const acceptor = await start();
    const dealer = opened(new Dealer({ linger: 0 }));
    dealer.connect(acceptor.endpoint);
    const [id, hello] = await router.receive();
    expect(hello.length).toBe(0);
    await dealer.send(["a", "b"]);
    expect(await router.receive()).toEqual([id, bytes("a"), bytes("b")]);
    const large = Buffer.alloc(1 << 20, 3);
    await router.send([id, large]);
    const [echoed] = await dealer.receive();
    expect(echoed.equals(large)).toBe(true);
    await dealer.send(echoed);
    expect((await router.receive())[1].equals(large)).toBe(true);
    dealer.close();
    expect(await router.receive()).toEqual([id, bytes("")]);
  });

  it("may be REQ or ROUTER, and share the port with REP", async () => {
    const acceptor = await start();
    plainEcho(acceptor.endpoint);
    const request = opened(new Request({ linger: 0 }));
    request.connect(acceptor.endpoint);
    await request.send("ready");
    const [id, , body] = await router.receive();
    expect(body).toEqual(bytes("ready"));
    const worker = await log.nth<PlainWorker>("worker");
    worker.send([bytes("plain")]);
    await router.send([id, "", "native"]);
    expect(await request.receive()).toEqual([bytes("native")]);
    expect(await log.nth(`reply ${worker.id}`)).toEqual([bytes("plain")]);
    expect(acceptor.connectionCount).toBe(2);
    expect(acceptor.refusalCounts.size).toBe(0);
  });

  it("get the ROUTER's last messages when it closes before the acceptor", async () => {
    const acceptor = await start();
    const dealer = opened(new Dealer({ linger: 0 }));
    dealer.connect(acceptor.endpoint);
    await dealer.send("hello");
    const [id] = await router.receive();
    router.linger = 5000;
    for (let i = 0; i < 8; i++) await router.send([id, Buffer.alloc(1 << 20, i)]);
    router.close();
    const closed = acceptor.close({ lingerMs: 10_000 });
    for (let i = 0; i < 8; i++) expect((await dealer.receive())[0][0]).toBe(i);
    await closed;
  });

  it("come in bursts larger than the ROUTER's backlog", async () => {
    const acceptor = await start();
    for (let i = 0; i < 150; i++) {
      const peer = peerOf(acceptor);
      peer.write(handshakeBytes("DEALER"));
      readyOf(peer).then(() => peer.write(encodeMessage([bytes(`${i}`)])));
    }
    const seen = new Set<string>();
    while (seen.size < 150) seen.add(String((await router.receive())[1]));
    expect(acceptor.refusalCounts.size).toBe(0);
  });
});

describe("the handshake", () => {
  it("may come byte by byte", async () => {
    const acceptor = await start();
    const peer = peerOf(acceptor);
    const ready = readyOf(peer);
    for (const byte of handshakeBytes("DEALER")) {
      await new Promise((resolve) => peer.write(Buffer.from([byte]), resolve));
      await new Promise((resolve) => setImmediate(resolve));
    }
    await ready;
    peer.write(encodeMessage([bytes("slow")]));
    expect((await router.receive())[1]).toEqual(bytes("slow"));
  });

  it("may be cut in two anywhere", async () => {
    const acceptor = await start({ connectionsMax: 10_000 });
    const whole = handshakeBytes("DEALER");
    for (let size = 1; size < whole.length; size++) {
      const peer = peerOf(acceptor);
      await new Promise((resolve) => peer.write(whole.subarray(0, size), resolve));
      await new Promise((resolve) => setImmediate(resolve));
      const ready = readyOf(peer);
      peer.write(whole.subarray(size));
      await ready;
      peer.write(encodeMessage([bytes("cut")]));
      expect((await router.receive())[1]).toEqual(bytes("cut"));
      peer.destroy();
    }
  });
});

describe("strangers", () => {
  it("are refused by reason, told why, and disturb nobody", async () => {
    const acceptor = await start({ handshakeTimeoutMs: 700 });
    plainEcho(acceptor.endpoint);
    const worker = await log.nth<PlainWorker>("worker");
    const publisher = opened(new Publisher({ linger: 0 }));
    publisher.connect(acceptor.endpoint);
    await log.nth("socket-type");

    const cases: [string, Buffer][] = [
      ["not-zmtp", bytes("GET / HTTP/1.1\r\n\r\n")],
      ["zmtp-version", Buffer.from("ff00000000000000017f02", "hex")],
      ["ready-malformed", Buffer.concat([handshakeBytes("REP").subarray(0, 64), Buffer.alloc(9)])],
      [
        "ready-too-large",
        Buffer.concat([
          handshakeBytes("REP").subarray(0, 64),
          Buffer.from([6, ...Array(8).fill(1)]),
        ]),
      ],
      ["handshake-timeout", handshakeBytes("REP").subarray(0, 70)],
    ];
    for (const [reason, start] of cases) {
      const peer = peerOf(acceptor);
      peer.resume();
      peer.write(start);
      await log.nth(reason);
      if (!peer.closed) await once(peer, "close");
      expect(acceptor.refusalCounts.get(reason as "mechanism")).toBe(1);
    }
    const early = peerOf(acceptor);
    await once(early, "data");
    early.destroy();
    await log.nth("closed-early");

    const told = peerOf(acceptor);
    let answer = "";
    told.on("data", (chunk) => {
      answer += chunk.toString("latin1");
    });
    told.write(Buffer.concat([handshakeBytes("SUB").subarray(0, 64), encodeReady("SUB", {})]));
    await once(told, "close");
    expect(answer.slice(64)).toMatch(/ERROR.SUB sockets are not served here/);

    worker.send([bytes("still here?")]);
    await log.nth(`reply ${worker.id}`);
    expect(log.all("gone")).toEqual([]);
  });

  it("that flood with half-open connections are bounded and lock nobody out", async () => {
    const acceptor = await start({ handshakesMax: 64, connectionsMax: 100 });
    for (let i = 0; i < 500; i++) peerOf(acceptor).resume();
    await log.nth("handshakes-max", 436);
    expect(acceptor.connectionCount).toBe(64);
    plainEcho(acceptor.endpoint);
    const worker = await log.nth<PlainWorker>("worker");
    worker.send([bytes("through")]);
    await log.nth(`reply ${worker.id}`);
    expect(acceptor.connectionCount).toBe(64);
  });

  it("above connectionsMax are refused until one leaves", async () => {
    const acceptor = await start({ connectionsMax: 1 });
    const first = plainEcho(acceptor.endpoint);
    await log.nth("worker");
    plainEcho(acceptor.endpoint);
    await log.nth("connections-max");
    first.close();
    await log.nth("worker", 2);
  });
});

describe("backpressure", () => {
  it("holds towards a peer that does not read", async () => {
    router.sendHighWaterMark = 4;
    router.mandatory = true;
    const acceptor = await start({ heartbeatTimeoutMs: 60_000 });
    const peer = peerOf(acceptor);
    peer.write(handshakeBytes("DEALER"));
    await readyOf(peer);
    peer.write(encodeMessage([bytes("hello")]));
    const [id] = await router.receive();
    router.sendTimeout = 500;
    const send = async () => {
      let count = 0;
      try {
        for (; count < 200; count++) await router.send([id, Buffer.alloc(1 << 20)]);
      } catch (error) {
        expect((error as NodeJS.ErrnoException).code).toBe("EAGAIN");
      }
      return count;
    };
    expect(await send()).toBeLessThan(60);
    let size = 0;
    peer.on("data", (chunk) => {
      size += chunk.length;
    });
    peer.resume();
    // All that was held back comes once the peer reads.
    expect(await send()).toBe(200);
    expect(size).toBeGreaterThan(100 << 20);
  });

  it("holds towards a ROUTER that does not receive", async () => {
    router.receiveHighWaterMark = 4;
    const acceptor = await start();
    const peer = peerOf(acceptor);
    peer.write(handshakeBytes("DEALER"));
    await readyOf(peer);
    const message = encodeMessage([Buffer.alloc(1 << 20)]);
    for (let i = 0; i < 200; i++) peer.write(message);
    peer.setTimeout(700);
    await once(peer, "timeout"); // Nothing has moved for a while.
    expect(200 - Math.floor(peer.writableLength / message.length)).toBeLessThan(60);
    for (let i = 0; i < 200; i++) expect((await router.receive())[1].length).toBe(1 << 20);
  });

  it("ends with a peer that takes nothing and says nothing", async () => {
    router.close();
    router = new NotifyingRouter();
    const acceptor = await start({ heartbeatTimeoutMs: 400 });
    const peer = peerOf(acceptor);
    peer.write(handshakeBytes("DEALER"));
    const [id] = await router.receive();
    await router.send([id, Buffer.alloc(64 << 20)]);
    expect(await router.receive()).toEqual([id, bytes("")]);
    expect(acceptor.connectionCount).toBeLessThan(2);
  });
});

describe("listening", () => {
  const listen = (endpoint: string, options: Partial<AcceptorOptions> = {}) =>
    Acceptor.listen({
      endpoint,
      routerEndpoint: `ipc://${folder}/none`,
      heartbeatIntervalMs: 300,
      heartbeatTimeoutMs: 900,
      handshakeTimeoutMs: 1000,
      connectionsMax: 10,
      maxMessageSize: -1,
      events: { onPlainWorker() {}, onPlainReply() {}, onPlainGone() {}, onRefused() {} },
      ...options,
    });

  it.each([
    ["tcp://*:*", /^tcp:\/\/\*:\d+$/],
    ["tcp://localhost:0", /^tcp:\/\/127\.0\.0\.1:\d+$/],
    ["tcp://[::1]:0", /^tcp:\/\/\[::1\]:\d+$/],
  ])("takes %s", async (endpoint, resolved) => {
    const acceptor = await listen(endpoint);
    closers.push(() => acceptor.close());
    expect(acceptor.endpoint).toMatch(resolved);
    expect(acceptor.endpoint).not.toMatch(/:0$/);
    const peer = connectTo(acceptor.endpoint.replace("*", "127.0.0.1"));
    closers.push(() => peer.destroy());
    await once(peer, "data");
  });

  it.each([
    ["tcp://127.0.0.1", RangeError, /^endpoint must be tcp:/],
    ["udp://127.0.0.1:1", RangeError, /got "udp:/],
    ["tcp://127.0.0.1:65536", RangeError, /65535/],
    ["tcp://[127.0.0.1]:1", RangeError, /IPv6/],
    [`ipc:///${"x".repeat(107)}`, RangeError, /the path is 108 bytes/],
    ["tcp://192.0.2.1:5560", Error, /^cannot listen on tcp:\/\/192\.0\.2\.1:5560: .*EADDRNOTAVAIL/],
    ["ipc:///no/such/folder/x", Error, /^cannot listen on ipc:\/\/\/no\/such\/folder\/x: /],
  ])("rejects %s in one line", async (endpoint, type, message) => {
    const error = await listen(endpoint).catch((reason) => reason);
    expect(error).toBeInstanceOf(type);
    expect(error.message).toMatch(message);
    expect(error.message).not.toMatch(/\n/);
  });

  it("rejects bad options by name", async () => {
    await expect(listen(anyPort, { connectionsMax: 0 })).rejects.toThrow(
      "connectionsMax must be 1..2147483647, got 0",
    );
  });

  it("rejects a port and a path in use, and leaves other files alone", async () => {
    for (const endpoint of [anyPort, `ipc://${folder}/busy`]) {
      const acceptor = await listen(endpoint);
      closers.push(() => acceptor.close());
      await expect(listen(acceptor.endpoint)).rejects.toMatchObject({
        code: "EADDRINUSE",
        message: `cannot listen on ${acceptor.endpoint}: the address is already in use (EADDRINUSE)`,
      });
    }
    writeFileSync(`${folder}/file`, "precious");
    await expect(listen(`ipc://${folder}/file`)).rejects.toMatchObject({ code: "EADDRINUSE" });
    expect(existsSync(`${folder}/file`)).toBe(true);
  });

  it("takes over a socket file whose listener was killed; mode 0600, removed on close", async () => {
    const path = `${folder}/stale`;
    const script = `require("net").createServer().listen(${JSON.stringify(path)}, () => console.log())`;
    const child = spawn(process.execPath, ["-e", script], { stdio: ["ignore", "pipe", "inherit"] });
    await once(child.stdout, "data");
    child.kill("SIGKILL");
    await once(child, "exit");
    expect(existsSync(path)).toBe(true);
    const acceptor = await listen(`ipc://${path}`);
    expect(statSync(path).mode & 0o777).toBe(0o600);
    await acceptor.close();
    expect(existsSync(path)).toBe(false);
  });

  it("counts connections whose ROUTER cannot be reached", async () => {
    const refused = new Recorder();
    const events = {
      onPlainWorker() {},
      onPlainReply() {},
      onPlainGone() {},
      onRefused: (reason: string) => refused.add(reason, reason),
    };
    const acceptor = await listen(anyPort, { events });
    closers.push(() => acceptor.close());
    const peer = peerOf(acceptor);
    peer.resume();
    peer.write(handshakeBytes("DEALER"));
    await refused.nth("upstream");
    // Neither must a ROUTER that is no ROUTER be trusted.
    const impostor = createServer((socket) => socket.end("220 ready\r\n")).listen(`${folder}/none`);
    closers.push(() => impostor.close());
    await once(impostor, "listening");
    peerOf(acceptor).write(handshakeBytes("DEALER"));
    await refused.nth("upstream", 2);
  });
});

describe("close()", () => {
  it("leaves nothing that keeps the process alive", async () => {
    const args = [fixture("acceptor-exit.mjs"), `ipc://${folder}/r`, `ipc://${folder}/a`];
    const child = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "inherit"] });
    closers.push(() => child.kill("SIGKILL"));
    let output = "";
    child.stdout.on("data", (chunk) => {
      output += chunk;
    });
    const [code] = await once(child, "exit");
    expect(output).toBe("end of script\n");
    expect(code).toBe(0);
  });
});
