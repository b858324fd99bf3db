// A link without CURVE: to brokers that are there, that are none, that fall silent, and its end.
import { once } from "node:events";
import { type AddressInfo, createServer, type Server, type Socket } from "node:net";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { curveKeyPair, Publisher, Router } from "zeromq";
import { Link, type LinkOptions } from "../../build/link/link.js";
import { BatchReader } from "../../build/wire/batch.js";
import { RequestRecord, writeRequest } from "../../build/wire/request-record.js";
import { NameCache } from "../../build/wire/text.js";
import { encodeReady } from "../../build/zmtp/encode.js";
import { encodeGreeting } from "../../build/zmtp/greeting.js";
import { bytes, Recorder } from "../broker/net-port-stage.js";
import { encodeMessage } from "../zmtp/zmtp-peer.js";

const MiB = 1024 * 1024;

let log: Recorder;
let closers: (() => unknown)[];

beforeEach(() => {
  log = new Recorder();
  closers = [];
});

afterEach(async () => {
  for (const close of closers.reverse()) await close();
});

function linkTo(endpoint: string, options: Partial<LinkOptions> = {}): Link {
  const link = new Link(
    {
      endpoint,
      heartbeatIntervalMs: 60,
      heartbeatTimeoutMs: 200,
      handshakeTimeoutMs: 10_000,
      reconnectMsMin: 1,
      reconnectMsMax: 20,
      ...options,
    },
    {
      onOpen: () => log.add("open", link.isOpen),
      onMessage: (frames) => {
        log.add(
          "message",
          frames.map((frame) => Buffer.from(frame)),
        );
      },
      onCaughtUp: () => log.add("caught-up", link.isBehind),
      onDown: (reason) => log.add("down", reason),
    },
  );
  closers.push(() => link.close());
  return link;
}

