// A broker by hand, which has just told a list.
import { afterEach, expect, test } from "vitest";
import { Router } from "zeromq";
import { Client } from "../../build/index.js";
import { message } from "../broker/fake-port.js";
import { readMessage, type Shown } from "../wire/support.js";

const closers: (() => unknown)[] = [];

afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

/** Answers each DEAD_LETTERS with what `answer` gives for it, by how many came before. */
async function start(answer: (count: number) => Record<string, unknown>): Promise<string> {
  const router = new Router({ linger: 0 });
  closers.push(() => router.close());
  await router.bind("tcp://127.0.0.1:*");
  let count = 0;
  const answerTo = ({ kind, session, sequence }: Shown): Shown | undefined => {
    if (kind === "HELLO") {
      const welcome = { inFlightMax: 100, recordMax: 1_000_000 };
      return { kind: "WELCOME", broker: "0000000000000001", ...welcome };
    }
    if (kind !== "DEAD_LETTERS_ASKED") return undefined;
    const nothing = { status: 0, reason: "", retryAfterMs: 0, count: 0, total: 0, entries: [] };
    return {
      kind: "DEAD_LETTERS",
      session,
      sequence,
      slot: 0,
      generation: 0,
      ...nothing,
      ...answer(count++),
    };
  };
  void (async () => {
    for await (const [routingId, ...frames] of router) {
      for (const record of readMessage(frames).records) {
        const said = answerTo(record as Shown);
        if (said !== undefined) await router.send([routingId, ...message(said)]);
      }
    }
  })();
  return router.lastEndpoint as string;
}

const letter = {
  session: "1122334455667788",
  sequence: "1",
  attempts: 5,
  status: 13,
  reason: "thrown",
  priority: 4,
  bytes: 100,
  deadForMs: 10,
};
const refused = { status: 8, reason: "a list of dead letters was told just now", retryAfterMs: 10 };

test("a list that a broker will not tell yet is asked for again", async () => {
  const told = { count: 1, total: 1, entries: [letter] };
  const broker = await start((count) => (count < 2 ? refused : told));
  const client = await Client.connect({ brokers: [broker] });
  closers.push(() => client.close({ timeoutMs: 0 }));
  expect(await client.deadLetters("mail")).toMatchObject([{ code: "INTERNAL", reason: "thrown" }]);
});

test("but no longer than the client waits", async () => {
  const broker = await start(() => refused);
  const client = await Client.connect({ brokers: [broker], timeoutMs: 100 });
  closers.push(() => client.close({ timeoutMs: 0 }));
  await expect(client.deadLetters("mail")).rejects.toMatchObject({ code: "DEADLINE_EXCEEDED" });
});
