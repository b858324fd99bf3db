// The gateway in C: TCP lines in, answers back to who asked.
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { afterEach, beforeEach, describe, expect, onTestFinished, test } from "vitest";
import { Broker } from "../../build/index.js";
import { gateway, workers } from "./kinds.js";
import { freePort } from "./ports.js";
import { eventually, Program } from "./program.js";

/** A TCP client: lines out, lines in. */
class LineClient {
  readonly socket: Socket;
  lines: string[] = [];
  #rest = "";
  #onLine = () => {};

  constructor(port: number) {
    this.socket = connect({ host: "127.0.0.1", port });
    this.socket.on("error", () => {});
    this.socket.setEncoding("utf8").on("data", (text: string) => {
      const [...whole] = (this.#rest + text).split("\n");
      this.#rest = whole.pop() ?? "";
      this.lines.push(...whole);
      this.#onLine();
    });
    this.socket.on("close", () => this.#onLine());
    onTestFinished(() => void this.socket.destroy());
  }

  say(...lines: string[]): void {
    this.socket.write(lines.map((line) => `${line}\n`).join(""));
  }

  /** Its answers, as soon as there are `count`, in the order of their tags' numbers. */
  async answers(count: number): Promise<string[]> {
    while (this.lines.length < count) {
      if (this.socket.closed) throw new Error(`closed after ${this.lines.length} of ${count}`);
      await new Promise<void>((resolve) => {
        this.#onLine = resolve;
      });
    }
    return this.lines.toSorted((a, b) => parseInt(a, 10) - parseInt(b, 10));
  }
}

async function startGateway(frontend: string, ...options: string[]) {
  const program = new Program("gateway", [...gateway, ...options, "0", frontend]);
  await program.until("listening on ");
  const port = Number(/listening on (\d+)/.exec(program.stdout)?.[1]);
  return { program, port };
}

const startWorker = (backend: string, delayMs = 0, ...options: string[]) =>
  new Program("worker", [...workers["C native"], ...options, backend, "w", String(delayMs)]);

const numbers = (count: number) => Array.from({ length: count }, (_, i) => i);

describe("with a broker", () => {
  let broker: Broker;
  beforeEach(async () => {
    broker = await Broker.start({ frontend: "tcp://127.0.0.1:0", backend: "tcp://127.0.0.1:0" });
  });
  afterEach(() => broker.close());
  const frontend = () => broker.frontend[0];
  const backend = () => broker.backend[0];

  test("each of many clients gets its own answers, and bad lines are told", async () => {
    startWorker(backend());
    const { program, port } = await startGateway(frontend(), "--raw");
    const clients = numbers(20).map(() => new LineClient(port));
    for (const [index, client] of clients.entries()) {
      client.say(...numbers(200).map((i) => `${i} default of ${index}, ${i}`));
    }
    for (const [index, client] of clients.entries()) {
      const wanted = numbers(200).map((i) => `${i} OK w of ${index}, ${i}`);
      expect(await client.answers(200)).toEqual(wanted);
    }
    const [client] = clients;
    client.lines = [];
    client.say("1", "2 ", `${"3".repeat(33)} default x`, "4  x", "", "6 default x\r", "7 default ");
    await client.answers(7);
    expect(client.lines.toSorted()).toEqual(
      [
        "1 INVALID_ARGUMENT a line is TAG SERVICE TEXT",
        "2 INVALID_ARGUMENT a line is TAG SERVICE TEXT",
        `${"3".repeat(32)} INVALID_ARGUMENT TAG must be 1 to 32 characters`,
        "4 INVALID_ARGUMENT SERVICE must be 1 to 255 bytes",
        "- INVALID_ARGUMENT a line is TAG SERVICE TEXT",
        "6 OK w x",
        "7 OK w ",
      ].toSorted(),
    );
    client.lines = [];
    client.socket.write("x".repeat(8192));
    await once(client.socket, "close");
    expect(client.lines).toEqual(["- INVALID_ARGUMENT the line is too long"]);
    program.signal("SIGTERM");
    expect(await program.exit()).toBe(0);
    expect(program.stderr).toBe("");
  });

  test("one that does not read holds up nobody, and loses nothing", async () => {
    startWorker(backend());
    const { port } = await startGateway(frontend(), "--raw");
    const deaf = new LineClient(port);
    deaf.socket.pause();
    const text = "x".repeat(7000);
    // More than the gateway keeps for it, and than the system does on its way.
    const count = 5000;
    deaf.say(...numbers(count).map((i) => `${i} default ${text}`));
    const other = new LineClient(port);
    for (let i = 0; i < 100; i++) {
      other.say(`${i} default hello`);
      await other.answers(i + 1);
    }
    // It was stopped: not all of it has been asked.
    expect(broker.stats.counts.requests).toBeLessThan(count);
    deaf.socket.resume();
    const wanted = numbers(count).map((i) => `${i} OK w ${text}`);
    expect(await deaf.answers(count)).toEqual(wanted);
  });

  test("who is cut off has its requests cancelled, who has said all is answered", async () => {
    const worker = startWorker(backend(), 86_400_000, "--concurrency", "100");
    const { program, port } = await startGateway(frontend(), "--raw");
    const cut = new LineClient(port);
    cut.say(...numbers(10).map((i) => `${i} default cut ${i}`));
    await eventually("they run", () => broker.stats.services.default?.inFlight === 10);
    cut.socket.resetAndDestroy();
    await eventually("they are cancelled", () => broker.stats.counts.cancelled === 10);
    await eventually("nothing is left", () => broker.stats.requests === 0);
    await worker.kill();
    await eventually("it is gone", () => broker.stats.workers === 0);
    startWorker(backend(), 100, "--concurrency", "100");
    const brief = new LineClient(port);
    brief.say(...numbers(10).map((i) => `${i} default brief`));
    brief.socket.end();
    expect(await brief.answers(10)).toEqual(numbers(10).map((i) => `${i} OK w brief`));
    if (!brief.socket.closed) await once(brief.socket, "close");
    // SIGTERM ends what is open.
    const last = new LineClient(port);
    last.say("1 default last");
    await eventually("it is asked", () => broker.stats.requests === 1);
    program.signal("SIGTERM");
    expect(await last.answers(1)).toEqual(["1 OK w last"]);
    expect(await program.exit()).toBe(0);
    expect(program.stderr).toBe("");
  });

  test("values instead of bytes, and a request that fails", async () => {
    new Program("worker", [workers["C native"][0], "--service", "orders", backend(), "w"]);
    const { port } = await startGateway(frontend(), "--timeout", "300");
    const client = new LineClient(port);
    client.say("1 orders sku=A1,quantity=3", "2 nobody x");
    const answers = await client.answers(2);
    expect(answers).toEqual([
      '1 OK {"worker":"w","echo":{"sku":"A1","quantity":3}}',
      expect.stringMatching(/^2 (DEADLINE_EXCEEDED|NOT_FOUND) /),
    ]);
  });
});

test("the broker is killed and comes back: every line is answered, once", async () => {
  const frontend = `tcp://127.0.0.1:${await freePort()}`;
  const backend = `tcp://127.0.0.1:${await freePort()}`;
  const startBroker = async () => {
    const command = [process.execPath, "build/broker.js", "--frontend", frontend];
    const program = new Program("broker", [...command, "--backend", backend]);
    await program.until('"ready"');
    return program;
  };
  const first = await startBroker();
  const worker = startWorker(backend, 3, "--concurrency", "16");
  const { port } = await startGateway(frontend, "--raw");
  const clients = numbers(4).map(() => new LineClient(port));
  const count = 2000;
  for (const client of clients) client.say(...numbers(count).map((i) => `${i} default line ${i}`));
  await Promise.all(clients.map((client) => client.answers(100)));
  await first.kill();
  await startBroker();
  for (const client of clients) {
    const wanted = numbers(count).map((i) => `${i} OK w line ${i}`);
    expect(await client.answers(count)).toEqual(wanted);
  }
  expect(worker.stderr).toContain("connection lost");
});
