import { describeNats } from "../broker/peers/nats.mjs";
import { interleave, median } from "../lib/rounds.mjs";
import { figure, formatTable, times } from "../lib/table.mjs";

/** @typedef {import("../lib/parties.mjs").Party} Party */
/** @typedef {import("../lib/parties.mjs").Parties} Parties */
/** @typedef {import("../lib/options.mjs").Options} Options */

/**
 * @typedef {object} Scenario
 * @property {string} name
 * @property {number} subscribers connections that hear everything
 * @property {number} processes that these are in
 * @property {number} topicCount each a subscription of each
 * @property {number} burst publications before all are waited for
 */

/** @type {Scenario[]} */
const SCENARIOS = [
  { name: "1 to 1", subscribers: 1, processes: 1, topicCount: 1, burst: 20_000 },
  { name: "1 to 100", subscribers: 100, processes: 2, topicCount: 1, burst: 1_000 },
  { name: "10,000 subscriptions", subscribers: 1, processes: 1, topicCount: 10_000, burst: 20_000 },
];

const script = new URL("party.mjs", import.meta.url);
const peer = (/** @type {string} */ name) => new URL(`peers/${name}.mjs`, import.meta.url);
const CONTENDERS = [
  { contender: "wasmq", module: peer("wasmq"), hasBroker: true },
  { contender: "NATS", module: peer("nats"), hasBroker: true },
  { contender: "PUB/SUB", module: peer("zeromq"), hasBroker: false },
];
/** How long after SUBs have connected a PUB is taken to know all of them. */
const JOIN_MS = 500;
const ASK_MS = 60_000;

/** The processes of one contender, and what they have published. */
class Fleet {
  /** @type {Party[]} */
  #subscribers = [];
  /** @type {Party | undefined} */
  #broker;
  #published = 0;
  wrong = 0;
  received = 0;

  /**
   * @param {typeof CONTENDERS[number]} contender
   * @param {Scenario} scenario
   * @param {Parties} parties
   */
  constructor({ contender, module, hasBroker }, scenario, parties) {
    this.name = contender;
    this.scenario = scenario;
    this.parties = parties;
    this.topics = Array.from({ length: scenario.topicCount }, (_, i) => `bench.topic.${i}.tick`);
    const start = (/** @type {string} */ role) =>
      parties.start(`${contender} ${role}`, { script, module });
    if (hasBroker) this.#broker = start("broker");
    this.publisher = start("publisher");
    for (let i = 0; i < scenario.processes; i++) this.#subscribers.push(start(`subscribers ${i}`));
  }

  get sent() {
    return this.#published * this.scenario.subscribers;
  }

  async start() {
    const { subscribers, processes } = this.scenario;
    const given = await this.#broker?.ask("broker");
    const endpoint = (await this.publisher.ask("publisher", { endpoint: given })) ?? given;
    const count = subscribers / processes;
    const options = { endpoint, topics: this.topics, count };
    await Promise.all(this.#subscribers.map((party) => party.ask("subscribers", options, ASK_MS)));
    if (this.#broker === undefined) await new Promise((resolve) => setTimeout(resolve, JOIN_MS));
  }

  /** Publishes bursts until `seconds` have passed; events heard a second. @param {number} seconds */
  async measure(seconds) {
    const { burst, subscribers, processes } = this.scenario;
    const startMs = performance.now();
    const endMs = startMs + seconds * 1000;
    const before = this.#published;
    do {
      const from = this.#published;
      this.#published += burst;
      const count = (this.#published * subscribers) / processes;
      const [, ...heard] = await Promise.all([
        this.publisher.ask("publish", { topics: this.topics, from, count: burst }, ASK_MS),
        ...this.#subscribers.map((party) => party.ask("received", { count }, ASK_MS)),
      ]);
      this.received = heard.reduce((sum, { received }) => sum + received, 0);
      this.wrong = heard.reduce((sum, { wrong }) => sum + wrong, 0);
    } while (performance.now() < endMs);
    const events = (this.#published - before) * subscribers;
    return (events / (performance.now() - startMs)) * 1000;
  }

  async end() {
    for (const party of [this.publisher, ...this.#subscribers]) await this.parties.end(party);
    if (this.#broker !== undefined) await this.parties.end(this.#broker);
  }
}

/**
 * Events heard a second, by all subscribers together; each burst is waited for, so that nobody loses any.
 * @param {Options} options
 * @param {{ parties: Parties, progress(text: string): void }} run
 */
export async function runPubsubSuite(options, { parties, progress }) {
  const { absent } = describeNats();
  const contenders = CONTENDERS.filter(({ contender }) => contender !== "NATS" || !absent);
  const rows = [];
  for (const full of SCENARIOS) {
    const scenario = options.isQuick
      ? { ...full, subscribers: Math.min(full.subscribers, 4), burst: full.burst / 100 }
      : full;
    progress(`pubsub: ${scenario.name}`);
    const fleets = contenders.map((each) => new Fleet(each, scenario, parties));
    for (const fleet of fleets) {
      await fleet.start();
      await fleet.measure(options.seconds / 2);
    }
    const rates = await interleave(fleets, options.rounds, (fleet) =>
      fleet.measure(options.seconds),
    );
    const { subscribers, topicCount, burst } = scenario;
    rows.push(
      ...fleets.map(({ name, sent, received, wrong }, index) => ({
        suite: "pubsub",
        scenario: scenario.name,
        subscribers,
        topicCount,
        burst,
        contender: name,
        eventsPerSecond: median(rates[index]),
        ratio:
          index === 0
            ? undefined
            : median(rates[0].map((rate, round) => rate / rates[index][round])),
        sent,
        answered: received,
        wrong,
      })),
    );
    if (absent) rows.push({ suite: "pubsub", scenario: scenario.name, contender: "NATS", absent });
    for (const fleet of fleets) await fleet.end();
  }
  return rows;
}

/** @param {any[]} rows */
export function pubsubText(rows) {
  const columns = [
    { title: "scenario", isText: true, value: (/** @type {any} */ { scenario }) => scenario },
    { title: "contender", isText: true, value: (/** @type {any} */ { contender }) => contender },
    {
      title: "events heard/s",
      value: (/** @type {any} */ { eventsPerSecond, absent }) => absent ?? figure(eventsPerSecond),
    },
    { title: "wasmq is", value: (/** @type {any} */ { ratio }) => times(ratio) },
  ];
  return formatTable(columns, rows);
}
