// Surveys in the chaos: who was asked has answered, failed, or is missing.

const TIMEOUT_MS = 1000;
/** How much longer than its broker a client waits for the end of a survey. */
const GRACE_MS = 2000;

/** @param {import("../patterns.mjs").Stage} stage */
export async function makeSurveys({ client, violation, random }) {
  async function begin(id) {
    const delayMs = random.chance(95) ? random.below(5) : random.below(2000);
    const isThrown = random.chance(5);
    const options = { timeoutMs: TIMEOUT_MS };
    const result = await client.survey("census", { id, delayMs, isThrown }, options);
    const { replies, failures, asked, missing } = result;
    if (asked !== replies.length + failures.length + missing) {
      const parts = `${replies.length} + ${failures.length} + ${missing}`;
      violation(`${id} asked ${asked}, not ${parts}`);
    }
    if (asked === 0) violation(`${id} asked nobody and did not say so`);
    const answered = [...replies, ...failures].map(({ worker }) => worker);
    if (new Set(answered).size !== answered.length) violation(`${id} has a worker twice`);
    if (replies.some(({ value }) => value !== id)) violation(`${id} has another's reply`);
    if (isThrown && replies.length > 0) violation(`${id} has replies of handlers that throw`);
    for (const { code } of failures) {
      if (code !== "INTERNAL" || !isThrown) {
        // A worker that is about to leave, or has no room, says so.
        if (
          !["UNAVAILABLE", "RESOURCE_EXHAUSTED", "CANCELLED", "DEADLINE_EXCEEDED"].includes(code)
        ) {
          violation(`${id} has a failure ${code}`);
        }
      }
    }
    return "OK";
  }
  return { perSecond: 4, timeoutMs: TIMEOUT_MS + GRACE_MS, begin, close: async () => {} };
}
