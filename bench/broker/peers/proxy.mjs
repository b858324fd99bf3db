// zeromq's native Proxy between ROUTER and DEALER: no JavaScript per message, and none of a broker's
// duties. It deals to workers in turn.
//
//   client -> proxy   | requestId | body |               proxy -> worker   | client | requestId | body |
import { Dealer, Proxy as NativeProxy, Router } from "zeromq";
import { forEachMessage, startClient as startNaiveClient } from "../../naive-broker.mjs";

const options = { sendHighWaterMark: 0, receiveHighWaterMark: 0, linger: 0 };

export async function startBroker() {
  const frontend = new Router(options);
  const backend = new Dealer(options);
  await frontend.bind("tcp://127.0.0.1:*");
  await backend.bind("tcp://127.0.0.1:*");
  const [front, back] = [frontend.lastEndpoint, backend.lastEndpoint];
  const proxy = new NativeProxy(frontend, backend);
  const running = proxy.run();
  return {
    frontend: front,
    backend: back,
    /** It does not count. */
    counts: () => undefined,
    async stop() {
      proxy.terminate();
      await running;
    },
  };
}

/** @param {import("../party.mjs").WorkerOptions} options */
export async function startWorker({ backend }) {
  const socket = new Dealer(options);
  socket.connect(backend);
  const serving = forEachMessage(socket, (message) => socket.send(message));
  return {
    async stop() {
      socket.close();
      await serving;
    },
  };
}

export const startClient = startNaiveClient;
