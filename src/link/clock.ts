// By name: the global one is a getter that looks it up each time, a fortieth of a small request.
export { performance } from "node:perf_hooks";
