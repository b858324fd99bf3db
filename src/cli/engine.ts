import { setFlagsFromString } from "node:v8";

/** Bytecode that one optimised function may take in from those it calls; V8's own bound is 920. */
const INLINED_BYTES_MAX = 4000;

/**
 * Sets V8 up for a process that is a broker and nothing else. A request runs through some fifty small
 * functions (core.ts, queue.ts, deadlines.ts ..), and a broker that is both idle and busy at times uses all
 * of their branches: then V8's bound leaves half of the calls in, at a third of the core's time. A library
 * has no business with flags of its process, so `Broker.start` leaves them alone.
 */
export function tuneEngine(): void {
  // The young generation stays at V8's first megabyte: it fits the cache, and it is collected before the
  // messages that its small objects stand for, which are outside of the heap, have come to the 64 MB after
  // which V8 collects all there is. What a broker holds for longer is in typed arrays.
  setFlagsFromString("--semi-space-growth-factor=1");
  setFlagsFromString(`--max-inlined-bytecode-size-cumulative=${INLINED_BYTES_MAX}`);
}
