import { expect, test } from "vitest";
import { Router } from "zeromq";
import {
  type CodecKey,
  createCodec,
  generateKey,
  generateServiceKey,
} from "../../build/codec/index.js";
import {
  Broker,
  Client,
  type ClientOptions,
  type RequestError,
  Worker,
  type WorkerOptions,
} from "../../build/index.js";
import { BatchReader, BatchWriter } from "../../build/wire/batch.js";
import { AT_A, Kind, Role } from "../../build/wire/layout.js";
import {
  type ExchangeId,
  ReplyRecord,
  RequestRecord,
  requestIdBytes,
  writeReply,
  writeRequest,
} from "../../build/wire/request-record.js";
import { writePing, writeWelcome } from "../../build/wire/session-record.js";
import { NameCache } from "../../build/wire/text.js";
import { eventually } from "./processes.js";

const loopback = { frontend: "tcp://127.0.0.1:0", backend: "tcp://127.0.0.1:0" };

function failure(promise: Promise<unknown>): Promise<RequestError> {
  return promise.then(
    (reply) => {
      throw new Error(`replied ${JSON.stringify(reply)}`);
    },
    (error) => error,
  );
}

/** One request as it is about to be forwarded, which a lying broker may change. */
interface Passing {
  id: ExchangeId;
  service: string;
  body: Uint8Array;
}

/**
 * A broker that lies: one client, one worker, all that passes shown to `onRequest` and `onReply`, which
 * return what is passed on instead.
 */
class LyingBroker {
  onRequest = (passing: Passing): Passing[] => [passing];
  onReply = (passing: Passing): Passing[] => [passing];
  isPinging = false;
  readonly #front = new Router({ linger: 0 });
  readonly #back = new Router({ linger: 0 });
  #client: Buffer = Buffer.alloc(0);
  #worker: Buffer = Buffer.alloc(0);

  static async start(): Promise<LyingBroker> {
    const broker = new LyingBroker();
    await broker.#front.bind("tcp://127.0.0.1:*");
    await broker.#back.bind("tcp://127.0.0.1:*");
    void broker.#run(broker.#front, "client");
    void broker.#run(broker.#back, "worker");
    return broker;
  }

  get frontend(): string[] {
    return [this.#front.lastEndpoint as string];
  }

  get backend(): string[] {
    return [this.#back.lastEndpoint as string];
  }

  close(): void {
    this.#front.close();
    this.#back.close();
  }

  async #run(socket: Router, side: "client" | "worker"): Promise<void> {
    const reader = new BatchReader();
    try {
      for await (const frames of socket) {
        reader.open(frames, 1);
        while (reader.next()) await this.#onRecord(socket, side, frames[0], reader);
      }
    } catch {
      // Closed.
    }
  }

  async #onRecord(
    socket: Router,
    side: "client" | "worker",
    routingId: Buffer,
    reader: BatchReader,
  ): Promise<void> {
    const writer = new BatchWriter();
    if (reader.kind === Kind.HELLO) {
      // That stands for the connection of a worker which has said HELLO already.
      if (reader.bytes[reader.at + AT_A] === Role.PULSE) return;
      if (side === "client") this.#client = routingId;
      else this.#worker = routingId;
      writeWelcome(writer, {
        brokerLow: 1,
        brokerHigh: 1,
        inFlightMax: 100,
        recordMax: 1e6,
      });
      await socket.send([routingId, ...writer.finish()]);
    } else if (reader.kind === Kind.REQUEST) {
      const record = new RequestRecord();
      record.read(reader, new NameCache());
      const passing = { id: { ...record }, service: record.service, body: record.body[0] };
      for (const { id, service, body } of this.onRequest(passing)) {
        const fields = {
          priority: 4,
          attempts: 1,
          timeoutMs: 5000,
          flags: 0,
          service: Buffer.from(service),
          headers: record.headers,
        };
        writeRequest(writer, id, fields, [body]);
      }
      if (!writer.isEmpty) await this.#back.send([this.#worker, ...writer.finish()]);
    } else if (reader.kind === Kind.REPLY) {
      const record = new ReplyRecord();
      record.read(reader);
      const passing = { id: { ...record }, service: "", body: record.body[0] };
      if (this.isPinging) writePing(writer);
      for (const { id, body } of this.onReply(passing)) writeReply(writer, id, 0, 0, [body]);
      if (!writer.isEmpty) await this.#front.send([this.#client, ...writer.finish()]);
    } else if (reader.kind === Kind.FAILURE) {
      await this.#front.send([this.#client, reader.bytes]);
    }
  }
}

