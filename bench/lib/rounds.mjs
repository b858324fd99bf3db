/**
 * Runs every contender once a round, one after the other, and the next round in reverse: what else
 * the machine does meanwhile falls on all of them alike. Only figures of one call may be compared.
 * @template C, R
 * @param {readonly C[]} contenders
 * @param {number} rounds
 * @param {(contender: C, round: number) => R | Promise<R>} run
 * @returns {Promise<R[][]>} by contender, then by round
 */
export async function interleave(contenders, rounds, run) {
  /** @type {R[][]} */
  const results = contenders.map(() => []);
  for (let round = 0; round < rounds; round++) {
    const order = [...contenders.keys()];
    if (round % 2 === 1) order.reverse();
    for (const index of order) results[index].push(await run(contenders[index], round));
  }
  return results;
}

/** @param {readonly number[]} values */
export function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/**
 * The value that this share of all stays within.
 * @param {readonly number[]} values
 * @param {number} share 0..1
 */
export function quantile(values, share) {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.round(share * (sorted.length - 1))];
}
