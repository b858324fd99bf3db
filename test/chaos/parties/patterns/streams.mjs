// Streams in the chaos: parts in order without a gap, and one end.

const TIMEOUT_MS = 8000;

/** @param {import("../patterns.mjs").Stage} stage */
export async function makeStreams({ client, violation, random }) {
  async function begin(id) {
    const count = random.below(random.chance(80) ? 60 : 600);
    const isThrown = random.chance(5);
    const failAt = isThrown ? random.below(count + 1) : -1;
    const leaveAt = random.chance(10) ? random.below(count + 1) : -1;
    const abortion = random.chance(5) ? new AbortController() : undefined;
    if (abortion !== undefined) setTimeout(() => abortion.abort(), random.below(100));
    let next = 0;
    const restart = random.chance(30) ? () => (next = 0) : false;
    const delayMs = random.below(10);
    const options = { timeoutMs: TIMEOUT_MS, signal: abortion?.signal, window: 16, restart };
    const stream = client.stream("rows", { id, count, delayMs, failAt }, options);
    try {
      for (;;) {
        const { done, value } = await stream.next();
        if (done) {
          if (next !== count) violation(`${id} ended behind ${next} parts of ${count}`);
          if (value?.id !== id || value.count !== count) violation(`${id} has another's end`);
          if (isThrown) violation(`${id} should have failed at ${failAt}`);
          return "OK";
        }
        if (value.id !== id || value.i !== next) {
          violation(`${id} has part ${value.i} of ${value.id} in place of ${next}`);
        }
        next++;
        if (next - 1 === leaveAt) {
          await stream.return();
          return "LEFT";
        }
      }
    } catch (error) {
      if (error.code === "INTERNAL" && isThrown) return "THROWN";
      if (error.code === "CANCELLED" && abortion === undefined) return "UNASKED-CANCEL";
      throw error;
    } finally {
      const { done } = await stream.next();
      if (!done) violation(`${id} goes on behind its end`);
    }
  }
  return { perSecond: 5, timeoutMs: TIMEOUT_MS, begin, close: async () => {} };
}
