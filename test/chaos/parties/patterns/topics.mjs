// Publish and subscribe in the chaos: every client publishes, and hears all that any publishes.

const TOPICS = 4;

/** @param {import("../patterns.mjs").Stage} stage */
export async function makeTopics({ name, client, violation, random, peers, tell }) {
  /** Of what is published, and of what was heard, by topic and publisher: the last number. */
  const counts = new Map();
  const heard = new Map();
  /** Who was heard when all was well again. */
  const present = new Set();
  let missed = 0;

  function publish(topic, options) {
    const n = (counts.get(topic) ?? 0) + 1;
    counts.set(topic, n);
    return client.publish(topic, { from: name, n }, options);
  }

  function onEvent({ topic, body, publisher, sequence, isRetained, missed: told }) {
    const what = `${topic} ${sequence} of ${body.from}`;
    // One publisher counts what it publishes, and so did we.
    if (body.n !== sequence) violation(`${what} should be number ${body.n}`);
    const key = `${topic} ${publisher}`;
    const last = heard.get(key);
    if (last !== undefined && sequence <= last.sequence) {
      violation(`${what} came behind ${last.sequence}`);
    }
    // What came before the first event is not missed, and a last value may be older than that.
    const gap = last === undefined || last.isRetained ? 0 : sequence - last.sequence - 1;
    if (told !== gap) violation(`${what} tells of ${told} missed, of ${gap}`);
    missed += told;
    heard.set(key, { sequence, isRetained: isRetained && (last?.isRetained ?? true) });
    if (topic.startsWith("chaos.end.")) onPresent(topic.slice("chaos.end.".length));
  }

  function onPresent(peer) {
    if (present.has(peer)) return;
    present.add(peer);
    if (present.size === peers.length) tell({ heard: true });
  }

  const subscription = client.subscribe("chaos.>");
  const reading = (async () => {
    for await (const event of subscription) onEvent(event);
  })().catch((error) => violation(`the subscription ended: ${error.message}`));
  let calling;

  return {
    perSecond: 40,
    timeoutMs: 35_000,
    begin: async () => {
      const options = { confirm: random.chance(5), retain: random.chance(10) };
      await publish(`chaos.${name.split(".")[0]}.t${random.below(TOPICS)}`, options);
      return "OK";
    },
    /** All is well: calls out until everybody has heard everybody. */
    call: () => {
      const topic = `chaos.end.${name.split(".")[0]}`;
      calling = setInterval(() => publish(topic).catch((error) => violation(error.message)), 50);
    },
    close: async () => {
      clearInterval(calling);
      const { stats } = subscription;
      if (stats.missed !== missed) violation(`${stats.missed} missed in all, told of ${missed}`);
      if (stats.refused > 0) violation(`${stats.refused} events could not be opened`);
      subscription.close();
      await reading;
    },
  };
}
