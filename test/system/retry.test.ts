import { afterEach, expect, test } from "vitest";
import { generateKey } from "../../build/codec/index.js";
import { Broker, Client, RequestError, Worker } from "../../build/index.js";
import { endAll, eventually, Party } from "./processes.js";

afterEach(endAll);

const loopback = { frontend: "tcp://127.0.0.1:0", backend: "tcp://127.0.0.1:0" };
/** A broker with room for one request in its queue. */
const tiny = { ...loopback, limits: { queueCountMax: 1, lookAheadMax: 0 } };
const failureOf = (asking: Promise<unknown>) =>
  asking.then(
    (reply) => {
      throw new Error(`replied ${reply}`);
    },
    (error: RequestError) => error,
  );

/** A worker that holds each request until told; what it saw. */
async function holder(broker: Broker, concurrency = 1) {
  const ids: string[] = [];
  const releases: (() => void)[] = [];
  const worker = await Worker.start({
    brokers: broker.backend,
    concurrency,
    services: {
      hold: async (body: unknown, { requestId }) => {
        ids.push(requestId);
        await new Promise<void>((resolve) => releases.push(resolve));
        return body;
      },
    },
  });
  const release = () => {
    for (const each of releases.splice(0)) each();
  };
  return { worker, ids, release, [Symbol.asyncDispose]: () => worker.close() };
}

test("what a full broker refuses is asked again until it is taken, and runs once", async () => {
  await using broker = await Broker.start(tiny);
  const keys = [await generateKey()];
  const runs: number[] = [];
  await using _worker = await Worker.start({
    brokers: broker.backend,
    keys,
    concurrency: 4,
    services: {
      work: async (i: number) => {
        runs.push(i);
        await new Promise((resolve) => setTimeout(resolve, 2));
        return i;
      },
    },
  });
  const retry = { backoffMsMin: 1, backoffMsMax: 50, budgetPerSecond: 10_000 };
  await using client = await Client.connect({ brokers: broker.frontend, keys, retry });
  const numbers = Array.from({ length: 200 }, (_, i) => i);
  expect(await Promise.all(numbers.map((i) => client.request("work", i)))).toEqual(numbers);
  expect(client.stats).toMatchObject({ replies: 200, failures: 0, late: 0, pending: 0 });
  expect(client.stats.retries).toBeGreaterThan(0);
  expect(client.stats.retries).toBe(broker.stats.counts.refused);
  expect(runs.sort((a, b) => a - b)).toEqual(numbers);
});

test("the budget bounds what is asked again; then the refusal is the outcome", async () => {
  await using broker = await Broker.start(tiny);
  await using held = await holder(broker);
  const retry = { budgetRatio: 0, budgetPerSecond: 0.5, backoffMsMin: 1, backoffMsMax: 1 };
  await using client = await Client.connect({ brokers: broker.frontend, retry });
  const taken = [1, 2].map((i) => client.request("hold", i));
  await eventually("one runs", () => held.ids.length === 1);
  const errors = await Promise.all(
    [3, 4, 5, 6, 7, 8, 9].map((i) => failureOf(client.request("hold", i))),
  );
  for (const error of errors) expect(error).toMatchObject({ code: "RESOURCE_EXHAUSTED" });
  // Five to begin with.
  expect(client.stats.retries).toBe(5);
  held.release();
  expect(await taken[0]).toBe(1);
  await eventually("the next runs", () => held.ids.length === 2);
  held.release();
  expect(await taken[1]).toBe(2);
});

test("retry: false, of the client or of one request: refused at once", async () => {
  await using broker = await Broker.start(tiny);
  await using held = await holder(broker);
  await using willing = await Client.connect({ brokers: broker.frontend });
  await using unwilling = await Client.connect({ brokers: broker.frontend, retry: false });
  const taken = [1, 2].map((i) => willing.request("hold", i, { timeoutMs: 60_000 }));
  await eventually("both are there", () => broker.stats.requests === 2);
  const refused = { code: "RESOURCE_EXHAUSTED" };
  expect(await failureOf(unwilling.request("hold", 3))).toMatchObject(refused);
  expect(await failureOf(willing.request("hold", 3, { retry: false }))).toMatchObject(refused);
  expect(unwilling.stats.retries + willing.stats.retries).toBe(0);
  const ended = Promise.allSettled(taken);
  await willing.close({ timeoutMs: 0 });
  await ended;
  held.release();
});

