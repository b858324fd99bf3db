// A handler that returns what can only be read as a stream, to who asked for one and to who did not.
import { createReadStream } from "node:fs";
import { PassThrough, Readable } from "node:stream";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import {
  Broker,
  Client,
  type RequestContext,
  type RequestError,
  Worker,
} from "../../build/index.js";
import { eventually } from "../system/processes.js";

const loopback = { frontend: "tcp://127.0.0.1:0", backend: "tcp://127.0.0.1:0" };
const HERE = fileURLToPath(import.meta.url);

let broker: Broker;
let client: Client;
let worker: Worker;
let returned: number;
let made: Readable[];

class Rows implements AsyncIterableIterator<number> {
  secret = "inside";
  async next() {
    return { done: false, value: 1 } as const;
  }
  async return() {
    returned++;
    return { done: true, value: undefined } as const;
  }
  [Symbol.asyncIterator]() {
    return this;
  }
}

class Broken extends Rows {
  override async return(): Promise<never> {
    returned++;
    throw new Error("cannot be closed");
  }
}

/** Neither `next` nor an error ever comes, whatever else is called. */
class Stuck extends Rows {
  override next() {
    return new Promise<never>(() => {});
  }
}

async function* generator() {
  yield 1;
}

const keep = <S extends Readable>(stream: S): S => {
  made.push(stream);
  return stream;
};

const handlers = {
  rows: () => new Rows(),
  broken: () => new Broken(),
  generator: () => generator(),
  file: () => keep(createReadStream(HERE)),
  nowhere: () => keep(createReadStream(`${HERE}.none`)),
  pipe: () => keep(new PassThrough()),
} as const;
const later = Object.entries(handlers).map(([name, make]) => [`${name}.later`, async () => make()]);
const services = { ...handlers, ...Object.fromEntries(later) };

beforeEach(async () => {
  returned = 0;
  made = [];
  broker = await Broker.start(loopback);
  client = await Client.connect({ brokers: broker.frontend });
});

afterEach(async () => {
  await client.close({ timeoutMs: 0 });
  await worker.close();
  await broker.close({ timeoutMs: 0 });
});

const failureOf = (promise: Promise<unknown>) =>
  promise.then(
    (value) => value,
    (error: RequestError) => `${error.code} ${error.reason}`,
  );

describe("to a plain request", () => {
  it("is no reply: the request fails, and what is held open is closed", async () => {
    worker = await Worker.start({ brokers: broker.backend, services, concurrency: 1 });
    for (const name of Object.keys(services)) {
      expect(await failureOf(client.request(name, {}))).toBe(
        `INTERNAL ${name} answers with a stream; ask with client.stream()`,
      );
    }
    expect(returned).toBe(4);
    expect(made).toHaveLength(6);
    await eventually("all are closed", () => made.every(({ closed }) => closed));
    expect(worker.stats).toMatchObject({ running: 0, failed: 12 });
  });

  it("nor is it one for a raw service, whose stream of bytes is closed too", async () => {
    const raw = { handler: handlers.file, raw: true };
    worker = await Worker.start({ brokers: broker.backend, services: { raw } });
    const failure = await failureOf(client.request("raw", "", { raw: true }));
    expect(failure).toMatch("INTERNAL raw answers with a stream");
    await eventually("it is closed", () => made[0].closed);
  });

  it("a survey has it among its failures", async () => {
    worker = await Worker.start({ brokers: broker.backend, services });
    const { replies, failures } = await client.survey("rows", {});
    expect(replies).toEqual([]);
    expect(failures).toMatchObject([{ code: "INTERNAL", reason: "rows answers with a stream" }]);
    expect(returned).toBe(1);
  });

  it("a task that nobody would run is not done", async () => {
    worker = await Worker.start({
      brokers: broker.backend,
      services: {},
      queues: { rows: handlers.rows },
    });
    await client.push("rows", {}, { attempts: 1 });
    await eventually("it is dead", async () => (await client.deadLetters("rows")).length === 1);
    expect(await client.deadLetters("rows")).toMatchObject([{ code: "INTERNAL" }]);
    expect(returned).toBe(1);
  });
});

describe("to a reader who leaves", () => {
  it.each([
    ["an iterator whose next() stays pending", () => new Stuck()],
    ["a stream that nothing is written to", handlers.pipe],
  ])("%s gives its place back", async (_, stuck) => {
    const echo = (body: unknown) => body;
    worker = await Worker.start({
      brokers: broker.backend,
      services: { stuck, echo },
      concurrency: 1,
    });
    const stream = client.stream("stuck", {});
    const reading = stream.next();
    await eventually("it runs", () => worker.stats.running === 1);
    await stream.return();
    await reading;
    expect(await client.request("echo", 7)).toBe(7);
    expect(returned + made.filter(({ destroyed }) => destroyed).length).toBe(1);
  });

  it("a file that was opened only when nobody waited any more is closed", async () => {
    let open = () => {};
    const opening = new Promise<void>((resolve) => (open = resolve));
    let signal: AbortSignal | undefined;
    const file = async (_: unknown, context: RequestContext) => {
      signal = context.signal;
      await opening;
      return handlers.file();
    };
    worker = await Worker.start({ brokers: broker.backend, services: { file } });
    const stream = client.stream("file", {});
    await eventually("it runs", () => signal !== undefined);
    await stream.return();
    await eventually("the worker knows", () => signal?.aborted === true);
    open();
    await eventually("it is closed", () => made[0]?.closed === true);
  });

  it("what is read to its end is not closed a second time", async () => {
    const rows = () => Readable.from([1, 2, 3]);
    worker = await Worker.start({ brokers: broker.backend, services: { rows } });
    const seen: unknown[] = [];
    for await (const row of client.stream("rows", {})) seen.push(row);
    expect(seen).toEqual([1, 2, 3]);
  });
});
