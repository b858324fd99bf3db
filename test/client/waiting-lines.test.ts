// Requests, pushes and surveys that wait for room at the same broker.
import { afterEach, beforeEach, expect, it, test } from "vitest";
import type { Broker as ClientBroker, Brokers } from "../../build/client/brokers.js";
import { type WaitingLine, WaitingLines } from "../../build/client/waiting-lines.js";
import { Broker, Client, type RequestError, Worker } from "../../build/index.js";
import { eventually } from "../system/processes.js";

const CREDIT = 2;

let broker: Broker;
let client: Client;
let worker: Worker;
let runs: unknown[];

beforeEach(async () => {
  runs = [];
  const any = "tcp://127.0.0.1:0";
  const limits = { clientInFlightMax: CREDIT, clientCreditMin: 1 };
  broker = await Broker.start({ frontend: any, backend: any, limits });
  worker = await Worker.start({
    brokers: broker.backend,
    concurrency: 500,
    services: {
      echo: (body) => body,
      held: (body, { signal }) => {
        runs.push(body);
        return new Promise((resolve) => signal.addEventListener("abort", () => resolve(0)));
      },
    },
    queues: { mail: () => {} },
  });
  client = await Client.connect({ brokers: broker.frontend });
});

afterEach(async () => {
  await client.close({ timeoutMs: 0 });
  await worker.close();
  await broker.close({ timeoutMs: 0 });
});

const codeOf = (promise: Promise<unknown>) =>
  promise.then(
    () => "OK",
    ({ code }: RequestError) => code,
  );

/** Where `room` more may be sent to. */
function linesTo(room: { count: number }) {
  const pick = () => (room.count > 0 ? ({} as ClientBroker) : undefined);
  const lines = new WaitingLines({ pick } as unknown as Brokers);
  const sent: string[] = [];
  const add = (name: string, size: number) => {
    const waiting = Array.from({ length: size }, (_, i) => `${name}${i}`);
    const line: WaitingLine = {
      unsent: {
        get head() {
          return waiting[0];
        },
      },
      sendFirst: () => {
        room.count--;
        sent.push(waiting.shift() as string);
      },
    };
    lines.add(line);
    return waiting;
  };
  return { lines, sent, add };
}

it("sends one of each line by turns, and goes on where it left off", () => {
  const room = { count: 0 };
  const { lines, sent, add } = linesTo(room);
  const first = add("a", 3);
  add("b", 0);
  add("c", 2);
  for (const count of [1, 0, 1, 1]) {
    room.count = count;
    lines.sendWaiting();
    // Whoever was answered asks again at once.
    first.push("again");
  }
  expect(sent).toEqual(["a0", "c0", "a1"]);
  room.count = 100;
  lines.sendWaiting();
  expect(sent.slice(3)).toEqual(["c1", "a2", "again", "again", "again", "again"]);
});

it("lets nothing new go before what waits in any line", () => {
  const room = { count: 1 };
  const { lines, add } = linesTo(room);
  add("a", 0);
  const other = add("b", 1);
  expect(lines.pick()).toBeUndefined();
  other.length = 0;
  expect(lines.pick()).toBeDefined();
});

test.each(["one signal", "a signal each"])(
  "what is aborted behind %s while it waits is not sent in place of what was before it",
  async (how) => {
    const controllers = Array.from({ length: 100 }, () => new AbortController());
    if (how === "one signal") controllers.fill(controllers[0]);
    const asking = controllers.map(({ signal }, i) =>
      codeOf(client.request("held", i, { signal, attempts: 1 })),
    );
    await eventually("some run", () => runs.length === CREDIT);
    const behind = client.request("echo", 1);
    for (const controller of controllers) controller.abort();
    expect(new Set(await Promise.all(asking))).toEqual(new Set(["CANCELLED"]));
    // It waited for the room that they made, which no answer of the broker's told of.
    expect(await behind).toBe(1);
    expect(runs).toHaveLength(CREDIT);
    expect(client.stats.sent).toBe(CREDIT + 1);
  },
);

test("a survey that is aborted gives its room to the request that waits", async () => {
  const abortion = new AbortController();
  const { signal } = abortion;
  const surveys = [0, 1].map((i) => codeOf(client.survey("held", i, { signal })));
  await eventually("they run", () => runs.length === CREDIT);
  const behind = client.request("echo", 1, { timeoutMs: 5000 });
  abortion.abort();
  expect(await Promise.all(surveys)).toEqual(["CANCELLED", "CANCELLED"]);
  expect(await behind).toBe(1);
});

const ASKS: Record<string, () => Promise<unknown>> = {
  request: () => client.request("echo", 1, { timeoutMs: 5000 }),
  push: () => client.push("mail", 1, { timeoutMs: 5000 }),
  survey: () => client.survey("echo", 1, { timeoutMs: 5000 }),
};

test.each(Object.keys(ASKS))("a %s has its turn among any number of the others", async (what) => {
  let isOver = false;
  const crowd = Object.keys(ASKS).filter((name) => name !== what);
  const loops = crowd.flatMap((name) =>
    Array.from({ length: 4 * CREDIT }, async () => {
      while (!isOver) await ASKS[name]();
    }),
  );
  expect(await codeOf(ASKS[what]())).toBe("OK");
  expect(await codeOf(ASKS[what]())).toBe("OK");
  isOver = true;
  await Promise.all(loops);
});