test("abort, deadline and close while it waits to be asked again: one outcome each", async () => {
  await using broker = await Broker.start(tiny);
  await using held = await holder(broker);
  const retry = { backoffMsMin: 3_600_000, backoffMsMax: 3_600_000 };
  const client = await Client.connect({ brokers: broker.frontend, retry, timeoutMs: 86_400_000 });
  const taken = [1, 2].map((i) => failureOf(client.request("hold", i)));
  await eventually("both are there", () => broker.stats.requests === 2);
  const abortion = new AbortController();
  const aborted = failureOf(client.request("hold", 3, { signal: abortion.signal }));
  const closed = failureOf(client.request("hold", 4));
  // A wait that would outlast it is not begun: the refusal comes at once.
  const late = await failureOf(client.request("hold", 5, { timeoutMs: 5 }));
  expect(late.code).toBe("RESOURCE_EXHAUSTED");
  await eventually("both wait", () => client.stats.retries === 2);
  abortion.abort("enough");
  expect(await aborted).toMatchObject({ code: "CANCELLED", reason: "enough" });
  expect(client.stats).toMatchObject({ pending: 3, failures: 2 });
  await client.close({ timeoutMs: 0 });
  expect(await closed).toMatchObject({ code: "CANCELLED", reason: "client closed" });
  for (const each of taken) expect((await each).code).toBe("CANCELLED");
  expect(client.stats).toMatchObject({ pending: 0, failures: 5, replies: 0 });
  held.release();
});

test("a request that ran is not asked again, unless it is idempotent", async () => {
  await using broker = await Broker.start(loopback);
  const keys = [await generateKey()];
  const ids: string[] = [];
  const failing = (code: "ABORTED" | "UNAVAILABLE" | "RESOURCE_EXHAUSTED", count: number) => {
    return (_: unknown, { requestId }: { requestId: string }) => {
      ids.push(requestId);
      if (ids.length <= count) throw new RequestError(code, `no ${ids.length}`);
      return ids.length;
    };
  };
  await using _worker = await Worker.start({
    brokers: broker.backend,
    keys,
    services: {
      once: failing("UNAVAILABLE", 9),
      twice: failing("ABORTED", 2),
      never: failing("RESOURCE_EXHAUSTED", 9),
    },
  });
  const retry = { backoffMsMin: 1, backoffMsMax: 2 };
  await using client = await Client.connect({ brokers: broker.frontend, keys, retry });
  expect(await failureOf(client.request("once", 1))).toMatchObject({ reason: "no 1" });
  ids.length = 0;
  expect(await client.request("twice", { a: 1 }, { idempotent: true })).toBe(3);
  // Each under an id of its own: one that is remembered is answered from memory.
  expect(new Set(ids).size).toBe(3);
  ids.length = 0;
  // Within its attempts.
  const never = await failureOf(client.request("never", 1, { idempotent: true, attempts: 2 }));
  expect(never).toMatchObject({ code: "RESOURCE_EXHAUSTED", reason: "no 2" });
  expect(client.stats).toMatchObject({ retries: 3, late: 0, pending: 0 });
});

test("an idempotent body that cannot be sealed again fails its request alone", async () => {
  await using broker = await Broker.start(loopback);
  await using _worker = await Worker.start({
    brokers: broker.backend,
    services: {
      fail: () => {
        throw new RequestError("ABORTED", "again");
      },
    },
  });
  await using client = await Client.connect({ brokers: broker.frontend });
  const body: Record<string, unknown> = { a: 1 };
  const asking = failureOf(client.request("fail", body, { idempotent: true }));
  body.a = () => {};
  expect(await asking).toMatchObject({ code: "INVALID_ARGUMENT" });
  expect(client.stats.pending).toBe(0);
});

test("attempts are counted across brokers: each lost one used up one", async () => {
  const parties = [await Party.start("broker", loopback), await Party.start("broker", loopback)];
  const frontends: string[] = [];
  const backends: string[] = [];
  for (const party of parties) {
    frontends.push(...((await party.until("frontend")) as string[]));
    backends.push(...((await party.until("backend")) as string[]));
  }
  const runs = new Map<number, number>();
  // A worker at each broker, so that none joins what the other runs.
  const workers = await Promise.all(
    backends.map((backend) =>
      Worker.start({
        brokers: [backend],
        services: {
          hang: (i: number) => {
            runs.set(i, (runs.get(i) ?? 0) + 1);
            return new Promise(() => {});
          },
        },
      }),
    ),
  );
  const client = await Client.connect({ brokers: frontends });
  const asked = [1, 2, 3].map((attempts) =>
    failureOf(client.request("hang", attempts, { attempts, timeoutMs: 86_400_000 })),
  );
  await eventually("all run", () => runs.size === 3);
  // Whichever has them loses them; the other gets two of them.
  const has = async (party: Party) => (await party.stats()).stats.requests > 0;
  const first = (await has(parties[0])) ? 0 : 1;
  await parties[first].kill();
  expect(await asked[0]).toMatchObject({ code: "UNAVAILABLE" });
  await eventually("two run again", () => runs.get(2) === 2 && runs.get(3) === 2);
  await parties[1 - first].kill();
  expect(await asked[1]).toMatchObject({ code: "UNAVAILABLE" });
  await Party.start("broker", { frontend: frontends[first], backend: backends[first] });
  await eventually("one comes back", () => workers[first].stats.repeated === 1);
  expect(client.stats.resent).toBe(3);
  expect([...runs.entries()].sort()).toEqual([
    [1, 1],
    [2, 2],
    // Joined where it still ran.
    [3, 2],
  ]);
  await client.close({ timeoutMs: 0 });
  expect(await asked[2]).toMatchObject({ code: "CANCELLED" });
  for (const worker of workers) await worker.close();
});
