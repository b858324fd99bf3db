// Tasks whose worker, broker connection or acknowledgement is lost.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { connect, createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { Broker, Client, Worker } from "../../build/index.js";
import { endAll, eventually, Party } from "./processes.js";

const loopback = { frontend: "tcp://127.0.0.1:0", backend: "tcp://127.0.0.1:0" };
const quick = { backoffMsMin: 5, backoffMsMax: 50 };
let folder = "";
let donePath = "";

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "wasmq-tasks-"));
  donePath = join(folder, "done");
  writeFileSync(donePath, "");
});

afterEach(async () => {
  await endAll();
  rmSync(folder, { recursive: true });
});

function lines(): string[][] {
  const text = readFileSync(donePath, "utf8").trim();
  return text === "" ? [] : text.split("\n").map((line) => line.split(" "));
}

/** How often each of the tasks was done. */
function doneCounts(): Map<string, number> {
  const counts = new Map<string, number>();
  for (const [task, what] of lines()) {
    if (what === "done") counts.set(task, (counts.get(task) ?? 0) + 1);
  }
  return counts;
}

test.each(["SIGKILL", "SIGSTOP"] as const)(
  "after %s of a worker each of its tasks is done by another",
  async (signal) => {
    const broker = await Broker.start({ ...loopback, tasks: quick });
    const client = await Client.connect({ brokers: broker.frontend });
    const count = 40;
    const start = (name: string, delayMs: number) => {
      return Party.start("task-worker", { brokers: broker.backend, name, delayMs, donePath });
    };
    const first = await start("first", 1_000_000);
    await Promise.all(
      Array.from({ length: count }, (_, i) => client.push("work", `t${i}`, { attempts: 10 })),
    );
    await eventually("the first has tasks", () => lines().length >= 4);
    first.signal(signal);
    const second = await start("second", 0);
    const { tasks } = broker.stats;
    expect(tasks.counts.pushed).toBe(count);
    await eventually("all are done", () => broker.stats.tasks.counts.done === count);
    const done = doneCounts();
    expect(done.size).toBe(count);
    expect([...done.values()].every((each) => each === 1)).toBe(true);
    const lost = lines().filter(([, , name]) => name === "first");
    expect(lost.length).toBeGreaterThanOrEqual(4);
    for (const [task] of lost) {
      const again = lines().find(([each, what, name]) => {
        return each === task && what !== "done" && name === "second";
      });
      expect(Number(again?.[1])).toBe(2);
    }
    expect(broker.stats.tasks.queues[0]).toMatchObject({ ready: 0, inFlight: 0, dead: 0 });
    await second.kill();
    await client.close();
    await broker.close({ timeoutMs: 0 });
  },
);

/** A TCP connection between client and broker that can be cut, at the broker's answers or in all. */
async function cable(target: string) {
  const port = Number(target.slice(target.lastIndexOf(":") + 1));
  const sockets = new Set<Socket>();
  let isMute = false;
  const server = createServer((near) => {
    const far = connect(port, "127.0.0.1");
    for (const socket of [near, far]) {
      sockets.add(socket);
      socket.on("error", () => {});
      socket.on("close", () => {
        near.destroy();
        far.destroy();
        sockets.delete(socket);
      });
    }
    near.on("data", (bytes) => far.write(bytes));
    far.on("data", (bytes) => isMute || near.write(bytes));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port: own } = server.address() as { port: number };
  return {
    endpoint: `tcp://127.0.0.1:${own}`,
    mute: (mute: boolean) => {
      isMute = mute;
    },
    cut: () => {
      for (const socket of sockets) socket.destroy();
    },
    close: () => {
      for (const socket of sockets) socket.destroy();
      return new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
}

test("an acknowledgement that is lost with its connection leads to no second task", async () => {
  const broker = await Broker.start({ ...loopback, tasks: quick });
  const line = await cable(broker.frontend[0]);
  const client = await Client.connect({ brokers: [line.endpoint] });
  line.mute(true);
  const pushing = Promise.all(Array.from({ length: 20 }, (_, i) => client.push("work", i)));
  await eventually("all are at the broker", () => broker.stats.tasks.counts.pushed === 20);
  line.cut();
  line.mute(false);
  const ids = await pushing;
  expect(new Set(ids).size).toBe(20);
  expect(broker.stats.tasks.counts).toMatchObject({ pushed: 20, repeated: 20 });
  const seen: unknown[] = [];
  const worker = await Worker.start({
    brokers: broker.backend,
    queues: { work: (task: unknown) => void seen.push(task) },
  });
  await eventually("all are done", () => broker.stats.tasks.counts.done === 20);
  expect(seen).toEqual(Array.from({ length: 20 }, (_, i) => i));
  await client.close();
  await worker.close();
  await broker.close({ timeoutMs: 0 });
  await line.close();
});

test("pushes wait for a broker, and end when nobody waits any more", async () => {
  const first = await Broker.start(loopback);
  const [frontend] = first.frontend;
  const client = await Client.connect({ brokers: [frontend] });
  await first.close({ timeoutMs: 0 });
  const late = client.push("work", 1, { timeoutMs: 60 });
  await expect(late).rejects.toMatchObject({ code: "DEADLINE_EXCEEDED" });
  const abortion = new AbortController();
  const stopped = client.push("work", 2, { signal: abortion.signal });
  abortion.abort("enough");
  await expect(stopped).rejects.toMatchObject({ code: "CANCELLED" });
  const patient = client.push("work", 3);
  const second = await Broker.start({ ...loopback, frontend });
  await expect(patient).resolves.toMatch(/^[0-9a-f]{32}$/);
  const left = client.push("work", 4);
  await Promise.all([left, client.close()]);
  expect(second.stats.tasks.counts.pushed).toBe(2);
  await expect(client.push("work", 5)).rejects.toMatchObject({ code: "UNAVAILABLE" });
  await second.close({ timeoutMs: 0 });
});

test("a worker that drains finishes its tasks and gives back what it has not begun", async () => {
  const broker = await Broker.start({ ...loopback, tasks: quick });
  const client = await Client.connect({ brokers: broker.frontend });
  let release = () => {};
  const gate = new Promise<void>((resolve) => {
    release = resolve;
  });
  const ran: string[] = [];
  const make = (name: string, wait: Promise<void> | undefined) =>
    Worker.start({
      brokers: broker.backend,
      concurrency: 1,
      queues: {
        work: async (task: number) => {
          ran.push(`${name} ${task}`);
          await wait;
        },
      },
    });
  const one = await make("one", gate);
  for (let i = 0; i < 5; i++) await client.push("work", i);
  await eventually("it has one", () => ran.length === 1);
  const draining = one.drain();
  const two = await make("two", undefined);
  await eventually("the other has the rest", () => broker.stats.tasks.counts.done === 4);
  release();
  await draining;
  await eventually("all are done", () => broker.stats.tasks.counts.done === 5);
  expect(ran).toHaveLength(5);
  expect(broker.stats.tasks.counts.failed).toBe(0);
  await client.close();
  await two.close();
  await broker.close({ timeoutMs: 0 });
});
