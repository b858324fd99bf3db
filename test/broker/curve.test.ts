import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { Dealer, Reply, Request } from "zeromq";
import { NetPort } from "../../build/broker/net-port.js";
import { type Broker, Client, type SecurityEvent, Worker } from "../../build/index.js";
import { eventually } from "../system/processes.js";
import {
  accessOf,
  curveOf,
  type KeyName,
  keyOf,
  socketKeys,
  startBroker,
  usual,
} from "./curve-keys.js";
import { message, workerHello } from "./fake-port.js";

/** A raw reply that says `text`: an array of its own, and no Buffer. */
const bytes = (text: string) => new Uint8Array(Buffer.from(text));

let broker: Broker;
let events: SecurityEvent[];
const opened: { close(): unknown }[] = [];

beforeEach(async () => {
  ({ broker, events } = await startBroker());
});

afterEach(async () => {
  for (const each of opened.splice(0)) await each.close();
  await broker.close({ timeoutMs: 0 });
});

function kept<T extends { close(): unknown }>(it: T): T {
  opened.push(it);
  return it;
}

async function startWorker(key: KeyName = "worker", service = "echo"): Promise<Worker> {
  return kept(
    await Worker.start({
      brokers: broker.backend,
      curve: curveOf(key),
      services: { [service]: { raw: true, handler: (body) => body } },
    }),
  );
}

async function connect(key: KeyName = "client"): Promise<Client> {
  const client = await Client.connect({ brokers: broker.frontend, curve: curveOf(key) });
  opened.push({ close: () => client.close({ timeoutMs: 0 }) });
  return client;
}

function startRep(key: KeyName = "worker"): Reply {
  const rep = kept(new Reply({ ...socketKeys(key), linger: 0 }));
  rep.connect(broker.backend[0]);
  const serve = async () => {
    for await (const body of rep) await rep.send(["rep", ...body]);
  };
  serve().catch(() => {});
  return rep;
}

function requester(key: KeyName = "client"): Request {
  const socket = kept(new Request({ ...socketKeys(key), linger: 0 }));
  socket.connect(broker.frontend[0]);
  return socket;
}

async function ask(socket: Request, text: string): Promise<string[]> {
  await socket.send(text);
  return (await socket.receive()).map((reply) => Buffer.from(reply as Uint8Array).toString());
}

const raw = { raw: true };
const refusalsOf = () => broker.stats.refusals;

describe("whoever may", () => {
  test("native client and worker, many requests", async () => {
    await startWorker();
    const client = await connect();
    const bodies = Array.from({ length: 5000 }, (_, index) => Buffer.from(`body ${index}`));
    // Not all at once: that would be an overload.
    while (bodies.length > 0) {
      const wave = bodies.splice(0, 100);
      const replies = await Promise.all(wave.map((body) => client.request("echo", body, raw)));
      expect(replies.map((reply) => Buffer.from(reply as Uint8Array).toString())).toEqual(
        wave.map(String),
      );
    }
    const large = Buffer.alloc(3_000_000, "x");
    expect((await client.request<Uint8Array>("echo", large, raw)).length).toBe(large.length);
    expect(events).toEqual([]);
  });

  test("REQ and REP, and each with the other's native kind", async () => {
    startRep();
    const client = await connect();
    const reply = await client.request<Uint8Array>("default", Buffer.from("a"), raw);
    expect(Buffer.from(reply).toString()).toBe("repa");
    expect(await ask(requester(), "b")).toEqual(["rep", "b"]);
    opened.splice(0, 1)[0].close();
    await eventually("the REP is gone", () => broker.stats.workers === 0);
    await startWorker("worker", "default");
    expect(await ask(requester(), "c")).toEqual(["c"]);
    expect(events).toEqual([]);
  });

  test("the death of a REP in mid-request gives it to another", async () => {
    const dying = kept(new Reply({ ...socketKeys("worker"), linger: 0 }));
    dying.connect(broker.backend[0]);
    const asking = ask(requester(), "x");
    expect(String(await dying.receive())).toBe("x");
    startRep();
    await eventually("the other is there", () => broker.stats.workers === 2);
    dying.close();
    expect(await asking).toEqual(["rep", "x"]);
    expect(broker.stats.counts.redelivered).toBe(1);
  });

  test("a DEALER that says nothing is taken for nothing, and may be a worker whenever it says so", async () => {
    const slow = kept(new Dealer({ ...socketKeys("worker"), linger: 0 }));
    slow.connect(broker.backend[0]);
    await eventually("it is there", () => broker.stats.backendConnections === 1);
    expect(broker.stats.workers).toBe(0);
    await slow.send(message(workerHello(["echo"])));
    await eventually("it is a worker", () => broker.stats.workers === 1);
    expect(broker.stats.services.echo).toMatchObject({ isServed: true });
  });

  test("a worker has a pulse, which comes in by its key and goes with it", async () => {
    const { broker: other } = await startBroker({
      heartbeatIntervalMs: 50,
      heartbeatTimeoutMs: 100,
    });
    kept({ close: () => other.close({ timeoutMs: 0 }) });
    const worker = kept(
      await Worker.start({
        brokers: other.backend,
        curve: curveOf("worker"),
        services: { echo: (body) => body },
      }),
    );
    await eventually("both connections stand", () => other.stats.backendConnections === 2);
    await worker.drain();
    await eventually("both have ended", () => other.stats.backendConnections === 0);
  });

  test("a broker that closes lets out the last replies", async () => {
    const worker = await Worker.start({
      brokers: broker.backend,
      curve: curveOf("worker"),
      services: { echo: () => new Promise((resolve) => setTimeout(resolve, 50, "late")) },
    });
    const client = await connect();
    const asked = Promise.all(Array.from({ length: 20 }, () => client.request("echo", 1)));
    await eventually("it is there", () => broker.stats.requests > 0);
    const closing = broker.close();
    expect(new Set(await asked)).toEqual(new Set(["late"]));
    expect(await closing).toBe(true);
    await worker.close();
  });
});

