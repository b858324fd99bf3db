/**
 * A way to carry requests: a module that has a broker, workers and clients, see party.mjs.
 * @typedef {object} Contender
 * @property {string} name
 * @property {URL} module
 * @property {boolean} [isPeer] another product: takes part with `--peers`
 * @property {boolean} [isNats] where it is there
 * @property {number} [workers] where it has another number of them than the scenario
 *
 * So many processes, and in each so many clients or workers with a socket of their own.
 * @typedef {{ processes: number, each: number }} Ends
 *
 * @typedef {"requests/s" | "p50" | "p99"} Operation
 *
 * How many requests each client has in flight, and how many times as good as whom we should be then.
 * @typedef {object} Step
 * @property {number} depth
 * @property {Partial<Record<Operation, Record<string, number>>>} targets
 *
 * How many of both take part, in how many processes each, and whether NATS does: what is told of a scenario is
 * true of a quick run, and of one without peers, too.
 * @typedef {{ clients: number, workers: number, clientProcesses: number, clientsEach: number, hasNats: boolean }} Counts
 *
 * What is asked of the contenders, side by side. The first is ours, the others it is compared with.
 * To add one, add to `SCENARIOS`: text, JSON, page and `--only` follow. A figure of ours with and
 * without something (CURVE, say) is a scenario of two modules of ours, the one without second.
 * @typedef {object} Scenario
 * @property {(counts: Counts) => string} title
 * @property {(counts: Counts) => string} about
 * @property {import("./load.mjs").Payload} payload
 * @property {boolean} isSealed ours has keys
 * @property {Ends} clients
 * @property {Ends} workers
 * @property {Contender[]} contenders
 * @property {Step[]} steps
 */

/** @param {string} name @param {string} path */
const contender = (name, path) => ({ name, module: new URL(path, import.meta.url) });

const WASMQ = contender("wasmq", "wasmq.mjs");
const NAIVE = contender("naive", "../naive-broker.mjs");
const PROXY = { ...contender("Proxy", "peers/proxy.mjs"), isPeer: true };
const NATS = { ...contender("NATS", "peers/nats.mjs"), isPeer: true, isNats: true };
const NATS_BY_HAND = { ...NATS, ...contender("NATS by hand", "peers/nats-by-hand.mjs") };
const ALL = [WASMQ, PROXY, NATS, NATS_BY_HAND, NAIVE];

const ONE = { processes: 1, each: 1 };
const QUICK_PROCESSES_MAX = 2;
const QUICK_EACH_MAX = 3;
const RATE = "requests/s";
const NO_WORSE = { Proxy: 1, NATS: 1 };

