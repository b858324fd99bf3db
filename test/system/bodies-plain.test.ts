// The bodies of plain and Majordomo peers, through the broker and to native ones: they are what they were,
// wherever they waited.
import { afterEach, beforeEach, expect, test } from "vitest";
import { Dealer, Reply, Request } from "zeromq";
import { Broker, Client, Worker } from "../../build/index.js";
import { bodyOf, Given, sizes } from "./patterned.js";
import { eventually } from "./processes.js";

const loopback = { frontend: "tcp://127.0.0.1:0", backend: "tcp://127.0.0.1:0" };
const COUNT = 3 * sizes.length;

let broker: Broker;
let closers: (() => unknown)[];

beforeEach(async () => {
  broker = await Broker.start(loopback);
  closers = [];
});

afterEach(async () => {
  for (const close of closers.reverse()) await close();
  await broker.close({ timeoutMs: 0 });
});

function opened<T extends { close(): void }>(socket: T): T {
  closers.push(() => socket.close());
  return socket;
}

async function connect(): Promise<Client> {
  const client = await Client.connect({ brokers: broker.frontend });
  closers.push(() => client.close({ timeoutMs: 0 }));
  return client;
}

const numberOf = (part: Buffer) => Number(part.toString());
/** What goes beside a body so that it can be told which it is. */
const label = (number: number) => Buffer.from(`${number}`);

/** Parts of a message: a number, its body, and that again in two. */
function partsOf(number: number): Buffer[] {
  const body = bodyOf(number);
  const middle = body.length >> 1;
  return [label(number), body, body.subarray(0, middle), body.subarray(middle)];
}

function addParts(given: Given, what: string, parts: readonly Buffer[], number: number): void {
  expect(parts).toHaveLength(4);
  expect(numberOf(parts[0])).toBe(number);
  given.add(what, number, new Uint8Array(parts[1]));
  given.add(`${what}, its parts`, number, new Uint8Array(Buffer.concat(parts.slice(2))));
}

/** A REP that answers with the parts of the next number. */
function startRep(given: Given): void {
  const socket = opened(new Reply({ linger: 0 }));
  socket.connect(broker.backend[0]);
  const serve = async () => {
    for await (const parts of socket) {
      const number = numberOf(parts[0]);
      addParts(given, "request", parts, number);
      await socket.send(partsOf(number + 1));
    }
  };
  serve().catch(() => {}); // Ends when the socket is closed.
}

async function ask(given: Given, numbers: number[]): Promise<void> {
  const socket = opened(new Request({ linger: 0 }));
  socket.connect(broker.frontend[0]);
  for (const number of numbers) {
    await socket.send(partsOf(number));
    addParts(given, "reply", await socket.receive(), number + 1);
  }
}

const share = (index: number, of: number) =>
  Array.from({ length: COUNT }, (_, number) => number).filter((number) => number % of === index);

test("of REQ clients and REP workers, those that wait for one too", async () => {
  const given = new Given();
  const asking = [0, 1, 2, 3, 4, 5].map((index) => ask(given, share(index, 6)));
  await eventually("they wait", () => broker.stats.queued === 6);
  startRep(given);
  startRep(given);
  await Promise.all(asking);
  given.check(4 * COUNT);
});

test("of REQ clients and native workers, and of native clients and REP workers", async () => {
  const given = new Given();
  const handler = async (body: Uint8Array) => {
    // In one piece: the parts of a message stand behind each other.
    const bytes = Buffer.from(body.buffer, body.byteOffset, body.length);
    const number = Number.parseInt(bytes.toString("latin1", 0, 4), 10);
    given.add("request", number, body.subarray(4));
    await new Promise<void>((resolve) => setImmediate(resolve));
    return bodyOf(number + 1);
  };
  const headed = (number: number) =>
    Buffer.concat([Buffer.from(`${number}`.padEnd(4)), bodyOf(number)]);
  await using worker = await Worker.start({
    brokers: broker.backend,
    services: { default: { raw: true, handler: handler as never } },
    concurrency: 2,
  });
  const asking = [0, 1, 2, 3].map(async (index) => {
    const socket = opened(new Request({ linger: 0 }));
    socket.connect(broker.frontend[0]);
    for (const number of share(index, 4)) {
      const whole = headed(number);
      // As one part and as two.
      await socket.send(number % 2 === 0 ? whole : [whole.subarray(0, 9), whole.subarray(9)]);
      const [reply] = await socket.receive();
      given.add("reply", number + 1, new Uint8Array(reply));
    }
  });
  await Promise.all(asking);
  await worker.close();
  given.check(2 * COUNT);

  const others = new Given();
  const rep = opened(new Reply({ linger: 0 }));
  rep.connect(broker.backend[0]);
  const serve = async () => {
    for await (const [bytes] of rep) {
      const number = Number.parseInt(bytes.toString("latin1", 0, 4), 10);
      others.add("request", number, new Uint8Array(bytes.subarray(4)));
      const whole = bodyOf(number + 1);
      await rep.send(number % 2 === 0 ? [whole] : [whole.subarray(0, 7), whole.subarray(7)]);
    }
  };
  serve().catch(() => {});
  const client = await connect();
  await Promise.all(
    Array.from({ length: COUNT }, async (_, number) => {
      const reply = await client.request<Uint8Array>("default", headed(number), { raw: true });
      others.add("reply", number + 1, reply);
    }),
  );
  others.check(2 * COUNT);
});