/** A listener whose connections are told by "peer". */
async function serve(onPeer: (peer: Socket) => void = () => {}) {
  const server: Server = createServer((peer) => {
    peer.on("error", () => {});
    closers.push(() => peer.destroy());
    onPeer(peer);
    log.add("peer", peer);
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  closers.push(() => server.close());
  return `tcp://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

async function router(): Promise<{ router: Router; endpoint: string }> {
  const socket = new Router({ linger: 0, receiveHighWaterMark: 0 });
  await socket.bind("tcp://127.0.0.1:*");
  closers.push(() => socket.close());
  return { router: socket, endpoint: socket.lastEndpoint as string };
}

const hello = (socketType: string) =>
  Buffer.concat([encodeGreeting("NULL"), encodeReady(socketType)]);

const id = { sessionLow: 1, sessionHigh: 2, sequence: 0, slot: 0, generation: 0 };
const fields = {
  priority: 4,
  attempts: 1,
  timeoutMs: 1000,
  flags: 1,
  service: bytes("s"),
  headers: new Uint8Array(0),
};

/** Writes a request of so many bytes under this number. */
function write(link: Link, sequence: number, size: number): void {
  writeRequest(link.writer, { ...id, sequence }, fields, Buffer.alloc(size, sequence));
  link.flushSoon(false);
}

/** Requests that `socket` receives: their numbers and sizes; and the bytes of the largest message. */
async function receive(socket: Router, count: number) {
  const seen: [number, number][] = [];
  let messageBytesMax = 0;
  const reader = new BatchReader();
  const record = new RequestRecord();
  const names = new NameCache();
  while (seen.length < count) {
    const [, ...frames] = await socket.receive();
    messageBytesMax = Math.max(
      messageBytesMax,
      frames.reduce((sum, { length }) => sum + length, 0),
    );
    expect(frames.length).toBeLessThanOrEqual(1024);
    reader.open(frames, 0);
    while (reader.next()) {
      expect(record.read(reader, names)).toBe(undefined);
      const [body] = record.body;
      expect(body.every((byte) => byte === (record.sequence & 255))).toBe(true);
      seen.push([record.sequence, body.length]);
    }
  }
  return { seen, messageBytesMax };
}

describe("a broker that is none", () => {
  it("refuses the connection: it is tried again, later and later", async () => {
    const gone = createServer().listen(0, "127.0.0.1");
    await once(gone, "listening");
    const { port } = gone.address() as AddressInfo;
    await new Promise((resolve) => gone.close(resolve));
    linkTo(`tcp://127.0.0.1:${port}`);
    for (let i = 1; i <= 3; i++) expect(await log.nth("down", i)).toBe("connection refused");
    linkTo("ipc:///no/such/folder/broker");
    while (!log.all<string>("down").some((reason) => reason.includes("ENOENT"))) {
      await log.nth("down", log.all("down").length + 1);
    }
    expect(log.all("open")).toEqual([]);
  });

  it.each([
    ["another program", bytes("HTTP/1.1 400 Bad Request\r\n\r\n"), /^no broker is there: /],
    ["garbage", Buffer.alloc(200, 0xee), /^no broker is there: /],
    ["a PUB", hello("PUB"), /^no broker is there, but a PUB socket$/],
    ["a DEALER", hello("DEALER"), /^no broker is there, but a DEALER socket$/],
    ["one of ZMTP 2.0", Buffer.from("ff00000000000000017f01060000", "hex"), /^no broker is there/],
    ["one that wants CURVE", encodeGreeting("CURVE"), /^UNAUTHENTICATED: .*wants CURVE/],
    [
      "one that has a READY of nonsense",
      Buffer.concat([encodeGreeting("NULL"), Buffer.alloc(40, 9)]),
      /^no broker/,
    ],
  ])("is %s", async (_, said, reason) => {
    let count = 0;
    // What it says comes whole, or byte by byte.
    const endpoint = await serve((peer) => {
      if (count++ % 2 === 0) return void peer.write(said);
      for (const byte of said) peer.write(Buffer.of(byte));
    });
    linkTo(endpoint);
    expect(await log.nth("down")).toMatch(reason);
    expect(await log.nth("down", 2)).toMatch(reason);
    expect(log.all("open")).toEqual([]);
  });

  it("closes in the handshake, or says nothing in time", async () => {
    let count = 0;
    const endpoint = await serve((peer) => {
      if (count++ === 0) peer.end(encodeGreeting("NULL").subarray(0, 20));
    });
    const link = linkTo(endpoint, { handshakeTimeoutMs: 200 });
    expect(await log.nth("down")).toBe("the broker closed the connection in the handshake");
    expect(await log.nth("down", 2)).toBe("no connection in time");
    // Whoever has not said WELCOME is none either.
    await link.close();
    const speaking = await serve((peer) => void peer.write(hello("ROUTER")));
    linkTo(speaking, { handshakeTimeoutMs: 200, heartbeatTimeoutMs: 60_000 });
    await log.nth("open");
    expect(await log.nth("down", 3)).toBe("no WELCOME in time");
  });

  it("sends nonsense once it is open", async () => {
    const endpoint = await serve((peer) => {
      peer.write(Buffer.concat([hello("ROUTER"), Buffer.from([0x40, 0])]));
    });
    linkTo(endpoint);
    expect(await log.nth("down")).toBe("broker sent nonsense: a frame of ZMTP that is none");
    expect(log.all("open")).toHaveLength(1);
    const other = await serve((peer) => {
      const parts = Array.from({ length: 1025 }, () => bytes("x"));
      peer.write(Buffer.concat([hello("ROUTER"), encodeMessage(parts)]));
    });
    linkTo(other);
    while (
      !log.all("down").includes("broker sent a message that is too large, or has too many parts")
    ) {
      await log.nth("down", log.all("down").length + 1);
    }
    const refusing = await serve((peer) => {
      peer.write(
        Buffer.concat([hello("ROUTER"), Buffer.from("\x04\x0a\x05ERROR\x03why", "latin1")]),
      );
    });
    linkTo(refusing);
    while (!log.all("down").includes("the broker refuses this connection")) {
      await log.nth("down", log.all("down").length + 1);
    }
  });
});