type WaySides = [Omit<ClientOptions, "brokers">, Omit<WorkerOptions, "brokers" | "services">];

/** The keys of client and worker, shared or agreed on. */
const ways: [string, () => Promise<WaySides>][] = [
  [
    "a shared key",
    async () => {
      const keys = [await generateKey()];
      return [{ keys }, { keys }];
    },
  ],
  [
    "key agreement",
    async () => {
      const serviceKey = await generateServiceKey();
      const servicePublicKeys = { "*": serviceKey.publicKey };
      return [{ servicePublicKeys }, { serviceKeys: [serviceKey] }];
    },
  ],
];

async function lyingTrio(...[clientOptions, workerOptions]: WaySides) {
  const broker = await LyingBroker.start();
  const ran: string[] = [];
  const handler = (name: string) => (request: unknown) => {
    ran.push(name);
    return { from: name, request };
  };
  const worker = await Worker.start({
    brokers: broker.backend,
    ...workerOptions,
    services: { pay: handler("pay"), refund: handler("refund") },
  });
  const client = await Client.connect({ brokers: broker.frontend, ...clientOptions });
  return {
    broker,
    worker,
    client,
    ran,
    [Symbol.asyncDispose]: async () => {
      await client.close({ timeoutMs: 0 });
      await worker.close();
      broker.close();
    },
  };
}

const flipped = (bytes: Uint8Array) => {
  const copy = Uint8Array.from(bytes);
  copy[copy.length - 20] ^= 1;
  return copy;
};

test.each(ways)(
  "%s: what a lying broker does to a request is refused, each with its own reason",
  async (_, sides) => {
    await using all = await lyingTrio(...(await sides()));
    const { broker, client, ran, worker } = all;

    broker.onRequest = (passing) => [{ ...passing, body: flipped(passing.body) }];
    const tampered = await failure(client.request("pay", { sum: 1 }));
    expect(tampered).toMatchObject({ code: "UNAUTHENTICATED" });
    expect(tampered.reason).toMatch(/^body refused: TAMPERED/);

    broker.onRequest = (passing) => [{ ...passing, service: "refund" }];
    expect((await failure(client.request("pay", { sum: 1 }))).reason).toMatch(/REDIRECTED/);

    broker.onRequest = (passing) => [
      { ...passing, id: { ...passing.id, sequence: passing.id.sequence + 1 } },
    ];
    const swapped = failure(client.request("pay", { sum: 1 }, { timeoutMs: 300 }));
    await eventually("it is refused", () => worker.stats.refused === 3);
    expect((await swapped).code).toBe("DEADLINE_EXCEEDED");
    expect(ran).toEqual([]);

    // The same request again, as it was: answered from memory, not run again.
    let first: Passing | undefined;
    broker.onRequest = (passing) => {
      first ??= { ...passing, body: Uint8Array.from(passing.body) };
      return [passing, passing];
    };
    expect(await client.request("pay", { sum: 2 })).toMatchObject({ request: { sum: 2 } });
    await eventually("the second came", () => worker.stats.repeated === 1);
    expect(ran).toEqual(["pay"]);

    // Its bytes under the id of another.
    broker.onRequest = (passing) => [{ ...passing, body: (first as Passing).body }];
    expect((await failure(client.request("pay", { sum: 3 }))).reason).toMatch(/SWAPPED/);
    expect(ran).toEqual(["pay"]);
  },
);

