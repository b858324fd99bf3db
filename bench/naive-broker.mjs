// The baseline: the broker that a team writes itself in an afternoon. ROUTER in front, ROUTER
// behind, one ZeroMQ message per request, workers in turn. No credits, deadlines, limits, retries
// or death notices: what it does not do costs it nothing here.
//
//   client -> broker   | requestId | body |               broker -> worker   | client | requestId | body |
//   worker -> broker   | client | requestId | body |      broker -> client   | requestId | body |
import { Dealer, Router } from "zeromq";
import { BuiltinCodec } from "./codec/builtin.mjs";

// A ROUTER drops what goes past its high-water mark; depths above 1000 would lose requests.
const options = { sendHighWaterMark: 0, receiveHighWaterMark: 0, linger: 0 };
const READY = Buffer.from("READY");

export async function startBroker() {
  const frontend = new Router(options);
  const backend = new Router(options);
  await frontend.bind("tcp://127.0.0.1:*");
  await backend.bind("tcp://127.0.0.1:*");
  /** @type {Buffer[]} */
  const workers = [];
  let turn = 0;
  let requestCount = 0;
  let replyCount = 0;

  const requests = forEachMessage(frontend, async ([client, requestId, body]) => {
    requestCount++;
    const worker = workers[turn++ % workers.length];
    await backend.send([worker, client, requestId, body]);
  });
  const replies = forEachMessage(backend, async ([worker, client, requestId, body]) => {
    if (requestId === undefined) {
      workers.push(worker);
      await backend.send([worker, READY]);
      return;
    }
    replyCount++;
    await frontend.send([client, requestId, body]);
  });

  return {
    frontend: /** @type {string} */ (frontend.lastEndpoint),
    backend: /** @type {string} */ (backend.lastEndpoint),
    counts: () => ({ requests: requestCount, replies: replyCount }),
    async stop() {
      frontend.close();
      backend.close();
      await Promise.all([requests, replies]);
    },
  };
}

/** @param {import("./broker/party.mjs").WorkerOptions} options */
export async function startWorker({ backend, secret }) {
  const codec = secret === undefined ? undefined : new BuiltinCodec(secret);
  const socket = new Dealer(options);
  socket.connect(backend);
  await socket.send(READY);
  await socket.receive();
  const serving = forEachMessage(socket, async ([client, requestId, body]) => {
    const reply = codec === undefined ? body : codec.seal(codec.open(body));
    await socket.send([client, requestId, reply]);
  });
  return {
    async stop() {
      socket.close();
      await serving;
    },
  };
}

/** @param {import("./broker/party.mjs").ClientOptions} options */
export async function startClient({ frontend, secret }) {
  const codec = secret === undefined ? undefined : new BuiltinCodec(secret);
  const socket = new Dealer(options);
  socket.connect(frontend);
  /** @type {Map<number, (reply: unknown) => void>} */
  const pending = new Map();
  /** @type {Buffer[][]} */
  let unsent = [];
  let isSending = false;
  let lastId = 0;

  // A socket takes one message at a time.
  async function send() {
    isSending = true;
    while (unsent.length > 0) {
      const messages = unsent;
      unsent = [];
      for (const message of messages) await socket.send(message);
    }
    isSending = false;
  }

  const receiving = forEachMessage(socket, ([requestId, body]) => {
    const id = requestId.readUInt32LE();
    const resolve = pending.get(id);
    pending.delete(id);
    resolve?.(codec === undefined ? body : codec.open(body));
  });

  return {
    /** @param {any} body */
    request(body) {
      return new Promise((resolve) => {
        const id = ++lastId;
        const requestId = Buffer.allocUnsafe(4);
        requestId.writeUInt32LE(id);
        pending.set(id, resolve);
        unsent.push([requestId, codec === undefined ? body : codec.seal(body)]);
        if (!isSending) void send();
      });
    },
    async stop() {
      socket.close();
      await receiving;
    },
  };
}

/**
 * @param {Pick<Dealer, "closed"> & { receive(): Promise<Buffer[]> }} socket
 * @param {(frames: Buffer[]) => Promise<void> | void} handle
 */
export async function forEachMessage(socket, handle) {
  while (!socket.closed) {
    try {
      await handle(await socket.receive());
    } catch (error) {
      if (!socket.closed) throw error;
    }
  }
}