describe("whoever may not", () => {
  const strangers: [string, object | undefined, string, string][] = [
    ["no key", undefined, "mechanism", "UNAUTHENTICATED: no broker took it: .* wants CURVE"],
    [
      "a key that is not known",
      curveOf("stranger"),
      "unauthenticated",
      "UNAUTHENTICATED: no broker took it: .* does not let in",
    ],
    [
      "a wrong server key",
      curveOf("client", "stranger"),
      "hello-refused",
      "UNAVAILABLE: no broker took it: .* is serverKey its public key",
    ],
  ];
  for (const [what, curve, counted, told] of strangers) {
    test(`${what}: refused and told, counted, logged, and the rest undisturbed`, async () => {
      await startWorker();
      const client = await connect();
      const options = { connectTimeoutMs: 500, curve: curve as never };
      const [asClient, asWorker] = await Promise.allSettled([
        Client.connect({ brokers: broker.frontend, ...options }),
        Worker.start({ brokers: broker.backend, services: { echo: () => 1 }, ...options }),
        ...Array.from({ length: 100 }, () => client.request("echo", Buffer.from("x"), raw)),
      ]);
      for (const outcome of [asClient, asWorker]) {
        expect(outcome.status).toBe("rejected");
        expect((outcome as PromiseRejectedResult).reason.message).toMatch(new RegExp(told));
      }
      expect(client.stats.replies).toBe(100);
      expect(refusalsOf()[counted]).toBeGreaterThanOrEqual(2);
      const key = counted === "unauthenticated" ? keyOf.stranger.publicKey : "";
      const [event] = events;
      expect(event).toMatchObject({ status: "UNAUTHENTICATED", what: counted, key });
      expect(event.remote).toMatch(/^127\.0\.0\.1:\d+$/);
      expect(broker.stats).toMatchObject({ clients: 1, workers: 1 });
    });
  }

  test("a worker whose key may only call", async () => {
    const services = { echo: () => 1 };
    const options = { brokers: broker.backend, connectTimeoutMs: 500, services };
    await expect(Worker.start({ ...options, curve: curveOf("client") })).rejects.toThrow(
      /^PERMISSION_DENIED: .* client may not serve echo/,
    );
    expect(broker.stats.faults.denied).toBeGreaterThanOrEqual(1);
    const key = keyOf.client.publicKey;
    const status = "PERMISSION_DENIED";
    expect(events[0]).toMatchObject({ status, what: "denied", key, name: "client" });
    expect(broker.stats.workers).toBe(0);
  });

  test("a client whose key may only serve, native and REQ", async () => {
    await startWorker();
    const client = await connect("worker");
    await expect(client.request("echo", 1)).rejects.toThrow(
      "PERMISSION_DENIED: worker may not call echo",
    );
    expect(await ask(requester("worker"), "x")).toEqual([
      "",
      "PERMISSION_DENIED",
      "worker may not call default",
    ]);
    expect(broker.stats.faults.denied).toBe(2);
  });

  test("a service beyond what its key may call, beside one that it may", async () => {
    await startWorker("both", "secret");
    await startWorker();
    const client = await connect();
    await expect(client.request("secret", 1)).rejects.toThrow("PERMISSION_DENIED: client may not");
    expect(await client.request("echo", Buffer.from("x"), raw)).toEqual(bytes("x"));
  });

  test("a REP whose key may not serve is not given anything, and dropped", async () => {
    startRep("client");
    await eventually("it is denied", () => broker.stats.faults.denied > 0);
    expect(broker.stats.workers).toBe(0);
    expect(events[0].reason).toBe("client may not serve default");
  });
});

