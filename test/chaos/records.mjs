import { createReadStream } from "node:fs";
import { createInterface } from "node:readline";

/** Past its deadline by more than this, on a loaded machine, something is taken for unanswered. */
export const LATE_MS_MAX = 2000;
const VIOLATIONS_SHOWN = 20;

/** @param {string} path */
export function linesOf(path) {
  return createInterface({ input: createReadStream(path), crlfDelay: Number.POSITIVE_INFINITY });
}

/** What should not have been, the first of it in words. */
export function violationList() {
  /** @type {string[]} */
  const shown = [];
  let count = 0;
  return {
    add: (/** @type {string} */ what) => {
      if (++count <= VIOLATIONS_SHOWN) shown.push(what);
    },
    all: () => {
      const more = count - shown.length;
      return more > 0 ? [...shown, `... and ${more} more`] : shown;
    },
  };
}
