import { together } from "./load.mjs";

/** @typedef {import("../lib/parties.mjs").Party} Party */
/** @typedef {import("../lib/parties.mjs").Parties} Parties */
/** @typedef {import("./scenarios.mjs").Contender} Contender */
/** @typedef {import("./scenarios.mjs").Ends} Ends */

/** How long after its time a measurement may still wait for its last replies. */
const STUCK_MS = 30_000;

/** One contender's processes. */
export class Fleet {
  /** @type {Party[]} */
  #workers = [];
  /** @type {Party[]} */
  #clients = [];
  #start;
  #workerEnds;
  #clientEnds;
  #settings;
  #answered = 0;

  /**
   * @param {Contender} contender
   * @param {{ table: string, clients: Ends, workers: Ends }} ends
   * @param {{ payload: import("./load.mjs").Payload, secret: string | undefined, isQuick: boolean }} settings
   * @param {Parties} parties
   * @param {string | undefined} profileFolder
   */
  constructor(contender, { table, clients, workers }, settings, parties, profileFolder) {
    const { name, module } = contender;
    this.name = name;
    this.#clientEnds = clients;
    this.#workerEnds = { ...workers, processes: contender.workers ?? workers.processes };
    this.#settings = settings;
    this.#start = (/** @type {string} */ role) =>
      parties.start(`${name} ${role} ${table}`, { module, profileFolder });
    this.broker = this.#start("broker");
  }

  get workers() {
    return this.#workerEnds.processes * this.#workerEnds.each;
  }

  get clients() {
    return this.#clientEnds.processes * this.#clientEnds.each;
  }

  async start() {
    const endpoints = await this.broker.ask("broker", { isQuick: this.#settings.isQuick });
    for (const [role, ends, parties] of /** @type {const} */ ([
      ["worker", this.#workerEnds, this.#workers],
      ["client", this.#clientEnds, this.#clients],
    ])) {
      for (let index = 1; index <= ends.processes; index++) {
        const party = this.#start(`${role} ${index}`);
        parties.push(party);
        await party.ask(role, { ...endpoints, ...this.#settings, count: ends.each });
      }
    }
  }

  /**
   * @param {Omit<import("./load.mjs").Load, "payload">} extent
   * @returns {Promise<import("./load.mjs").Measurement>}
   */
  async measure(extent) {
    const load = { payload: this.#settings.payload, ...extent };
    const timeoutMs = (load.warmupSeconds + load.seconds) * 1000 + STUCK_MS;
    const asked = this.#clients.map((client) => client.ask("measure", load, timeoutMs));
    const measured = together(await Promise.all(asked));
    this.#answered += measured.answered;
    return measured;
  }

  /**
   * What the broker has counted, where it can be asked. It must have sent what the clients have and hold
   * nothing; what it refused, and was asked again, is told.
   * @returns {Promise<{ isMiscounted?: boolean, refusals?: Record<string, number> }>}
   */
  async audit() {
    const counts = await this.broker.ask("counts");
    if (counts === undefined) return {};
    const { requests, replies, held = 0, faults = 0, ...others } = counts;
    const refusals = Object.entries(others).filter(([, count]) => count !== 0);
    const isOdd = refusals.length === 0 && requests !== replies;
    return {
      isMiscounted: isOdd || replies !== this.#answered || held !== 0 || faults !== 0,
      refusals: refusals.length === 0 ? undefined : Object.fromEntries(refusals),
    };
  }

  /** Clients first: nothing is in flight when the broker goes. @param {Parties} parties */
  async end(parties) {
    await Promise.all(this.#clients.map((party) => parties.end(party)));
    await Promise.all(this.#workers.map((party) => parties.end(party)));
    await parties.end(this.broker);
  }
}
