// Peers that read slowly or not at all, beside others that must not notice.
import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { Client } from "../../build/client/client.js";
import { clientHello, message, request } from "./fake-port.js";
import { BrokerProcess, RawPeer, WorkerProcess } from "./processes.js";

const MiB = 1024 * 1024;
let broker: BrokerProcess;
let closers: (() => unknown)[];

beforeEach(async () => {
  closers = [];
  // While a worker is stopped, the wait is long, and here nothing is to be refused for that.
  broker = await BrokerProcess.start({ limits: { codelTargetMs: 0 } });
});

afterEach(async () => {
  for (const close of closers.reverse()) await close();
  await broker.close();
});

async function startWorker(concurrency: number, delayMs: number): Promise<WorkerProcess> {
  const worker = await WorkerProcess.start(broker.backend, concurrency, delayMs);
  closers.push(() => worker.kill());
  return worker;
}

async function startClient(): Promise<Client> {
  const client = await Client.connect({ brokers: [broker.frontend] });
  closers.push(() => client.close({ timeoutMs: 0 }));
  return client;
}

/** A client whose socket takes next to nothing that it does not read. */
function stuckPeer(): RawPeer {
  const raw = new RawPeer(broker.frontend, {
    receiveHighWaterMark: 1,
    receiveBufferSize: 8192,
    sendHighWaterMark: 4,
  });
  closers.push(() => raw.close());
  return raw;
}

describe("a client that stops reading", () => {
  it("does not slow another down, is given up, and leaves nothing behind", async () => {
    await startWorker(16, 0);
    const client = await startClient();
    const rssIdle = broker.rssBytes;
    let rssPeak = rssIdle;
    const stuck = stuckPeer();
    await stuck.say(clientHello());
    // 250 MiB of replies, were they all taken.
    for (let at = 1; at <= 4000; at += 100) {
      const some = Array.from({ length: 100 }, (_, i) =>
        request(at + i, { service: "big", flags: 1, body: ["3634"] }),
      );
      await stuck.say(...some);
    }
    await broker.until(({ clients }) => clients === 2);

    const latenciesMs: number[] = [];
    let stats = await broker.stats();
    for (let i = 0; i < 500 || stats.clients > 1; i++) {
      const startMs = performance.now();
      const answer = await client.request<Uint8Array>("echo", `${i}`, { raw: true });
      expect(Buffer.from(answer).toString()).toBe(`${i}`);
      latenciesMs.push(performance.now() - startMs);
      rssPeak = Math.max(rssPeak, broker.rssBytes);
      if (i % 10 === 0) stats = await broker.stats();
    }
    await broker.until(({ requests }) => requests === 0);
    latenciesMs.sort((a, b) => a - b);
    const mib = (bytes: number) => Math.round(bytes / MiB);
    console.log(
      `stuck client: rss ${mib(rssIdle)} -> ${mib(rssPeak)} MiB, given up for not reading: ` +
        `${stats.faults.unread}, honest p50 ${latenciesMs[250].toFixed(2)} ms, ` +
        `worst ${latenciesMs.at(-1)?.toFixed(1)} ms`,
    );
    expect(client.stats).toMatchObject({ failures: 0, resent: 0 });
    expect(latenciesMs[250]).toBeLessThan(500);
    expect(rssPeak - rssIdle).toBeLessThan(150 * MiB);
    expect(await broker.stats()).toMatchObject({ clients: 1, requestBytes: 0, queued: 0 });
  });

  it("and goes on sending is given up at 8 MiB, and its connection ended", async () => {
    const client = await startClient();
    const rssIdle = broker.rssBytes;
    const stuck = stuckPeer();
    await stuck.say(clientHello());
    await broker.until(({ clients }) => clients === 2);
    // Nobody may ask for this: each is refused at once.
    const refused = message(
      ...Array.from({ length: 500 }, (_, i) => request(i + 1, { priority: 9 })),
    );
    // Its socket takes no more once nobody reads there; it connects again, and is nobody then.
    const flood = async () => {
      for (;;) await stuck.send(refused);
    };
    flood().catch(() => {});
    await broker.until(({ faults }) => faults.unread === 1);
    await broker.until(({ clients }) => clients === 1);
    expect(broker.rssBytes - rssIdle).toBeLessThan(100 * MiB);
    await expect(client.request("nobody", "x", { timeoutMs: 20 })).rejects.toThrow("DEADLINE");
  });

  it("and was given up hears of it when it reads again: what it waits for is asked again", async () => {
    await startWorker(16, 0);
    const { endpoint, lines } = await startProxy();
    const client = await Client.connect({ brokers: [endpoint] });
    closers.push(() => client.close({ timeoutMs: 0 }));
    const [line] = lines;
    line.pause();
    // 25 MiB of replies, more than the system holds and the broker owes.
    const ask = () => client.request<Uint8Array>("big", "64", { raw: true });
    const answers = Array.from({ length: 400 }, ask);
    // Given up is who is owed more, and more.
    await broker.until(({ faults }) => {
      if (faults.unread === 0) answers.push(ask());
      return faults.unread === 1;
    });
    line.resume();
    for (const answer of await Promise.all(answers)) expect(answer.length).toBe(64 * 1024);
    expect(client.stats).toMatchObject({ replies: answers.length, failures: 0 });
    expect(client.stats.resent).toBeGreaterThan(0);
    expect((await broker.stats()).faults.unread).toBe(1);
  });
});

