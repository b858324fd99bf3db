// Programs that do what the ZeroMQ Guide's do, frame by frame, beside native ones at one broker.
import { afterEach, expect, test } from "vitest";
import { Dealer, Request } from "zeromq";
import { Broker, Client, Worker } from "../../build/index.js";
import { socketKeys, startBroker } from "../broker/curve-keys.js";
import { endAll, eventually, Party } from "./processes.js";

let closers: (() => unknown)[] = [];

afterEach(async () => {
  for (const close of closers.reverse()) await close();
  closers = [];
  await endAll();
});

const loopback = { frontend: "tcp://127.0.0.1:0", backend: "tcp://127.0.0.1:0" };

/** The Guide's mdcliapi: a REQ, a new one after each silence, `retries` times. */
class MajordomoClient {
  #socket: Request;
  readonly #endpoint: string;
  readonly #timeoutMs: number;

  constructor(broker: Broker, timeoutMs = 20_000) {
    this.#endpoint = broker.frontend[0];
    this.#timeoutMs = timeoutMs;
    this.#socket = this.#connect();
    closers.push(() => this.#socket.close());
  }

  #connect(): Request {
    const socket = new Request({ linger: 0, receiveTimeout: this.#timeoutMs });
    socket.connect(this.#endpoint);
    return socket;
  }

  async ask(service: string, body: string[], retries = 3): Promise<string[] | undefined> {
    for (let left = retries; left > 0; left--) {
      await this.#socket.send(["MDPC01", service, ...body]);
      const frames = await this.#socket.receive().catch(() => undefined);
      if (frames === undefined) {
        this.#socket.close();
        this.#socket = this.#connect();
        continue;
      }
      const [header, from, ...reply] = frames.map(String);
      expect([header, from]).toEqual(["MDPC01", service]);
      expect(reply.length).toBeGreaterThan(0);
      return reply;
    }
    return undefined;
  }
}

function dealer(broker: Broker): Dealer {
  const socket = new Dealer({ linger: 0, receiveTimeout: 20_000 });
  socket.connect(broker.frontend[0]);
  closers.push(() => socket.close());
  return socket;
}

async function worker(broker: Broker, name: string, options: object = {}): Promise<Party> {
  const where = { endpoint: broker.backend[0], service: "echo" };
  return Party.start("majordomo-worker", { name, ...where, ...options });
}

const workers = (broker: Broker, count: number) =>
  eventually(`${count} workers are there`, () => broker.stats.workers === count);

test("clients find a service with mmi.service and share its workers", async () => {
  await using broker = await Broker.start(loopback);
  const client = new MajordomoClient(broker);
  expect(await client.ask("mmi.service", ["echo"])).toEqual(["404"]);
  await worker(broker, "a");
  await worker(broker, "b");
  await workers(broker, 2);
  expect(await client.ask("mmi.service", ["echo"])).toEqual(["200"]);
  expect(await client.ask("mmi.echo", ["echo"])).toEqual(["501"]);
  const tally: Record<string, number> = { a: 0, b: 0 };
  const line = async (mine: MajordomoClient) => {
    for (let i = 0; i < 200; i++) {
      const reply = await mine.ask("echo", [String(i), "", "tail"]);
      expect(reply?.slice(1)).toEqual(["", "tail"]);
      const [name, echo] = reply?.[0].split(" ") ?? [];
      expect(echo).toBe(String(i));
      tally[name]++;
    }
  };
  await Promise.all([line(client), line(new MajordomoClient(broker))]);
  expect(tally.a + tally.b).toBe(400);
  expect(Math.min(tally.a, tally.b)).toBeGreaterThan(50);
  expect(broker.stats.unanswered).toBe(0);
});

test("as the Guide's mdclient2: ten thousand sent before one is read, all of them answered", async () => {
  await using broker = await Broker.start(loopback);
  await worker(broker, "a");
  await workers(broker, 1);
  const socket = dealer(broker);
  const count = 10_000;
  for (let i = 0; i < count; i++) await socket.send(["", "MDPC01", "echo", String(i)]);
  for (let i = 0; i < count; i++) {
    const frames = (await socket.receive()).map(String);
    expect(frames).toEqual(["", "MDPC01", "echo", `a ${i}`]);
  }
  expect(broker.stats).toMatchObject({ unanswered: 0, requests: 0 });
});

test.each([
  ["0.1", { version: 1 }],
  ["0.2", { version: 2, delimiter: false }],
])("a worker of %s killed in mid-request: another has its request", async (_name, options) => {
  await using broker = await Broker.start(loopback);
  const dying = await worker(broker, "dying", { ...options, delayMs: 60_000 });
  await workers(broker, 1);
  const asking = new MajordomoClient(broker).ask("echo", ["x"], 1);
  await dying.until("running");
  await worker(broker, "other", options);
  await dying.kill();
  expect(await asking).toEqual(["other x"]);
  expect(broker.stats.counts.redelivered).toBe(1);
});

test("a worker that is stopped: ZMTP's heartbeats or its own tell, and it comes again when it goes on", async () => {
  await using broker = await Broker.start({ ...loopback, mdpHeartbeatMs: 100 });
  const stopped = await worker(broker, "stopped", { heartbeatMs: 100 });
  await workers(broker, 1);
  await stopped.until("beats");
  stopped.signal("SIGSTOP");
  await workers(broker, 0);
  stopped.signal("SIGCONT");
  await workers(broker, 1);
  expect(await new MajordomoClient(broker).ask("echo", ["x"])).toEqual(["stopped x"]);
});

test("a worker mute at its work for longer than its heartbeats would allow", async () => {
  await using broker = await Broker.start({ ...loopback, mdpHeartbeatMs: 50 });
  await worker(broker, "slow", { heartbeatMs: 50, delayMs: 600 });
  await workers(broker, 1);
  const client = new MajordomoClient(broker);
  expect(await client.ask("echo", ["x"], 1)).toEqual(["slow x"]);
  expect(await client.ask("echo", ["y"], 1)).toEqual(["slow y"]);
  expect(broker.stats.counts.redelivered).toBe(0);
});

test("a worker comes to the next broker at the same address", async () => {
  const first = await Broker.start(loopback);
  const options = { frontend: first.frontend, backend: first.backend };
  const party = await worker(first, "a", { heartbeatMs: 100 });
  await workers(first, 1);
  expect(await first.close()).toBe(true);
  await using second = await Broker.start({ ...options, mdpHeartbeatMs: 100 });
  await workers(second, 1);
  expect(await new MajordomoClient(second).ask("echo", ["x"])).toEqual(["a x"]);
  expect(party.count("strange")).toBe(0);
});

test("parts of 0.2, to clients that take them and to those that take one reply", async () => {
  await using broker = await Broker.start(loopback);
  await worker(broker, "a", { version: 2, delimiter: false, parts: 3 });
  await workers(broker, 1);
  const socket = dealer(broker);
  await socket.send(["MDPC02", Buffer.of(1), "echo", "x"]);
  const said: string[][] = [];
  for (let i = 0; i < 4; i++) said.push((await socket.receive()).map(String));
  expect(said).toEqual([
    ...[0, 1, 2].map((part) => ["MDPC02", "\x02", "echo", `part ${part}`]),
    ["MDPC02", "\x03", "echo", "a x"],
  ]);
  expect(await new MajordomoClient(broker).ask("echo", ["y"])) //
    .toEqual(["part 0", "part 1", "part 2", "a y"]);
  await using client = await Client.connect({ brokers: broker.frontend });
  const whole = await client.request<Uint8Array>("echo", "z", { raw: true });
  expect(Buffer.from(whole).toString()).toBe("part 0part 1part 2a z");
});

test("native clients and workers, and Majordomo's, of every kind with every other", async () => {
  await using broker = await Broker.start(loopback);
  await using client = await Client.connect({ brokers: broker.frontend });
  const old = new MajordomoClient(broker);
  await worker(broker, "mdp", { service: "mdp" });
  await worker(broker, "two", { service: "two", version: 2 });
  await worker(broker, "plain", { service: "default" });
  const native = await Worker.start({
    brokers: broker.backend,
    services: {
      native: { raw: true, handler: (body: Uint8Array) => `native ${Buffer.from(body)}` },
    },
  });
  closers.push(() => native.close());
  await workers(broker, 4);
  const large = "x".repeat(100_000);
  for (const service of ["mdp", "two", "native"]) {
    for (const text of ["a", large]) {
      expect(await old.ask(service, [text])).toEqual([`${service} ${text}`]);
      const reply = await client.request<Uint8Array>(service, text, { raw: true });
      expect(Buffer.from(reply).toString()).toBe(`${service} ${text}`);
    }
  }
  const req = new Request({ linger: 0 });
  closers.push(() => req.close());
  req.connect(broker.frontend[0]);
  await req.send("a");
  expect((await req.receive()).map(String)).toEqual(["plain a"]);
});

test("a failure is silence: the client asks again, and gives up", async () => {
  await using broker = await Broker.start({ ...loopback, limits: { absentWaitMs: 20 } });
  const client = new MajordomoClient(broker, 200);
  expect(await client.ask("nobody", ["x"], 2)).toBeUndefined();
  expect(broker.stats).toMatchObject({ unanswered: 2, requests: 0 });
  await worker(broker, "late", { service: "nobody" });
  await workers(broker, 1);
  expect(await client.ask("nobody", ["x"])).toEqual(["late x"]);
});

test("a client that gives up takes its request with it", async () => {
  await using broker = await Broker.start(loopback);
  const client = new MajordomoClient(broker, 100);
  const slow = await worker(broker, "slow", { delayMs: 60_000 });
  await workers(broker, 1);
  expect(await client.ask("echo", ["x"], 1)).toBeUndefined();
  await eventually("it is cancelled", () => broker.stats.counts.cancelled === 1);
  await slow.kill();
});

test("under CURVE: heard with a key that may, silently refused with one that may not", async () => {
  const { broker, events } = await startBroker({ mdpHeartbeatMs: 100 });
  closers.push(() => broker.close({ timeoutMs: 0 }));
  const connect = (key: "client" | "worker", endpoint: string) => {
    const socket = new Dealer({ ...socketKeys(key), linger: 0, receiveTimeout: 20_000 });
    closers.push(() => socket.close());
    socket.connect(endpoint);
    return socket;
  };
  const serving = connect("worker", broker.backend[0]);
  await serving.send(["", "MDPW01", Buffer.of(1), "echo"]);
  await workers(broker, 1);
  const asking = connect("client", broker.frontend[0]);
  await asking.send(["", "MDPC01", "other", "x"]);
  await asking.send(["", "MDPC01", "echo", "x"]);
  for (;;) {
    const [empty, header, command, ...rest] = await serving.receive();
    if (command[0] !== 2) continue;
    await serving.send([empty, header, Buffer.of(3), ...rest]);
    break;
  }
  expect((await asking.receive()).map(String)).toEqual(["", "MDPC01", "echo", "x"]);
  const uninvited = connect("client", broker.backend[0]);
  await uninvited.send(["", "MDPW01", Buffer.of(1), "echo"]);
  await eventually("both are told of", () => events.length === 2);
  expect(broker.stats).toMatchObject({ workers: 1, unanswered: 1, faults: { denied: 2 } });
});