// --- Majordomo ---

const EMPTY = Buffer.alloc(0);

/** A Majordomo worker of 0.2 that answers in `partCount` parts, the last of them FINAL. */
function startMajordomo(given: Given, service: string, partCount: number): void {
  const socket = opened(new Dealer({ linger: 0 }));
  socket.connect(broker.backend[0]);
  const serve = async () => {
    await socket.send(["MDPW02", Buffer.of(1), service]);
    for await (const [, command, address, , ...body] of socket) {
      if (command[0] !== 2) continue;
      const number = numberOf(body[0]);
      addParts(given, "request", body, number);
      for (let part = 1; part <= partCount; part++) {
        const ordinal = Buffer.of(part < partCount ? 3 : 4);
        await socket.send(["MDPW02", ordinal, address, EMPTY, ...partsOf(number + part)]);
      }
    }
  };
  serve().catch(() => {});
}

/** Asks for all numbers at once, as such programs do, and keeps what comes back. */
async function askMajordomo(
  given: Given,
  version: 1 | 2,
  service: string,
  partCount: number,
): Promise<void> {
  const socket = opened(new Dealer({ linger: 0 }));
  socket.connect(broker.frontend[0]);
  for (let number = 0; number < COUNT; number++) {
    const head = version === 1 ? [EMPTY, "MDPC01"] : ["MDPC02", Buffer.of(1)];
    await socket.send([...head, service, ...partsOf(number)]);
  }
  for (let number = 0; number < COUNT; number++) {
    if (version === 1) {
      // All parts of the answer in one message.
      const [, header, name, ...body] = await socket.receive();
      expect([header, name].map(String)).toEqual(["MDPC01", service]);
      expect(body).toHaveLength(4 * partCount);
      for (let part = 1; part <= partCount; part++) {
        addParts(given, "answer", body.slice(4 * part - 4, 4 * part), number + part);
      }
      continue;
    }
    for (let part = 1; part <= partCount; part++) {
      const [header, ordinal, name, ...body] = await socket.receive();
      expect([header, name].map(String)).toEqual(["MDPC02", service]);
      expect(ordinal[0]).toBe(part < partCount ? 2 : 3);
      addParts(given, "answer", body, number + part);
    }
  }
}

test.each([
  [1, 1],
  [1, 3],
  [2, 1],
  [2, 3],
] as const)("of Majordomo clients of 0.%i and answers of %i parts", async (version, partCount) => {
  const given = new Given();
  const asking = askMajordomo(given, version, "mdp", partCount);
  await eventually("it waits", () => broker.stats.requests > 0);
  startMajordomo(given, "mdp", partCount);
  await asking;
  given.check(2 * (COUNT + COUNT * partCount));
});

test("of names that Majordomo clients ask for", async () => {
  startMajordomo(new Given(), "here", 1);
  await eventually("it serves", () => broker.stats.workers === 1);
  const socket = opened(new Dealer({ linger: 0 }));
  socket.connect(broker.frontend[0]);
  for (let i = 0; i < 50; i++) {
    await socket.send([EMPTY, "MDPC01", "mmi.service", i % 2 === 0 ? "here" : "nowhere"]);
  }
  for (let i = 0; i < 50; i++) {
    const answer = (await socket.receive()).map(String);
    expect(answer).toEqual(["", "MDPC01", "mmi.service", i % 2 === 0 ? "200" : "404"]);
  }
});
