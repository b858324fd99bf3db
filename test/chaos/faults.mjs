import { setTimeout as after } from "node:timers/promises";
import { Random } from "../random.mjs";

/** @typedef {import("./party.mjs").Party} Party */

/**
 * What can be done to a party, how often beside the others, and to which kinds. Each ends with the
 * party as it was: running.
 * @type {{ name: string, weight: number, kinds: string[], act: (party: Party, random: import("../random.mjs").Random) => Promise<void> }[]}
 */
export const faults = [
  {
    name: "SIGKILL",
    weight: 4,
    kinds: ["broker", "worker", "worker", "client"],
    act: async (party, random) => {
      const downMs = random.pick([0, 50, 400, 2000]);
      await party.kill();
      await after(downMs);
      await party.start();
    },
  },
  {
    name: "SIGSTOP",
    weight: 4,
    kinds: ["broker", "worker", "worker", "client"],
    act: async (party, random) => {
      // Heartbeats give a peer 1 s, a broker 1.5 s: some stops are seen, some are not.
      const stoppedMs = random.pick([20, 300, 900, 1600, 3500]);
      party.stop();
      await after(stoppedMs);
      party.resume();
    },
  },
  {
    name: "SIGTERM",
    weight: 2,
    kinds: ["broker", "worker", "worker"],
    act: async (party, random) => {
      const downMs = random.pick([0, 300]);
      await party.leave(20_000);
      await after(downMs);
      await party.start();
    },
  },
  {
    name: "flood",
    weight: 2,
    kinds: ["client"],
    act: async (party, random) => party.tell({ flood: random.pick([500, 2000, 5000]) }),
  },
];

/**
 * Does one thing after another to parties at random for `seconds`, and waits until each that it
 * has touched runs again. Returns how often each was done, by fault and kind.
 * @param {readonly Party[]} parties
 * @param {import("../random.mjs").Random} random
 * @param {number} seconds
 * @param {() => boolean} isStopped asked between two faults
 */
export async function trouble(parties, random, seconds, isStopped) {
  /** @type {Map<string, number>} */
  const done = new Map();
  /** @type {Promise<void>[]} */
  const underWay = [];
  const endMs = performance.now() + seconds * 1000;
  const total = faults.reduce((sum, { weight }) => sum + weight, 0);
  for (;;) {
    const gapMs = random.pick([10, 100, 200, 400, 800]);
    if (performance.now() + gapMs > endMs || isStopped()) break;
    await after(gapMs);
    const fault = pick(random.below(total));
    const kind = random.pick(fault.kinds);
    const party = random.pick(parties.filter((one) => one.kind === kind));
    // A chance of its own, drawn before any is passed over: what comes later in the schedule does not
    // depend on how long a start took.
    const own = new Random(random.below(2 ** 30));
    if (party.isTroubled || party.state !== "running") continue;
    if (party.isSpared && fault.name !== "SIGSTOP") continue;
    const name = `${fault.name} ${kind}`;
    done.set(name, (done.get(name) ?? 0) + 1);
    party.isTroubled = true;
    underWay.push(fault.act(party, own).finally(() => (party.isTroubled = false)));
  }
  await Promise.all(underWay);
  return done;
}

/** @param {number} dice below the sum of all weights */
function pick(dice) {
  let left = dice;
  for (const fault of faults) {
    left -= fault.weight;
    if (left < 0) return fault;
  }
  throw new RangeError(`dice must be below the sum of the weights, got ${dice}`);
}