test("a replay that the worker no longer remembers is refused as REPLAYED", async () => {
  const key = await generateKey();
  const broker = await LyingBroker.start();
  let runCount = 0;
  const worker = await Worker.start({
    brokers: broker.backend,
    keys: [key],
    recentAgeMsMax: 0,
    services: { pay: () => ++runCount },
  });
  const client = await Client.connect({ brokers: broker.frontend, keys: [key] });
  let passed: Passing | undefined;
  broker.onRequest = (passing) => {
    const again = passed === undefined ? [] : [passed];
    passed = { ...passing, body: Uint8Array.from(passing.body) };
    return [...again, passing];
  };
  expect(await client.request("pay", 1)).toBe(1);
  expect(await client.request("pay", 2)).toBe(2);
  expect(worker.stats.refused).toBe(1);
  expect(runCount).toBe(2);
  await client.close();
  await worker.close();
  broker.close();
});

test.each(ways)(
  "%s: what a lying broker does to a reply is refused, each with its own reason",
  async (_, sides) => {
    await using all = await lyingTrio(...(await sides()));
    const { broker, client } = all;
    broker.onReply = (passing) => [{ ...passing, body: flipped(passing.body) }];
    const tampered = await failure(client.request("pay", 1));
    expect(tampered).toMatchObject({ code: "UNAUTHENTICATED" });
    expect(tampered.reason).toMatch(/^reply refused: TAMPERED/);

    // Two replies, each given to the other's request.
    const held: Passing[] = [];
    broker.onReply = (passing) => {
      held.push({ ...passing, body: Uint8Array.from(passing.body) });
      if (held.length < 2) return [];
      const [one, other] = held;
      return [
        { ...one, body: other.body },
        { ...other, body: one.body },
      ];
    };
    const both = await Promise.all([
      failure(client.request("pay", 1)),
      failure(client.request("pay", 2)),
    ]);
    for (const { reason } of both) expect(reason).toMatch(/^reply refused: SWAPPED/);

    // A request's own bytes sent back as its reply.
    let asked = new Uint8Array(0);
    broker.onRequest = (passing) => {
      asked = Uint8Array.from(passing.body);
      return [passing];
    };
    broker.onReply = (passing) => [{ ...passing, body: asked }];
    // An agreed one says of itself that it is no reply.
    expect((await failure(client.request("pay", 1))).reason).toMatch(/REDIRECTED|BAD_FLAGS/);
  },
);

test("a broker that asks in the client's place cannot pass the answer on as the client's", async () => {
  const serviceKey = await generateServiceKey();
  const servicePublicKeys = { "*": serviceKey.publicKey };
  await using all = await lyingTrio({ servicePublicKeys }, { serviceKeys: [serviceKey] });
  // Anyone may have a public key: the broker has, and the worker answers whom it does not know.
  const own = await createCodec({ servicePublicKeys });
  all.broker.onRequest = (passing) => {
    const context = {
      service: passing.service,
      direction: "request",
      requestId: requestIdBytes(passing.id),
    } as const;
    return [{ ...passing, body: own.seal({ sum: 1e6 }, context) }];
  };
  const error = await failure(all.client.request("pay", { sum: 1 }));
  expect(error).toMatchObject({ code: "UNAUTHENTICATED" });
  expect(error.reason).toMatch(/^reply refused: UNKNOWN_KEY/);
  expect(all.ran).toEqual(["pay"]);
});

test("a client sends nothing to a service that it has no key for", async () => {
  const serviceKey = await generateServiceKey();
  const servicePublicKeys = { pay: serviceKey.publicKey };
  await using all = await lyingTrio({ servicePublicKeys }, { serviceKeys: [serviceKey] });
  const error = await failure(all.client.request("refund", { sum: 1 }));
  expect(error).toMatchObject({ code: "INVALID_ARGUMENT" });
  expect(error.reason).toMatch(/^NO_KEY/);
  expect(all.client.stats.sent).toBe(0);
  expect(await all.client.request("pay", 1)).toMatchObject({ request: 1 });
});