describe("a broker that is there", () => {
  it("is told of in what can be printed of its own words", async () => {
    const endpoint = await serve((peer) => {
      const reason = "\u001b[2Jno\n";
      const body = Buffer.from(`\x05ERROR${String.fromCharCode(reason.length)}${reason}`, "latin1");
      const greeting = encodeGreeting("CURVE");
      peer.write(Buffer.concat([greeting, Buffer.from([4, body.length]), body]));
    });
    const keys = curveKeyPair();
    linkTo(endpoint, { curve: { ...keys, serverKey: keys.publicKey } });
    expect(await log.nth("down")).toBe("the broker refuses this connection: ?[2Jno?");
  });

  const tooLarge = "broker sent a message that is too large, or has too many parts";

  it("may send with its WELCOME what is large, and is lost when it announces what nobody takes", async () => {
    const large = Buffer.alloc(5 * MiB, 1);
    const endpoint = await serve((peer) => {
      const head = Buffer.alloc(9);
      head[0] = 2;
      head.writeBigUInt64BE(600n * 1024n * 1024n, 1);
      peer.write(Buffer.concat([hello("ROUTER"), encodeMessage([bytes("w"), large]), head]));
    });
    linkTo(endpoint);
    const [first, second, ...more] = await log.nth<Buffer[]>("message");
    // Not by toEqual, which looks at each of five million elements.
    expect([first.toString(), large.equals(second), more]).toEqual(["w", true, []]);
    expect(await log.nth("down")).toBe(tooLarge);
  });

  it("is lost when it sends what is larger than it takes itself, and not before", async () => {
    const endpoint = await serve((peer) => peer.write(hello("ROUTER")));
    const link = linkTo(endpoint);
    await log.nth("open");
    link.welcomed(3 * MiB);
    const peer = await log.nth<Socket>("peer");
    peer.write(encodeMessage([Buffer.alloc(4 * MiB)]));
    await log.nth("message");
    peer.write(encodeMessage([Buffer.alloc(4 * MiB + 1)]));
    expect(await log.nth("down")).toBe(tooLarge);
    expect(log.all("message")).toHaveLength(1);
  });

  it("is told and tells; what it says with its handshake is read, in order", async () => {
    const messages = [[bytes("one")], [bytes("two"), Buffer.alloc(60_000, 2), bytes("")]];
    const endpoint = await serve((peer) => {
      peer.write(Buffer.concat([hello("ROUTER"), ...messages.map(encodeMessage)]));
    });
    const link = linkTo(endpoint);
    expect(await log.nth("open")).toBe(true);
    await log.nth("message", 2);
    expect(log.all("message")).toEqual(messages);
    const peer = await log.nth<Socket>("peer");
    let heard = Buffer.alloc(0);
    const all = new Promise<void>((resolve) => {
      peer.on("data", (chunk) => {
        heard = Buffer.concat([heard, chunk]);
        if (heard.includes("0123456789")) resolve();
      });
    });
    writeRequest(link.writer, id, fields, bytes("0123456789"));
    link.flush();
    await all;
    expect(heard.subarray(0, 64)).toEqual(encodeGreeting("NULL"));
    expect(heard.includes("DEALER")).toBe(true);
  });

  it("that is silent is lost, however it answers its handshake, and one that answers PING is not", async () => {
    const answering = new Set<Socket>();
    const endpoint = await serve((peer) => {
      peer.write(hello("ROUTER"));
      peer.on("data", (chunk: Buffer) => {
        if (answering.has(peer) && chunk.includes("PING")) {
          peer.write(Buffer.from("\x04\x05\x04PONG", "latin1"));
        }
      });
    });
    linkTo(endpoint);
    expect(await log.nth("down")).toBe("the broker was silent for too long");
    answering.add(await log.nth<Socket>("peer", 2));
    await log.nth("open", 2);
    // Others beside it fall silent again and again.
    const other = linkTo(endpoint);
    await log.nth("peer", 3);
    for (let i = 2; i <= 3; i++) {
      expect(await log.nth("down", i)).toBe("the broker was silent for too long");
    }
    await other.close();
    expect(answering.values().next().value?.destroyed).toBe(false);
  });

  it("that ends is lost, and found again: nothing of before comes to it unasked", async () => {
    const endpoint = await serve((peer) => {
      peer.write(hello("ROUTER"));
      peer.resume();
    });
    const link = linkTo(endpoint, { heartbeatTimeoutMs: 60_000 });
    await log.nth("open");
    const first = await log.nth<Socket>("peer");
    writeRequest(link.writer, id, fields, bytes("for the first"));
    first.destroy();
    expect(await log.nth("down")).toBe("disconnect");
    expect(link.writer.isEmpty).toBe(true);
    const second = await log.nth<Socket>("peer", 2);
    let heard = "";
    second.on("data", (chunk) => {
      heard += chunk.toString("latin1");
    });
    await log.nth("open", 2);
    writeRequest(link.writer, id, fields, bytes("for the second"));
    link.flush();
    while (!heard.includes("for the second")) await once(second, "data");
    expect(heard).not.toContain("for the first");
  });

  it("gets 64 MiB that are written at once in messages of bounded size, in order", async () => {
    const { router: socket, endpoint } = await router();
    const link = linkTo(endpoint, { heartbeatTimeoutMs: 60_000 });
    await log.nth("open");
    const sizes = [0, 100, 8191, 8192, 30_000, 65_535, 65_536, MiB];
    let sequence = 0;
    for (let written = 0; written < 64 * MiB; written += sizes[sequence % 8]) {
      write(link, ++sequence, sizes[sequence % 8]);
    }
    const { seen, messageBytesMax } = await receive(socket, sequence);
    expect(seen).toEqual(seen.map((_, i) => [i + 1, sizes[(i + 1) % 8]]));
    expect(messageBytesMax).toBeLessThan(2 * MiB);
    expect(link.writer.isEmpty).toBe(true);
  });

  it("gets all that was written before the link was closed", async () => {
    const { router: socket, endpoint } = await router();
    const link = linkTo(endpoint, { heartbeatTimeoutMs: 60_000 });
    await log.nth("open");
    for (let sequence = 1; sequence <= 600; sequence++) write(link, sequence, 40_000);
    const closing = link.close(20_000);
    const { seen } = await receive(socket, 600);
    expect(seen).toEqual(seen.map((_, i) => [i + 1, 40_000]));
    await closing;
    expect(log.all("down")).toEqual([]);
  });

  it("that does not read holds up no close for longer than it lingers", async () => {
    const endpoint = await serve((peer) => {
      peer.write(hello("ROUTER"));
      peer.pause();
    });
    const link = linkTo(endpoint, { heartbeatTimeoutMs: 60_000 });
    await log.nth("open");
    for (let sequence = 1; sequence <= 1000; sequence++) write(link, sequence, 40_000);
    await link.close(50);
    const peer = await log.nth<Socket>("peer");
    peer.resume();
    if (!peer.closed) await once(peer, "close");
    expect(log.all("down")).toEqual([]);
  });

  it.each([40_000, 3 * MiB])(
    "that does not read puts the link behind, with bodies of %i bytes, until it does",
    async (size) => {
      const endpoint = await serve((peer) => {
        peer.write(hello("ROUTER"));
        peer.pause();
      });
      const link = linkTo(endpoint, { heartbeatTimeoutMs: 60_000 });
      await log.nth("open");
      expect(link.isBehind).toBe(false);
      let written = 0;
      for (; !link.isBehind; written += size) write(link, 1, size);
      // What the system takes, and then some.
      expect(written).toBeLessThan(32 * MiB);
      expect(log.all("caught-up")).toEqual([]);
      const peer = await log.nth<Socket>("peer");
      peer.resume();
      expect(await log.nth("caught-up")).toBe(false);
      // Lost while it is behind, it begins anew.
      peer.pause();
      while (!link.isBehind) write(link, 1, size);
      peer.destroy();
      await log.nth("open", 2);
      expect(link.isBehind).toBe(false);
    },
  );

  it("is told nothing by a link that was closed, whatever it says", async () => {
    const endpoint = await serve((peer) => void peer.write(hello("ROUTER")));
    const link = linkTo(endpoint);
    await log.nth("open");
    const peer = await log.nth<Socket>("peer");
    const closing = link.close(1000);
    peer.write(encodeMessage([bytes("too late")]));
    peer.resume();
    await closing;
    await link.close();
    if (!peer.closed) await once(peer, "close");
    expect([log.all("message"), log.all("down")]).toEqual([[], []]);
  });
});

it("a link to a PUB of ZeroMQ's finds no broker there", async () => {
  const publisher = new Publisher({ linger: 0 });
  await publisher.bind("tcp://127.0.0.1:*");
  closers.push(() => publisher.close());
  linkTo(publisher.lastEndpoint as string);
  // libzmq ends the connection, or is seen to be none, whichever comes first.
  expect(await log.nth("down")).toMatch(/^no broker is there, but a PUB socket$|in the handshake$/);
});
