// Surveys with a real broker, workers and clients.
import { afterEach, expect, test } from "vitest";
import { Reply } from "zeromq";
import { generateKey, generateServiceKey } from "../../build/codec/index.js";
import { Broker, Client, RequestError, Worker, type WorkerOptions } from "../../build/index.js";
import { endAll, eventually, Party } from "./processes.js";

const any = { frontend: "tcp://127.0.0.1:0", backend: "tcp://127.0.0.1:0" };
const closers: (() => unknown)[] = [];

afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
  await endAll();
});

async function start(clientOptions: object = {}) {
  const broker = await Broker.start(any);
  closers.push(() => broker.close({ timeoutMs: 0 }));
  const client = await Client.connect({ brokers: broker.frontend, ...clientOptions });
  closers.push(() => client.close({ timeoutMs: 0 }));
  const worker = async (services: WorkerOptions["services"], more: object = {}) => {
    const made = await Worker.start({ brokers: broker.backend, services, ...more });
    closers.push(() => made.close());
    return made;
  };
  return { broker, client, worker };
}

const never = () => new Promise(() => {});

test("all workers of a service are asked, busy ones too, and each is heard once", async () => {
  const { broker, client, worker } = await start();
  for (const name of ["a", "b", "c"]) {
    await worker({ who: ({ q }: { q: string }) => `${name} ${q}` }, { concurrency: 1 });
  }
  await worker({ other: () => "not asked" });
  const result = await client.survey("who", { q: "?" });
  expect(result).toMatchObject({ asked: 3, missing: 0, failures: [] });
  expect(result.replies.map(({ value }) => value).sort()).toEqual(["a ?", "b ?", "c ?"]);
  const workers = result.replies.map((reply) => reply.worker);
  expect(new Set(workers).size).toBe(3);
  expect(workers.every((each) => /^[0-9a-f]{16}$/.test(each))).toBe(true);
  expect(broker.stats.surveys).toMatchObject({ started: 1, asked: 3, answered: 3, missing: 0 });
});

test("who is slow, fails, or cannot be asked is told apart", async () => {
  const { broker, client, worker } = await start();
  const signals: AbortSignal[] = [];
  await worker({ default: () => "fine" });
  await worker({
    default: () => {
      throw new RequestError("ABORTED", "not today");
    },
  });
  await worker({
    default: (_: unknown, { signal }) => {
      signals.push(signal);
      return never();
    },
  });
  const plain = new Reply({ linger: 0 });
  plain.connect(broker.backend[0]);
  closers.push(() => plain.close());
  await eventually("the REP is there", () => broker.stats.workers === 4);
  const result = await client.survey("default", 1, { timeoutMs: 200 });
  expect(result).toMatchObject({ asked: 4, missing: 2 });
  expect(result.replies.map(({ value }) => value)).toEqual(["fine"]);
  expect(result.failures).toMatchObject([{ code: "ABORTED", reason: "not today" }]);
  await eventually("the slow one is told", () => signals[0]?.aborted === true);
});

test("a worker that dies is missing, and one that drains or comes later is not asked", async () => {
  const { broker, client, worker } = await start();
  const party = await Party.start("worker", {
    name: "dies",
    brokers: broker.backend,
    delayMs: 1_000_000,
  });
  await worker({ work: () => "stays" });
  const asking = client.survey("work", 1, { timeoutMs: 60_000 });
  await party.until("running");
  await worker({ work: () => "late" });
  await party.kill();
  const result = await asking;
  expect(result).toMatchObject({ asked: 2, missing: 1, failures: [] });
  expect(result.replies.map(({ value }) => value)).toEqual(["stays"]);
});

test("sealed surveys open at every worker, and replies are bound to theirs", async () => {
  const keys = [await generateKey()];
  const { client, worker } = await start({ keys });
  for (const name of ["a", "b"]) await worker({ who: () => name }, { keys });
  const large = "x".repeat(300_000);
  await worker({ who: () => large }, { keys });
  await worker({ who: () => "unkeyed" });
  const result = await client.survey("who", { large }, { headers: { trace: "1" } });
  expect(result).toMatchObject({ asked: 4, missing: 0 });
  expect(result.replies.map(({ value }) => String(value)).sort()).toEqual(["a", "b", large]);
  expect(result.failures).toHaveLength(1);
});

test("under a service's public key, too", async () => {
  const { secret, publicKey } = await serviceKey();
  const { client, worker } = await start({ servicePublicKeys: { "*": publicKey } });
  for (const name of ["a", "b"]) await worker({ who: () => name }, { serviceKeys: [secret] });
  const result = await client.survey("who", 1);
  expect(result.failures).toEqual([]);
  expect(result.replies.map(({ value }) => value).sort()).toEqual(["a", "b"]);
});

async function serviceKey() {
  const secret = await generateServiceKey();
  return { secret, publicKey: secret.publicKey };
}

test("a survey that cannot be says why", async () => {
  const { broker, client } = await start();
  const failure = (promise: Promise<unknown>) =>
    promise.then(
      () => undefined,
      (error: RequestError) => error.code,
    );
  expect(await failure(client.survey("nobody", 1))).toBe("NOT_FOUND");
  expect(await failure(client.survey("", 1))).toBe("INVALID_ARGUMENT");
  const aborted = AbortSignal.abort("no");
  expect(await failure(client.survey("who", 1, { signal: aborted }))).toBe("CANCELLED");
  const worker = await Worker.start({ brokers: broker.backend, services: { who: never } });
  const waiting = failure(client.survey("who", 1, { timeoutMs: 60_000 }));
  await eventually("it is asked", () => worker.stats.running === 1);
  await broker.close({ timeoutMs: 0 });
  expect(await waiting).toBe("UNAVAILABLE");
  await worker.close();
});
