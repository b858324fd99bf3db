// What of the protocol the native clients and workers in C and Python keep to, beyond an answer.
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { Broker, Client } from "../../build/index.js";
import { clients, workers } from "./kinds.js";
import { freePort } from "./ports.js";
import { eventually, Program } from "./program.js";

const kinds = ["C native", "Python native"];
const LONG_MS = 86_400_000;
const numbers = (count: number) => Array.from({ length: count }, (_, i) => i);

describe.each(kinds)("a worker in %s", (kind) => {
  let broker: Broker;
  let client: Client;
  beforeEach(async () => {
    broker = await Broker.start({ frontend: "tcp://127.0.0.1:0", backend: "tcp://127.0.0.1:0" });
    client = await Client.connect({ brokers: broker.frontend });
  });
  afterEach(async () => {
    await client.close({ timeoutMs: 0 });
    await broker.close();
  });

  const start = (name: string, delayMs: number, concurrency: number) =>
    new Program(`worker ${kind}`, [
      ...workers[kind],
      "--concurrency",
      String(concurrency),
      broker.backend[0],
      name,
      String(delayMs),
    ]);
  const isServing = (count: number) => () => broker.stats.workers === count;
  const ask = (body: string, signal?: AbortSignal) =>
    client.request<Uint8Array>("default", body, { raw: true, timeoutMs: 60_000, signal });

  test("drains on SIGTERM: what runs is finished, the rest goes to others", async () => {
    const leaving = start("leaving", 100, 2);
    await eventually("it is there", isServing(1));
    // A look-ahead is earned by answers.
    await Promise.all(numbers(4).map((i) => ask(`warm ${i}`)));
    const asking = numbers(20).map((i) => ask(`late ${i}`));
    await leaving.until("running late");
    leaving.signal("SIGTERM");
    expect(await leaving.exit()).toBe(0);
    expect(leaving.stderr).toBe("");
    start("staying", 0, 2);
    const answers = (await Promise.all(asking)).map((bytes) => Buffer.from(bytes).toString());
    const names = answers.map((answer) => answer.split(" ")[0]);
    expect(answers.map((answer) => answer.replace(/^\w+ /, ""))).toEqual(
      numbers(20).map((i) => `late ${i}`),
    );
    expect(new Set(names)).toEqual(new Set(["leaving", "staying"]));
    expect(broker.stats.counts).toMatchObject({ failures: 0, redelivered: 0 });
  });

  test("fails a reply that the broker would not take, and goes on", async () => {
    await broker.close();
    const loopback = { frontend: "tcp://127.0.0.1:0", backend: "tcp://127.0.0.1:0" };
    broker = await Broker.start({ ...loopback, limits: { recordBytesMax: 65_536 } });
    await client.close({ timeoutMs: 0 });
    client = await Client.connect({ brokers: broker.frontend });
    start("a name of its own".repeat(10), 0, 1);
    await eventually("it is there", isServing(1));
    const large = ask("x".repeat(65_400)).catch(({ code, reason }) => `${code} ${reason}`);
    expect(await large).toBe("INTERNAL the reply is too large for the broker");
    expect(Buffer.from(await ask("small")).toString()).toMatch(/ small$/);
  });

  test("tells its concurrency by CREDIT", async () => {
    const worker = start("w", LONG_MS, 1);
    await eventually("it is there", isServing(1));
    const asking = numbers(8).map((i) => ask(`body ${i}`).catch(() => {}));
    const running = () => worker.stdout.split("running body").length - 1;
    await eventually("one runs", () => running() === 1);
    worker.signal("SIGUSR1");
    await eventually("two run", () => running() === 2);
    worker.signal("SIGUSR1");
    await eventually("four run", () => running() === 4);
    expect(broker.stats.services.default.inFlight).toBe(4);
    worker.signal("SIGUSR2");
    await worker.kill();
    await client.close({ timeoutMs: 0 });
    await Promise.all(asking);
  });

  test("takes a CANCEL: its place is free for the next", async () => {
    const worker = start("w", LONG_MS, 1);
    await eventually("it is there", isServing(1));
    const cancelling = new AbortController();
    const cancelled = ask("first", cancelling.signal).catch(({ code }) => code);
    await worker.until("running first");
    const next = new AbortController();
    const second = ask("second", next.signal).catch(({ code }) => code);
    cancelling.abort();
    expect(await cancelled).toBe("CANCELLED");
    await worker.until("running second");
    next.abort();
    expect(await second).toBe("CANCELLED");
    await eventually("nothing is left", () => broker.stats.requests === 0);
  });
});

describe.each(kinds)("a client in %s", (kind) => {
  const bodies = numbers(200).map((i) => `body ${i}`);
  const answers = bodies.map((body) => `w ${body}\n`).join("");

  test("keeps to what it may have in flight", async () => {
    await using broker = await Broker.start({
      frontend: "tcp://127.0.0.1:0",
      backend: "tcp://127.0.0.1:0",
      limits: { clientInFlightMax: 3, clientCreditMin: 1 },
    });
    new Program("worker", [...workers["C native"], broker.backend[0], "w"]);
    const client = new Program(`client ${kind}`, [...clients[kind], broker.frontend[0], ...bodies]);
    expect(await client.output()).toBe(answers);
    expect(broker.stats.counts).toMatchObject({ requests: bodies.length, refused: 0, failures: 0 });
  });

  test.each(["SIGKILL", "SIGTERM"] as const)(
    "asks again where its broker is ended by %s",
    async (signal) => {
      const [frontend, backend] = [await freePort(), await freePort()].map(
        (port) => `tcp://127.0.0.1:${port}`,
      );
      const startBroker = async () => {
        const command = [process.execPath, "build/broker.js", "--frontend", frontend];
        const program = new Program("broker", [...command, "--backend", backend]);
        await program.until('"ready"');
        return program;
      };
      const first = await startBroker();
      const worker = new Program("worker", [...workers["C native"], backend, "w", "5"]);
      const client = new Program(`client ${kind}`, [...clients[kind], frontend, ...bodies]);
      await worker.until("running body 20");
      first.signal(signal);
      await first.exit();
      await startBroker();
      expect(await client.output()).toBe(answers);
      expect(client.stderr).toBe("");
    },
  );
});