describe("the access file taken anew", () => {
  test("cuts off a key that is gone, and disturbs nobody else", async () => {
    await startWorker("both");
    const stays = await connect("both");
    const goes = await connect("client");
    const requests = (client: Client) =>
      Array.from({ length: 200 }, () => client.request("echo", Buffer.from("x"), raw));
    await Promise.all(requests(goes));
    const before = requests(stays);
    expect(broker.reloadAccess(accessOf({ both: usual.both }))).toEqual({
      keyCount: 1,
      cutCount: 1,
    });
    await Promise.all([...before, ...requests(stays)]);
    expect(stays.stats).toMatchObject({ replies: 400, failures: 0, resent: 0 });
    await expect(goes.request("echo", 1, { timeoutMs: 300 })).rejects.toThrow(
      /DEADLINE_EXCEEDED: .* UNAUTHENTICATED/,
    );
    const key = keyOf.client.publicKey;
    expect(events[0]).toMatchObject({ status: "UNAUTHENTICATED", what: "revoked", key });
    expect(refusalsOf().revoked).toBe(1);
    expect(broker.stats).toMatchObject({ clients: 1, workers: 1 });

    // And lets it in again when it is back, without a word from it.
    broker.reloadAccess(accessOf(usual));
    expect(await goes.request("echo", Buffer.from("y"), raw)).toEqual(bytes("y"));
  });

  test("a REP worker and a REQ client whose key is gone are cut off too", async () => {
    startRep();
    expect(await ask(requester(), "x")).toEqual(["rep", "x"]);
    expect(broker.reloadAccess(accessOf({})).cutCount).toBe(2);
    await eventually("they are gone", () => {
      const { clients, workers } = broker.stats;
      return clients + workers === 0;
    });
  });

  test("cuts off a worker that may no longer serve what it serves, and keeps one that may", async () => {
    await startWorker("both");
    await startWorker();
    const client = await connect();
    const { cutCount } = broker.reloadAccess(
      accessOf({ ...usual, both: { serve: ["other"] }, client: { call: ["echo"] } }),
    );
    expect(cutCount).toBe(1);
    await eventually("one is left", () => broker.stats.workers === 1);
    expect(await client.request("echo", Buffer.from("x"), raw)).toEqual(bytes("x"));
    // The client stays, with what it may now.
    await expect(client.request("default", 1)).rejects.toThrow("PERMISSION_DENIED");
    expect(client.stats.resent).toBe(0);
  });

  test("ends subscriptions that a key may have no longer, and keeps the others", async () => {
    const listener = { subscribe: ["prices.>", "news.*"], publish: [">"] };
    broker.reloadAccess(accessOf({ client: listener }));
    const client = await connect();
    const heard = async (pattern: string) => {
      const topics: string[] = [];
      for await (const { topic } of client.subscribe(pattern)) {
        topics.push(topic);
        if (topics.length === 2) break;
      }
      return topics;
    };
    await expect(heard("orders.>")).rejects.toThrow(
      "PERMISSION_DENIED: client may not subscribe orders.>",
    );
    await expect(heard(">")).rejects.toThrow("PERMISSION_DENIED");
    const [prices, news] = [heard("prices.eu.*"), heard("news.*")];
    await eventually("both are there", () => broker.stats.topics.subscriptions === 2);
    await client.publish("prices.eu.a", 1);
    await client.publish("news.a", 1);
    broker.reloadAccess(
      accessOf({ client: { subscribe: ["prices.eu.*"], publish: ["prices.>"] } }),
    );
    await expect(news).rejects.toThrow("PERMISSION_DENIED: client may not subscribe news.*");
    await expect(client.publish("news.a", 1, { confirm: true })).rejects.toThrow(
      "PERMISSION_DENIED: client may not publish news.a",
    );
    await client.publish("prices.eu.b", 1);
    expect(await prices).toEqual(["prices.eu.a", "prices.eu.b"]);
  });

  test("what is none changes nothing", async () => {
    await startWorker();
    const client = await connect();
    const wrong = { keys: { [keyOf.client.publicKey]: { calls: ["echo"] } } };
    expect(() => broker.reloadAccess(wrong as never)).toThrow('unknown field "calls"');
    expect(() => broker.reloadAccess("/no/such/file")).toThrow(
      "access file /no/such/file: cannot be read",
    );
    expect(await client.request("echo", Buffer.from("x"), raw)).toEqual(bytes("x"));
    expect(refusalsOf()).toEqual({});
  });
});

