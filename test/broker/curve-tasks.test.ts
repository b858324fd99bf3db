// Who may push, pull, administer and survey what, by key.
import { afterEach, beforeEach, expect, it } from "vitest";
import { type Broker, Client, type RequestError, Worker } from "../../build/index.js";
import { eventually } from "../system/processes.js";
import { accessOf, curveOf, type KeyName, startBroker } from "./curve-keys.js";

let broker: Broker;
const opened: { close(): unknown }[] = [];

const grants = {
  client: { push: ["mail.*"], call: ["echo"] },
  worker: { pull: ["mail.*"], serve: ["echo"] },
  both: { administer: ["mail.*"] },
};

beforeEach(async () => {
  ({ broker } = await startBroker({}, accessOf(grants)));
});

afterEach(async () => {
  for (const each of opened.splice(0)) await each.close();
  await broker.close({ timeoutMs: 0 });
});

async function connect(name: KeyName): Promise<Client> {
  const client = await Client.connect({ brokers: broker.frontend, curve: curveOf(name) });
  opened.push({ close: () => client.close({ timeoutMs: 0 }) });
  return client;
}

async function startWorker(queue: string, handler: (body: unknown) => unknown): Promise<Worker> {
  const worker = await Worker.start({
    brokers: broker.backend,
    connectTimeoutMs: 500,
    curve: curveOf("worker"),
    services: { echo: (body) => body },
    queues: { [queue]: handler },
  });
  opened.push(worker);
  return worker;
}

const codeOf = (promise: Promise<unknown>) =>
  promise.then(
    () => "OK",
    (error: RequestError) => error.code,
  );

it("refuses queues beyond what a key is granted, and nothing else", async () => {
  const done: unknown[] = [];
  await startWorker("mail.send", (body) => {
    done.push(body);
    throw new Error("not today");
  });
  const [pusher, clerk] = [await connect("client"), await connect("both")];
  expect(await codeOf(pusher.push("mail.send", 1, { attempts: 1 }))).toBe("OK");
  await eventually("it is dead", async () => (await clerk.deadLetters("mail.send")).length === 1);
  expect(done).toEqual([1]);
  expect(await codeOf(pusher.push("bank.pay", 1))).toBe("PERMISSION_DENIED");
  expect(await codeOf(clerk.push("mail.send", 1))).toBe("PERMISSION_DENIED");
  expect(await codeOf(pusher.deadLetters("mail.send"))).toBe("PERMISSION_DENIED");
  expect(await codeOf(pusher.retryDeadLetters("mail.send"))).toBe("PERMISSION_DENIED");
  expect(await codeOf(clerk.deadLetters("bank.pay"))).toBe("PERMISSION_DENIED");
  expect(broker.stats.faults.denied).toBe(5);
  await expect(startWorker("bank.pay", () => 1)).rejects.toThrow(
    /^PERMISSION_DENIED: .* worker may not pull bank.pay/,
  );
});

it("refuses a survey of a service that its key may not call", async () => {
  await startWorker("mail.send", () => 1);
  const [asker, clerk] = [await connect("client"), await connect("both")];
  const result = await asker.survey("echo", 7, { timeoutMs: 2000 });
  expect(result.replies.map(({ value }) => value)).toEqual([7]);
  expect(await codeOf(clerk.survey("echo", 7))).toBe("PERMISSION_DENIED");
});

it("a reload ends the surveys under way of a key that may not call any more, and no others", async () => {
  let calls = 0;
  const unanswered = await Worker.start({
    brokers: broker.backend,
    curve: curveOf("worker"),
    services: {
      echo: (_: unknown, { signal }) => {
        calls++;
        return new Promise((resolve) => signal.addEventListener("abort", resolve));
      },
    },
  });
  opened.push(unanswered);
  const asker = await connect("client");
  const asking = codeOf(asker.survey("echo", 7, { timeoutMs: 60_000 }));
  await eventually("it is asked", () => calls === 1);
  broker.reloadAccess(accessOf(grants));
  expect(broker.stats.surveys.ended).toBe(0);
  const { call: _, ...rest } = grants.client;
  broker.reloadAccess(accessOf({ ...grants, client: rest }));
  expect(broker.stats.surveys).toMatchObject({ ended: 1, missing: 1 });
  expect(await asking).toBe("PERMISSION_DENIED");
});

it("a reload keeps a worker whose queues are still its own, and cuts off one whose are not", async () => {
  await startWorker("mail.send", () => 1);
  expect(broker.reloadAccess(accessOf(grants))).toMatchObject({ cutCount: 0 });
  expect(broker.stats.workers).toBe(1);
  const { pull: _, ...rest } = grants.worker;
  expect(broker.reloadAccess(accessOf({ ...grants, worker: rest }))).toMatchObject({ cutCount: 1 });
  await eventually("it is gone", () => broker.stats.workers === 0);
});