/** Stands before the broker's frontend; of each connection its end at the broker. */
async function startProxy(): Promise<{ endpoint: string; lines: Socket[] }> {
  const lines: Socket[] = [];
  const server = createServer((near) => {
    const far = connect(Number(broker.frontend.split(":").at(-1)), "127.0.0.1");
    lines.push(far);
    for (const [one, other] of [
      [near, far],
      [far, near],
    ]) {
      one.on("error", () => {});
      one.on("close", () => other.destroy());
      one.on("data", (bytes) => other.write(bytes));
    }
    closers.push(() => near.destroy());
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  closers.push(() => server.close());
  return { endpoint: `tcp://127.0.0.1:${(server.address() as AddressInfo).port}`, lines };
}

describe("a worker that stops", () => {
  it("loses what it has to another; each request is answered once; it comes back", async () => {
    const stopped = await startWorker(4, 20);
    await startWorker(4, 20);
    const client = await startClient();
    const answers = new Map<string, number>();
    const count = 400;
    const all = Array.from({ length: count }, async (_, i) => {
      const answer = await client.request<Uint8Array>("echo", `${i}`, { raw: true });
      const text = Buffer.from(answer).toString();
      expect(text).toBe(`${i}`);
      answers.set(text, (answers.get(text) ?? 0) + 1);
      // In the middle of it, with all of its credit in use.
      if (answers.size === 100) stopped.kill("SIGSTOP");
    });
    await Promise.all(all);
    expect(answers.size).toBe(count);
    expect([...answers.values()].every((times) => times === 1)).toBe(true);
    const stats = await broker.stats();
    expect(stats.workers).toBe(1);
    expect(stats.counts).toMatchObject({ replies: count, failures: 0 });
    expect(stats.counts.redelivered).toBeGreaterThanOrEqual(4);
    expect(client.stats).toMatchObject({ replies: count, failures: 0, late: 0 });
    expect(stats.requests).toBe(0);

    stopped.kill("SIGCONT");
    await broker.until(({ workers }) => workers === 2);
    const again = Array.from({ length: 40 }, (_, i) =>
      client.request("echo", `${i}`, { raw: true }),
    );
    await Promise.all(again);
    expect(client.stats).toMatchObject({ replies: count + 40, failures: 0, late: 0 });
    expect((await broker.stats()).requests).toBe(0);
  });
});