test("bodies that are wrongly keyed, or in clear where keys are held, are refused", async () => {
  const [one, other] = [await generateKey(), await generateKey()];
  await using broker = await Broker.start(loopback);
  const services = { pay: () => "paid" };
  await using worker = await Worker.start({ brokers: broker.backend, keys: [one], services });
  const reasonWith = async (keys: CodecKey[] | undefined) => {
    const client = await Client.connect({ brokers: broker.frontend, keys });
    const error = await failure(client.request("pay", 1));
    await client.close();
    expect(error.code).toBe("UNAUTHENTICATED");
    return error.reason;
  };
  expect(await reasonWith([other])).toMatch(/^body refused: UNKNOWN_KEY/);
  expect(await reasonWith(undefined)).toMatch(/^body refused: UNSEALED/);
  expect(worker.stats.refused).toBe(2);
  // Raw bytes are no way around it.
  const client = await Client.connect({ brokers: broker.frontend, keys: [one] });
  const raw = await failure(client.request("pay", "x", { raw: true }));
  expect(raw).toMatchObject({ code: "INVALID_ARGUMENT" });
  expect(await client.request("pay", 1)).toBe("paid");
  await client.close();
});

test.each(ways)("%s: the broker sees no word of a sealed body", async (_, sides) => {
  await using all = await lyingTrio(...(await sides()));
  const seen: Uint8Array[] = [];
  all.broker.onRequest = (passing) => [seen.push(passing.body) ? passing : passing];
  all.broker.onReply = (passing) => [seen.push(passing.body) ? passing : passing];
  await all.client.request("pay", { secret: "the words nobody else may read" });
  expect(seen).toHaveLength(2);
  for (const bytes of seen) expect(Buffer.from(bytes).includes("nobody")).toBe(false);
});

test("a handler's words stay with it when bodies are sealed", async () => {
  const key = await generateKey();
  await using broker = await Broker.start(loopback);
  await using _worker = await Worker.start({
    brokers: broker.backend,
    keys: [key],
    services: {
      fail: () => {
        throw new Error("card 4111 declined");
      },
    },
  });
  await using client = await Client.connect({ brokers: broker.frontend, keys: [key] });
  expect((await failure(client.request("fail", 1))).reason).toBe("handler failed");
});

test("an answer for another session, or a second one, is dropped", async () => {
  const key = await generateKey();
  await using all = await lyingTrio({ keys: [key] }, { keys: [key] });
  all.broker.onReply = (passing) => [
    { ...passing, id: { ...passing.id, sessionLow: (passing.id.sessionLow ^ 1) >>> 0 } },
    passing,
    passing,
  ];
  expect(await all.client.request("pay", 5)).toMatchObject({ request: 5 });
  await eventually("the others came", () => all.client.stats.late === 2);
});

test("a body that asks on its own while it is packed takes nothing from the request it is in", async () => {
  const keys = [await generateKey()];
  await using broker = await Broker.start(loopback);
  await using _worker = await Worker.start({
    brokers: broker.backend,
    keys,
    services: { echo: (body) => body },
  });
  await using client = await Client.connect({ brokers: broker.frontend, keys });
  let inner: Promise<unknown> | undefined;
  const body = {
    get outer() {
      inner ??= client.request("echo", "inner");
      return "outer";
    },
  };
  expect(await client.request("echo", body)).toEqual({ outer: "outer" });
  expect(await inner).toBe("inner");
});

test("a PING hides no reply behind it, one with a frame of its own neither", async () => {
  const key = await generateKey();
  await using all = await lyingTrio({ keys: [key] }, { keys: [key] });
  all.broker.isPinging = true;
  const noise = new Uint8Array(50_000).map((_, i) => Math.imul(i, 2654435761) >>> 24);
  expect(await all.client.request("pay", noise)).toMatchObject({ request: noise });
});
