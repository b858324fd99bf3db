// One subscription, handed events by this file.
import { expect, it } from "vitest";
import { type SubscribeOptions, Subscription } from "../../build/client/subscription.js";
import type { Codec } from "../../build/codec/index.js";
import { RequestError } from "../../build/index.js";
import type { EventRecord } from "../../build/wire/event-record.js";
import { EventFlag } from "../../build/wire/layout.js";

function made(options: SubscribeOptions) {
  const codec = {} as Codec;
  return new Subscription(1, ">", { ...options, raw: true }, codec, () => {});
}

function record(sequence: number, { dropped = 0, flags = 0 } = {}): EventRecord {
  const copyBody = () => new Uint8Array(1);
  const fields = { topic: "t", publisherLow: 1, publisherHigh: 1, sequence, dropped, flags };
  return { ...fields, copyBody } as EventRecord;
}

/** What was missed before each of the next `count` events. */
async function missed(subscription: Subscription, count: number): Promise<number[]> {
  const all: number[] = [];
  for (let i = 0; i < count; i++) all.push((await subscription.next()).value?.missed ?? -1);
  return all;
}

const RETAINED = { flags: EventFlag.RETAINED };

it("says what the broker dropped behind a last value, and not what was before it subscribed", async () => {
  const subscription = made({});
  subscription.push(record(5, RETAINED));
  subscription.push(record(12, { dropped: 2 }));
  subscription.push(record(13));
  expect(await missed(subscription, 3)).toEqual([0, 2, 0]);
  expect(subscription.stats).toMatchObject({ missed: 2, dropped: 2 });
});

it("says what it dropped itself behind a last value, the oldest", async () => {
  const subscription = made({ queueMax: 2 });
  subscription.push(record(5, RETAINED));
  expect(await missed(subscription, 1)).toEqual([0]);
  for (const sequence of [9, 10, 11, 12]) subscription.push(record(sequence));
  subscription.trim();
  expect(await missed(subscription, 2)).toEqual([2, 0]);
  expect(subscription.stats).toMatchObject({ missed: 2, dropped: 2 });
});

it("says what it dropped itself behind a last value, the newest, where these were", async () => {
  const subscription = made({ queueMax: 2, whenFull: "drop-newest" });
  subscription.push(record(5, RETAINED));
  for (const sequence of [9, 10, 11]) subscription.push(record(sequence));
  subscription.trim();
  subscription.push(record(12));
  // Before 9 nothing was dropped: that was before it subscribed.
  expect(await missed(subscription, 3)).toEqual([0, 0, 2]);
});

it("is done once it is closed, whatever ended it before", async () => {
  const subscription = made({});
  subscription.push(record(1));
  subscription.end(new RequestError("RESOURCE_EXHAUSTED", "too slow"));
  subscription.close();
  expect(await subscription.next()).toEqual({ done: true, value: undefined });
});
