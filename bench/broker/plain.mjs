// Unmodified ZeroMQ sockets at both ends, as they are in any language: REQ asks, REP answers. They
// know nothing of the broker between them, which here is wasmq's.
import { Reply, Request } from "zeromq";
import { forEachMessage } from "../naive-broker.mjs";

export { startBroker } from "./wasmq.mjs";

/** @param {import("./party.mjs").WorkerOptions} options */
export async function startWorker({ backend }) {
  const socket = new Reply({ linger: 0 });
  await connected(socket, backend);
  const serving = forEachMessage(socket, (message) => socket.send(message));
  return {
    async stop() {
      socket.close();
      await serving;
    },
  };
}

/** @param {import("./party.mjs").ClientOptions} options */
export async function startClient({ frontend }) {
  const socket = new Request({ linger: 0 });
  await connected(socket, frontend);
  return {
    /** @param {Uint8Array} body */
    async request(body) {
      await socket.send(body);
      const frames = await socket.receive();
      // Only a failure has more than one.
      if (frames.length > 1) throw new Error(frames.map(String).join(" "));
      return frames[0];
    },
    async stop() {
      socket.close();
    },
  };
}

/** Resolves when the other side has said who it is. @param {Reply | Request} socket @param {string} url */
function connected(socket, url) {
  return new Promise((resolve) => {
    socket.events.on("handshake", resolve);
    socket.connect(url);
  });
}
