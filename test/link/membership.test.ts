// What a broker may say of itself, in whatever order.
import { expect, it } from "vitest";
import { Router } from "zeromq";
import { Client } from "../../build/index.js";
import { BatchReader, BatchWriter } from "../../build/wire/batch.js";
import { writeError, writeWelcome } from "../../build/wire/session-record.js";

const UNAUTHENTICATED = { status: 16, reason: "say HELLO first", record: 0 } as const;
const WELCOME = { brokerLow: 1, brokerHigh: 2, inFlightMax: 10, recordMax: 1 << 20 };

it("a WELCOME behind an ERROR that ends the connection does not keep it from being made anew", async () => {
  const broker = new Router({ linger: 0 });
  await broker.bind("tcp://127.0.0.1:*");
  const connecting = Client.connect({ brokers: [broker.lastEndpoint as string] });
  const writer = new BatchWriter();
  const [first] = await broker.receive();
  writeError(writer, UNAUTHENTICATED);
  writeWelcome(writer, WELCOME);
  await broker.send([first, ...(writer.finish() as Buffer[])]);
  const [second] = await broker.receive();
  expect(second).not.toEqual(first);
  writeWelcome(writer, WELCOME);
  await broker.send([second, ...(writer.finish() as Buffer[])]);
  const client = await connecting;
  await client.close({ timeoutMs: 0 });
  broker.close();
});

it("a message of more records than others could wait for is none", () => {
  const reader = new BatchReader();
  const batchOf = (count: number) => {
    const bytes = Buffer.alloc(8 + 8 * count);
    bytes.write("WQ");
    bytes[2] = 1;
    bytes.writeUInt32LE(count, 4);
    for (let i = 0; i < count; i++) bytes.writeUInt32LE(8, 8 + 8 * i + 4);
    return [bytes];
  };
  expect(reader.open(batchOf(65_536), 0)).toBe(true);
  let count = 0;
  while (reader.next()) count++;
  expect([count, reader.fault]).toEqual([65_536, undefined]);
  expect(reader.open(batchOf(65_537), 0)).toBe(false);
  expect([reader.fault, reader.reason]).toEqual([
    "malformed",
    "a batch of 65537 records; at most 65536",
  ]);
});
