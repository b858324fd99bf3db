// What a client of the chaos does beside requests. Each pattern's record has, in order:
//   S <pattern> <id>                         something of it begins
//   E <pattern> <id> <outcome> <ms late>     how it ended, once
//   V <text>                                 what should not have been
import { makeStreams } from "./patterns/streams.mjs";
import { makeSurveys } from "./patterns/surveys.mjs";
import { makeTasks } from "./patterns/tasks.mjs";
import { makeTopics } from "./patterns/topics.mjs";

/**
 * @typedef {object} Stage what a pattern is given
 * @property {string} name of this process
 * @property {readonly string[]} peers the names of all clients
 * @property {import("../../../build/index.js").Client} client
 * @property {readonly string[]} taskBrokers where tasks may be pushed, each alone
 * @property {(brokers: readonly string[]) => Promise<import("../../../build/index.js").Client>} connect
 * @property {import("../../random.mjs").Random} random
 * @property {(line: string) => void} note writes a line of the record
 * @property {(what: string) => void} violation
 * @property {(message: object) => void} tell says something to the one that started this process
 */

/** @typedef {{ perSecond: number, timeoutMs: number, begin(id: string): Promise<string>, call?(): void, close(): Promise<unknown> }} Pattern */

const makers = {
  tasks: makeTasks,
  topics: makeTopics,
  streams: makeStreams,
  surveys: makeSurveys,
};
/** Begun and not ended, of one pattern: a broker that is gone must not pile up more. */
const PENDING_MAX = 200;

/**
 * @param {readonly (keyof typeof makers)[]} names
 * @param {Stage} stage
 * @param {(timeoutMs: number) => () => number} clock begins to count; tells how late it is, this process' own stops left out
 * @param {() => void} onIdle nothing is pending any more
 */
export async function makePatterns(names, stage, clock, onIdle) {
  let count = 0;
  const running = await Promise.all(
    names.map(async (name) => {
      return { name, pattern: await makers[name](stage), owed: 0, pendingCount: 0 };
    }),
  );

  async function begin(one) {
    const { name, pattern } = one;
    const id = `${stage.name}#${name}${++count}`;
    const lateMs = clock(pattern.timeoutMs);
    stage.note(`S ${name} ${id}`);
    one.pendingCount++;
    let outcome;
    try {
      outcome = await pattern.begin(id);
    } catch (error) {
      outcome = error.code ?? "UNKNOWN";
      if (error.code === undefined) stage.violation(`${id}: ${error.stack}`);
    }
    stage.note(`E ${name} ${id} ${outcome} ${lateMs()}`);
    one.pendingCount--;
    if (running.every(({ pendingCount }) => pendingCount === 0)) onIdle();
  }

  return {
    get pendingCount() {
      return running.reduce((sum, { pendingCount }) => sum + pendingCount, 0);
    },
    /** `share`: of the usual rate. */
    tick(passedMs, share) {
      for (const one of running) {
        one.owed += (passedMs * one.pattern.perSecond * share) / 1000;
        for (; one.owed >= 1; one.owed--) if (one.pendingCount < PENDING_MAX) void begin(one);
      }
    },
    call() {
      for (const { pattern } of running) pattern.call?.();
    },
    close: () => Promise.all(running.map(({ pattern }) => pattern.close())),
  };
}
