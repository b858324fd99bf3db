// zeromq's native Proxy between unmodified REQ and REP sockets, what it is made for.
export { startClient, startWorker } from "../plain.mjs";
export { startBroker } from "./proxy.mjs";