/** @type {Record<string, Scenario>} */
export const SCENARIOS = {
  depth: {
    title: () => "By depth",
    about: () =>
      "One client and one worker, bodies of 64 bytes as they are; depth is how many requests are in flight.",
    payload: "64 B",
    isSealed: false,
    clients: ONE,
    workers: ONE,
    contenders: ALL,
    steps: [
      { depth: 1, targets: { p50: NO_WORSE, p99: NO_WORSE } },
      { depth: 64, targets: {} },
      { depth: 256, targets: { [RATE]: { NATS: 5, Proxy: 4 } } },
      { depth: 2048, targets: { [RATE]: { NATS: 10, "NATS by hand": 4, Proxy: 8 } } },
    ],
  },
  large: {
    title: () => "16 KiB",
    about: () => "One client and one worker, bodies of 16 KiB as they are.",
    payload: "16 KiB",
    isSealed: false,
    clients: ONE,
    workers: ONE,
    contenders: ALL,
    steps: [{ depth: 64, targets: { [RATE]: { Proxy: 1.2, NATS: 2 } } }],
  },
  workers: {
    title: ({ workers }) => `${workers} workers`,
    about: ({ workers }) =>
      `One client and ${workers} workers, each a process, bodies of 64 bytes; and ours with one worker, at the same time.`,
    payload: "64 B",
    isSealed: false,
    clients: ONE,
    workers: { processes: 4, each: 1 },
    contenders: [WASMQ, { ...WASMQ, name: "wasmq, 1 worker", workers: 1 }, ...ALL.slice(1)],
    steps: [256, 2048].map((depth) => ({ depth, targets: { [RATE]: { "wasmq, 1 worker": 1 } } })),
  },
  clients: {
    title: ({ clients }) => `${clients} clients`,
    about: ({ clients, clientProcesses, clientsEach }) =>
      `${clients} clients with a connection each, ${clientsEach} in each of ${clientProcesses} processes, 16 requests of 64 bytes in flight of each client; one worker.`,
    payload: "64 B",
    isSealed: false,
    clients: { processes: 4, each: 50 },
    workers: ONE,
    contenders: ALL,
    steps: [{ depth: 16, targets: { [RATE]: { Proxy: 5 } } }],
  },
  sealed: {
    title: () => "Sealed",
    about: ({ hasNats }) =>
      `An order as an object at both ends, the handler sees and returns it. Ours is sealed: MessagePack, LZ4, XChaCha20-Poly1305. ${hasNats ? "NATS carries JSON in clear; the" : "The"} naive broker carries JSON with AES-256-GCM.`,
    payload: "order",
    isSealed: true,
    clients: ONE,
    workers: ONE,
    contenders: [
      WASMQ,
      { ...NATS, name: "NATS, JSON" },
      { ...NATS_BY_HAND, name: "NATS by hand, JSON" },
      { ...NAIVE, name: "naive, JSON + AES-GCM" },
    ],
    steps: [256, 2048].map((depth) => ({ depth, targets: { [RATE]: { "NATS, JSON": 2 } } })),
  },
  curve: {
    title: () => "CURVE",
    about: () =>
      "One client and one worker, bodies of 64 bytes; ours under CURVE, each connection encrypted and its key known, and ours without.",
    payload: "64 B",
    isSealed: false,
    clients: ONE,
    workers: ONE,
    contenders: [contender("wasmq, CURVE", "wasmq-curve.mjs"), WASMQ],
    steps: [256, 2048].map((depth) => ({
      depth,
      targets: depth === 2048 ? { [RATE]: { wasmq: 0.5 } } : {},
    })),
  },
  plain: {
    title: () => "REQ and REP",
    about: ({ clients, workers }) =>
      `Unmodified ZeroMQ sockets: ${clients} REQ in one process, ${workers} REP in another, bodies of 64 bytes. A REQ asks one at a time.`,
    payload: "64 B",
    isSealed: false,
    clients: { processes: 1, each: 64 },
    workers: { processes: 1, each: 8 },
    contenders: [
      contender("wasmq", "plain.mjs"),
      { ...PROXY, module: new URL("peers/proxy-plain.mjs", import.meta.url) },
    ],
    steps: [{ depth: 1, targets: { [RATE]: { Proxy: 0.5 } } }],
  },
};

/**
 * The scenarios that `--only` names, with those contenders that take part.
 * @param {Pick<import("../lib/options.mjs").Options, "only" | "hasPeers">} options
 * @returns {(Scenario & { table: string })[]}
 * @throws {RangeError} for a name that nothing has
 */
export function selectedScenarios({ only, hasPeers }) {
  const names = Object.keys(SCENARIOS);
  const unknown = only?.find((name) => !names.includes(name));
  if (unknown !== undefined) {
    throw new RangeError(`--only must be of ${names.join(", ")}, got ${unknown}`);
  }
  return Object.entries(SCENARIOS)
    .filter(([table]) => only === undefined || only.includes(table))
    .map(([table, scenario]) => {
      const contenders = scenario.contenders.filter(({ isPeer }) => hasPeers || !isPeer);
      return { table, ...scenario, contenders };
    });
}

/**
 * As few processes and sockets as can still get in one another's way.
 * @template {Pick<Scenario, "clients" | "workers">} S
 * @param {S} scenario
 * @returns {S}
 */
export function quickened(scenario) {
  const fewer = (/** @type {Ends} */ { processes, each }) => ({
    processes: Math.min(processes, QUICK_PROCESSES_MAX),
    each: Math.min(each, QUICK_EACH_MAX),
  });
  return { ...scenario, clients: fewer(scenario.clients), workers: fewer(scenario.workers) };
}

/**
 * The scenarios that rows are of, with what is to be told of each.
 * @param {any[]} rows of the suite
 * @param {{ isQuick?: boolean }} settings
 */
export function describedScenarios(rows, { isQuick = false }) {
  return Object.entries(SCENARIOS).flatMap(([name, full]) => {
    const own = rows.filter(({ table }) => table === name);
    if (own.length === 0) return [];
    const { clients, workers, title, about } = isQuick ? quickened(full) : full;
    const counts = {
      clients: clients.processes * clients.each,
      workers: workers.processes * workers.each,
      clientProcesses: clients.processes,
      clientsEach: clients.each,
      hasNats: own.some(({ contender, absent }) => contender.startsWith("NATS") && !absent),
    };
    return [{ name, title: title(counts), about: about(counts), rows: own }];
  });
}
