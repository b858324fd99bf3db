// Streams whose worker or broker dies. Everything that is killed is a process of its own.
import { afterEach, expect, it } from "vitest";
import { Broker, Client, type RequestError, type StreamOptions } from "../../build/index.js";
import { endAll, eventually, Party } from "./processes.js";

const loopback = { frontend: "tcp://127.0.0.1:*", backend: "tcp://127.0.0.1:*" };

afterEach(endAll);

interface Counted {
  n: number;
  worker: string;
}

const upTo = (count: number) => Array.from({ length: count }, (_, n) => n);

/** Reads until the end or a failure. */
class Reading {
  readonly seen: Counted[] = [];
  error: RequestError | undefined;
  readonly done: Promise<void>;

  constructor(client: Client, body: object, options?: StreamOptions) {
    this.done = this.#read(client, body, options);
  }

  async #read(client: Client, body: object, options?: StreamOptions): Promise<void> {
    try {
      const stream = client.stream<Counted>("count", body, options);
      for await (const part of stream) this.seen.push(part);
    } catch (error) {
      this.error = error as RequestError;
    }
  }

  get numbers(): number[] {
    return this.seen.map(({ n }) => n);
  }

  async until(count: number): Promise<void> {
    await eventually(`${count} parts`, () => this.seen.length >= count);
  }
}

it("SIGKILL of a worker in mid-stream: UNAVAILABLE behind what came", async () => {
  await using broker = await Broker.start(loopback);
  const names = ["one", "other"];
  const workers = await Promise.all(
    names.map((name) => Party.start("worker", { brokers: broker.backend, name })),
  );
  await using client = await Client.connect({ brokers: broker.frontend });
  const reading = new Reading(client, { to: 100, holdAt: 10 });
  await reading.until(10);
  await workers[names.indexOf(reading.seen[0].worker)].kill();
  await reading.done;
  expect(reading.error).toMatchObject({ code: "UNAVAILABLE" });
  expect(reading.error?.reason).toMatch("mid-stream");
  expect(reading.numbers).toEqual(upTo(10));
  expect(broker.stats).toMatchObject({ requests: 0, counts: { redelivered: 0 } });
});

it("SIGKILL of a worker before the first part: another begins", async () => {
  await using broker = await Broker.start(loopback);
  const worker = await Party.start("worker", { brokers: broker.backend, name: "first" });
  await using client = await Client.connect({ brokers: broker.frontend });
  const reading = new Reading(client, { to: 5, holdAt: 0 });
  await worker.until("streaming");
  await worker.kill();
  const second = await Party.start("worker", { brokers: broker.backend, name: "second" });
  await second.until("streaming");
  expect(broker.stats.counts.redelivered).toBe(1);
  expect(reading.error).toBeUndefined();
  await client.close({ timeoutMs: 0 });
});

it("SIGKILL of a worker in mid-stream that may restart: again from the first on", async () => {
  await using broker = await Broker.start(loopback);
  const first = await Party.start("worker", { brokers: broker.backend, name: "first" });
  await using client = await Client.connect({ brokers: broker.frontend });
  const restarts: number[] = [];
  const restart = () => void restarts.push(reading.seen.length);
  const reading: Reading = new Reading(client, { to: 20, holdAt: 10 }, { restart });
  await reading.until(10);
  await first.kill();
  await Party.start("worker", { brokers: broker.backend, name: "second" });
  await reading.until(20);
  // Told before the first of the new parts.
  expect(restarts).toEqual([10]);
  expect(reading.numbers).toEqual([...upTo(10), ...upTo(10)]);
  const workers = reading.seen.map(({ worker }) => worker);
  expect(workers).toEqual([...Array(10).fill("first"), ...Array(10).fill("second")]);
  expect(broker.stats.counts.redelivered).toBe(1);
  await client.close({ timeoutMs: 0 });
});

it("SIGKILL of a worker with one attempt left: UNAVAILABLE, restart or not", async () => {
  await using broker = await Broker.start(loopback);
  const worker = await Party.start("worker", { brokers: broker.backend, name: "w" });
  await using client = await Client.connect({ brokers: broker.frontend });
  const options = { restart: true, attempts: 1 };
  const reading = new Reading(client, { to: 20, holdAt: 3 }, options);
  await reading.until(3);
  await worker.kill();
  await reading.done;
  expect(reading.error).toMatchObject({ code: "UNAVAILABLE" });
});

/** Two brokers in processes of their own, a worker at both, and a client of both. */
async function pair() {
  const brokers = [await Party.start("broker", loopback), await Party.start("broker", loopback)];
  const ends = await Promise.all(
    brokers.map(async (party) => ({
      frontend: ((await party.until("frontend")) as string[])[0],
      backend: ((await party.until("backend")) as string[])[0],
    })),
  );
  const backends = ends.map(({ backend }) => backend);
  const worker = await Party.start("worker", { brokers: backends, name: "w", concurrency: 16 });
  const client = await Client.connect({ brokers: ends.map(({ frontend }) => frontend) });
  const workersOf = async (party: Party) => (await party.stats()).stats.workers;
  for (const party of brokers) {
    await eventually("it has its worker", async () => (await workersOf(party)) === 1);
  }
  return { brokers, worker, client };
}

it("streams go through two brokers at once", async () => {
  const { brokers, client } = await pair();
  const readings = upTo(12).map(() => new Reading(client, { to: 200 }));
  await Promise.all(readings.map(({ done }) => done));
  for (const { numbers, error } of readings) {
    expect(error).toBeUndefined();
    expect(numbers).toEqual(upTo(200));
  }
  const parts = [];
  for (const party of brokers) parts.push((await party.stats()).stats.counts.parts);
  expect(parts[0] + parts[1]).toBe(2400);
  await client.close();
});

it("SIGKILL of a broker: its streams end as UNAVAILABLE, or begin anew at the other", async () => {
  const { brokers, client } = await pair();
  const bound: Reading[] = [];
  const free: Reading[] = [];
  let restarts = 0;
  const restart = () => void restarts++;
  // One after the other: each goes to the broker that has fewer.
  for (const [list, options] of [
    ...Array(4).fill([bound]),
    ...Array(4).fill([free, { restart }]),
  ]) {
    const reading = new Reading(client, { to: 20, holdAt: 5 }, options);
    list.push(reading);
    await reading.until(5);
  }
  await brokers[0].kill();
  await eventually("the lost are told", () => bound.some(({ error }) => error !== undefined));
  const lost = bound.filter(({ error }) => error !== undefined);
  for (const { error, numbers } of lost) {
    expect(error).toMatchObject({ code: "UNAVAILABLE" });
    expect(numbers).toEqual(upTo(5));
  }
  // The other half never noticed.
  expect(lost.length).toBe(2);
  await eventually("as many begin anew", () => restarts === 2);
  const anew = free.filter(({ seen }) => seen.length > 5);
  for (const reading of anew) await reading.until(10);
  expect(anew.length).toBe(2);
  for (const { numbers } of anew) expect(numbers).toEqual([...upTo(5), ...upTo(5)]);
  expect(client.stats.resent).toBe(2);
  await client.close({ timeoutMs: 0 });
});
