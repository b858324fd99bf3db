import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

setFlagsFromString("--expose-gc");
/** @type {(options?: { type: "minor" }) => void} */
const collect = runInNewContext("gc");

/**
 * Before a measurement, so that nobody pays for the garbage of another; of its own each makes
 * enough to pay for. Young garbage only: a full collection would take longer than the measurement.
 */
export function collectYoungGarbage() {
  collect({ type: "minor" });
}

export function collectAllGarbage() {
  collect();
}
