// The same with every connection under CURVE.
import * as wasmq from "./wasmq.mjs";

// The example keys of zmq_curve(7): known to all, and to loopback alone.
const BROKER = {
  publicKey: "rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7",
  secretKey: "JTKVSB%%)wK0E.X)V>+}o?pNmC{O&4W4b!Ni{Lh6",
};
const PEER = {
  publicKey: "Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID",
  secretKey: "D:)Q[IlAW!ahhC2ac:9*A}h:p?([4%wOTJ%JR%cs",
};
const curve = { ...PEER, serverKey: BROKER.publicKey };

export function startBroker() {
  const access = { keys: { [PEER.publicKey]: { call: ["bench.*"], serve: ["bench.*"] } } };
  return wasmq.startBroker({ ...BROKER, access });
}

/** @param {import("./party.mjs").WorkerOptions} options */
export function startWorker(options) {
  return wasmq.startWorker(options, curve);
}

/** @param {import("./party.mjs").ClientOptions} options */
export function startClient(options) {
  return wasmq.startClient(options, curve);
}
