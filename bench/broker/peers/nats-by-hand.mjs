// NATS driven by hand: publish with inboxes of one's own and no timers, the fastest that a user of it
// writes. A reply that does not come is waited for for ever.
import { connectTo, formatOf, SUBJECT, startBroker, startWorker } from "./nats.mjs";

export { startBroker, startWorker };

let clientCount = 0;

/** @param {import("../party.mjs").ClientOptions} options */
export async function startClient({ frontend, payload }) {
  const { encode, decode } = formatOf(payload);
  const connection = await connectTo(frontend);
  const inbox = `_INBOX.hand${process.pid}-${++clientCount}`;
  /** @type {Map<string, (reply: any) => void>} */
  const pending = new Map();
  let lastId = 0;
  connection.subscribe(`${inbox}.*`, {
    callback: (/** @type {unknown} */ _error, /** @type {any} */ { subject, data }) => {
      const resolve = pending.get(subject);
      pending.delete(subject);
      resolve?.(decode(data));
    },
  });
  await connection.flush();
  return {
    /** @param {any} body */
    request(body) {
      return new Promise((resolve) => {
        const reply = `${inbox}.${(++lastId).toString(36)}`;
        pending.set(reply, resolve);
        connection.publish(SUBJECT, encode(body), { reply });
      });
    },
    stop: () => connection.close(),
  };
}
