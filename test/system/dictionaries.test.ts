import { expect, test } from "vitest";
import {
  type CodecKey,
  createCodec,
  type Dictionary,
  generateKey,
  importDictionary,
  readEnvelope,
} from "../../build/codec/index.js";
import { Broker, Client, RequestError, Worker } from "../../build/index.js";

const loopback = { frontend: "tcp://127.0.0.1:0", backend: "tcp://127.0.0.1:0" };
const keys: CodecKey[] = [await generateKey()];
const order = {
  type: "order.placed",
  channel: "web",
  shipping: { carrier: "PostNord", city: "Uppsala", isExpress: true },
};
const dictionaryOf = async (value: unknown) => importDictionary((await createCodec()).pack(value));
const ours = await dictionaryOf(order);
const other = await dictionaryOf({ ...order, channel: "app" });
const DICTIONARY = 0x08;

/** A codec that tells of each envelope it sealed. */
async function listening(dictionaries: readonly Dictionary[], sealed: Uint8Array[]) {
  const codec = await createCodec({ keys, dictionaries });
  const sealSoon = codec.sealSoon.bind(codec);
  const sealPacked = codec.sealPacked.bind(codec);
  const note = (bytes: Uint8Array) => {
    sealed.push(bytes.slice());
    return bytes;
  };
  // Small ones all: nothing is left to a thread.
  codec.sealSoon = (value, context, origin) => note(sealSoon(value, context, origin) as Uint8Array);
  codec.sealPacked = (packed, context) => note(sealPacked(packed, context));
  return codec;
}

/** Whether each envelope names a dictionary, and refers to it. */
function named(sealed: readonly Uint8Array[]): string[] {
  return sealed.map((bytes) => {
    const { flags, isCompressed } = readEnvelope(bytes);
    if ((flags & DICTIONARY) === 0) return "none";
    return isCompressed ? "refers" : "offers";
  });
}

async function party(client: readonly Dictionary[], workers: (readonly Dictionary[])[]) {
  const broker = await Broker.start(loopback);
  const asked: Uint8Array[] = [];
  const replied: Uint8Array[] = [];
  const ran: unknown[] = [];
  const started = await Promise.all(
    workers.map(async (dictionaries) =>
      Worker.start({
        brokers: broker.backend,
        codec: await listening(dictionaries, replied),
        concurrency: 1,
        services: {
          echo: (body) => {
            ran.push(body);
            return body;
          },
        },
      }),
    ),
  );
  const asking = await Client.connect({
    brokers: broker.frontend,
    codec: await listening(client, asked),
  });
  return {
    broker,
    client: asking,
    workers: started,
    asked,
    replied,
    ran,
    [Symbol.asyncDispose]: async () => {
      await asking.close();
      for (const worker of started) await worker.close();
      await broker.close();
    },
  };
}

test("both hold it: request and reply refer to it", async () => {
  await using all = await party([ours], [[other, ours]]);
  expect(await all.client.request("echo", order)).toEqual(order);
  expect(named(all.asked)).toEqual(["refers"]);
  expect(named(all.replied)).toEqual(["refers"]);
  expect(all.replied[0].length).toBeLessThan(100);
});

test("a request too small to compress offers it, and its reply refers to it", async () => {
  const broker = await Broker.start(loopback);
  const replied: Uint8Array[] = [];
  const asked: Uint8Array[] = [];
  await using worker = await Worker.start({
    brokers: broker.backend,
    codec: await listening([ours], replied),
    services: { order: () => order },
  });
  await using client = await Client.connect({
    brokers: broker.frontend,
    codec: await listening([ours], asked),
  });
  expect(await client.request("order", 1)).toEqual(order);
  expect(named(asked)).toEqual(["offers"]);
  expect(named(replied)).toEqual(["refers"]);
  expect(worker.stats.refused).toBe(0);
  await broker.close();
});

test.each([
  ["none", []],
  ["another one", [other]],
])("the worker holds %s: the request goes again without, and is run once", async (_, held) => {
  await using all = await party([ours], [held]);
  const value = { ...order, isExpress: true };
  const reply = all.client.request("echo", value, { attempts: 1 });
  // The caller's own again: what is sent the second time is what was asked.
  value.isExpress = false;
  expect(await reply).toEqual({ ...order, isExpress: true });
  expect(named(all.asked)).toEqual(["refers", "none"]);
  expect(named(all.replied)).toEqual(["none"]);
  expect(all.ran).toHaveLength(1);
  expect(all.workers[0].stats.refused).toBe(1);
  expect(all.client.stats).toMatchObject({ failures: 0, replies: 1, pending: 0 });

  // Remembered: the next is not refused.
  expect(await all.client.request("echo", order)).toEqual(order);
  expect(named(all.asked)).toEqual(["refers", "none", "none"]);
  expect(all.workers[0].stats.refused).toBe(1);
});

test("the worker has it first: nothing refers to it", async () => {
  await using all = await party([], [[ours]]);
  expect(await all.client.request("echo", order)).toEqual(order);
  expect(named(all.asked)).toEqual(["none"]);
  expect(named(all.replied)).toEqual(["none"]);
});

test("workers that hold it and workers that do not, at once: no request fails", async () => {
  await using all = await party([ours], [[ours], [], [other]]);
  const values = Array.from({ length: 300 }, (_, index) => ({ ...order, index }));
  const replies = await Promise.all(values.map((value) => all.client.request("echo", value)));
  expect(replies).toEqual(values);
  expect(all.ran).toHaveLength(300);
  expect(all.client.stats.failures).toBe(0);
});

test("an offer that the worker does not hold is no reason to refuse", async () => {
  await using all = await party([ours], [[other]]);
  expect(await all.client.request("echo", 5)).toBe(5);
  expect(named(all.asked)).toEqual(["offers"]);
  expect(all.workers[0].stats.refused).toBe(0);
});

test("a handler's own words do not make a request go again", async () => {
  const broker = await Broker.start(loopback);
  let runCount = 0;
  await using _worker = await Worker.start({
    brokers: broker.backend,
    keys,
    dictionaries: [ours],
    services: {
      fail: () => {
        runCount++;
        throw new RequestError("INVALID_ARGUMENT", "body refused: UNKNOWN_DICTIONARY: as I heard");
      },
    },
  });
  await using client = await Client.connect({
    brokers: broker.frontend,
    keys,
    dictionaries: [ours],
  });
  await expect(client.request("fail", order)).rejects.toMatchObject({
    code: "INVALID_ARGUMENT",
    reason: "handler failed: body refused: UNKNOWN_DICTIONARY: as I heard",
  });
  expect(runCount).toBe(1);
  await broker.close();
});
