// Tasks of the chaos: pushed to whichever broker there is, and to each alone, so that it is known whose end lost one.
import { QUEUES } from "../../queues.mjs";

/**
 * Its lines in the record, beside those of every pattern:
 *   T <id> <broker, or *> <ms since 1970>   it is about to be pushed
 *   A <id> <task id>                        a broker says that it has it
 * @param {import("../patterns.mjs").Stage} stage
 */
export async function makeTasks({ client, taskBrokers, connect, note, random }) {
  const alone = await Promise.all(taskBrokers.map((broker) => connect([broker])));
  return {
    perSecond: 20,
    timeoutMs: 8000,
    begin: async (/** @type {string} */ id) => {
      const via = random.below(alone.length + 1);
      const pusher = alone[via] ?? client;
      const isDoomed = random.chance(2);
      const body = {
        id,
        isDoomed,
        failCount: random.chance(10) ? 1 + random.below(2) : 0,
        delayMs: random.below(8),
      };
      const options = {
        attempts: isDoomed ? 2 : undefined,
        attemptTimeoutMs: 3000,
        delayMs: random.chance(20) ? random.below(500) : 0,
        timeoutMs: 8000,
      };
      note(`T ${id} ${alone[via] === undefined ? "*" : via} ${Date.now()}`);
      const taskId = await pusher.push(random.pick(QUEUES), body, options);
      note(`A ${id} ${taskId}`);
      return "OK";
    },
    close: () => Promise.all(alone.map((each) => each.close())),
  };
}
