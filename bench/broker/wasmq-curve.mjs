// wasmq under CURVE: every connection encrypted, every key known. These keys are the bench's, and worth nothing.
import * as open from "./wasmq.mjs";

const BROKER = {
  publicKey: "KN%>I7L7[pxjT8){2fMLQ89q^l6GvRXW?rs6X-P*",
  secretKey: "R&Znxk$VTCxkkYzZHTIEB3WkzX<5j^=(1uB9=48s",
};
const PEER = {
  publicKey: "Lvt2PF0jYh}izDurXD(-cu(:IRyG2c:i7OWxBj}N",
  secretKey: "8=7JK/{>rq&FS)slS*lp)W2$RJ+YgtFzJ04{1B@k",
};
const MORE = { curve: { ...PEER, serverKey: BROKER.publicKey } };

/** @param {import("./party.mjs").BrokerSettings} settings */
export function startBroker(settings) {
  const keys = { [PEER.publicKey]: { name: "bench", call: ["*"], serve: ["*"] } };
  return open.startBroker(settings, { curve: { ...BROKER, access: { keys } } });
}

/** @param {import("./party.mjs").WorkerOptions} options */
export const startWorker = (options) => open.startWorker(options, MORE);

/** @param {import("./party.mjs").ClientOptions} options */
export const startClient = (options) => open.startClient(options, MORE);