test("two brokers of one process have each their own keys and access", async () => {
  const other = await startBroker({}, accessOf({ stranger: { call: ["*"] } }));
  try {
    await startWorker();
    const client = await connect();
    const options = { connectTimeoutMs: 300, brokers: other.broker.frontend };
    await expect(Client.connect({ ...options, curve: curveOf("client") })).rejects.toThrow(
      "UNAUTHENTICATED",
    );
    const there = await Client.connect({ ...options, curve: curveOf("stranger") });
    await there.close();
    await other.broker.close({ timeoutMs: 0 });
    // Nothing goes with it of the one that is left.
    expect(await client.request("echo", Buffer.from("x"), raw)).toEqual(bytes("x"));
    await (await connect("both")).close();
  } finally {
    await other.broker.close({ timeoutMs: 0 });
  }
});

test("the last broker of a process may close, and the next one start at once", async () => {
  await broker.close({ timeoutMs: 0 });
  ({ broker, events } = await startBroker());
  await startWorker();
  expect(await (await connect()).request("echo", Buffer.from("x"), raw)).toEqual(bytes("x"));
});

const wrong: [string, object, string][] = [
  [
    "a key that is none",
    { publicKey: "abc" },
    "curve.publicKey must be a CURVE key, 40 characters",
  ],
  [
    "a public key that is not of its pair",
    { publicKey: keyOf.client.publicKey },
    "curve.publicKey is not the one that belongs to curve.secretKey",
  ],
  ["no secret key", { secretKey: undefined }, "curve.secretKey must be a CURVE key"],
  ["no access", { access: undefined }, "the access file must be an object"],
  ["an access file that is not there", { access: "/no/file" }, "access file /no/file: cannot be"],
];
for (const [what, change, told] of wrong)
  test(`a broker is not started with ${what}`, async () => {
    const access = accessOf(usual);
    const start = startBroker({ curve: { ...keyOf.broker, access, ...change } as never });
    await expect(start).rejects.toThrow(told);
  });

test("a client is not made with a key that is none", async () => {
  const curve = { ...curveOf("client"), serverKey: "short" };
  await expect(Client.connect({ brokers: broker.frontend, curve })).rejects.toThrow(
    "curve.serverKey must be a CURVE key, 40 characters of Z85, got 5 characters",
  );
});

test("a client whose keys are no pair is told so", async () => {
  const curve = { ...curveOf("client"), publicKey: keyOf.worker.publicKey };
  const options = { brokers: broker.frontend, connectTimeoutMs: 300, curve };
  await expect(Client.connect(options)).rejects.toThrow(
    "curve.publicKey is not the one that belongs to curve.secretKey",
  );
});

test("who is not there may do nothing under CURVE", () => {
  const limits = { heartbeatIntervalMs: 100, heartbeatTimeoutMs: 1000, handshakeTimeoutMs: 1000 };
  const events = { onMessage() {}, onTurn() {}, onUnreachable() {} };
  const options = { ...limits, messageBytesMax: 1000, connectionsMax: 1, curve: {} as never };
  const nobody = new NetPort(options, events).accessOf(Buffer.alloc(4));
  expect(nobody?.may("call", "echo")).toBe(false);
  expect(new NetPort({ ...options, curve: undefined }, events).accessOf(Buffer.alloc(4))).toBe(
    undefined,
  );
});

test("no port stands open to who shows no key", async () => {
  const any = "tcp://127.0.0.1:0";
  const plain = { push: any, pull: any, xsub: any, xpub: any };
  const { broker: other } = await startBroker(plain);
  kept({ close: () => other.close({ timeoutMs: 0 }) });
  const { frontend, backend, push, pull, xsub, xpub } = other;
  const endpoints = [frontend, backend, push, pull, xsub, xpub].flat() as string[];
  expect(endpoints.length).toBe(6);
  for (const endpoint of endpoints) {
    const socket = kept(new Dealer({ linger: 0 }));
    socket.connect(endpoint);
  }
  await eventually("each is refused", () => (other.stats.refusals.mechanism ?? 0) >= 6);
  expect(other.stats.backendConnections).toBe(0);
});
