import { tuneEngine } from "../../build/cli/engine.js";
import { Core } from "../../build/core/core.js";
import { resolveLimits } from "../../build/core/limits.js";
import { comparison } from "../lib/promises.mjs";
import { interleave, median } from "../lib/rounds.mjs";

/** The share of `--seconds` that one figure takes. */
const TIME_SHARE = 1 / 2;
const CYCLES_PER_LOOK = 4096;
/** Requests a worker works on at once. */
const CONCURRENCY = 64;
const CLIENT = 0;
const REQUESTS_MAX = 1 << 21;
/** As if the broker did a million cycles a second, and looked at its deadlines each 5 ms. */
const CYCLE_MS = 0.001;
const CYCLES_PER_TICK = 5000;

/** Promised of one worker, one service and nothing queued. */
const CYCLES_PER_SECOND = 1_500_000;
/** Promised of more of either: within 1.5 times the time. */
const FLATNESS = 1 / 1.5;

/** What the core is to bear; the last is what the others are compared with. */
const SCENARIOS = [
  { workers: 100, services: 1, queued: 0 },
  { workers: 10_000, services: 1, queued: 0 },
  { workers: 1, services: 1000, queued: 0 },
  { workers: 1000, services: 1000, queued: 0 },
  { workers: 1, services: 1, queued: 100 },
  { workers: 1, services: 1, queued: 100_000 },
  { workers: 1, services: 1, queued: 1_000_000 },
  { workers: 1000, services: 1000, queued: 100_000 },
  { workers: 1, services: 1, queued: 0 },
];

/** The production core between a client that asks without end and workers that answer in order. */
class Traffic {
  #core;
  #services;
  #nowMs = 0;
  #cycles = 0;
  #next = 0;
  /** Slots dispatched and not answered, oldest first: a ring. */
  #dispatched = new Int32Array(REQUESTS_MAX);
  #head = 0;
  #tail = 0;
  #replies = 0;
  #failed = 0;
  // Reused from step to step, as the broker does.
  #request = {
    kind: /** @type {const} */ ("request"),
    peer: CLIENT,
    sequence: 0,
    service: "",
    timeoutMs: 60_000,
    attempts: 0,
    priority: 4,
    bytes: 128,
  };
  #reply = { kind: /** @type {const} */ ("reply"), peer: 0, slot: 0, generation: 0 };

  /** @param {(typeof SCENARIOS)[number]} scenario */
  constructor({ workers, services, queued }) {
    const limits = resolveLimits({
      requestsMax: REQUESTS_MAX,
      queueCountMax: REQUESTS_MAX,
      clientInFlightMax: REQUESTS_MAX,
      requestBytesMax: 2 ** 31,
      queueBytesMax: 2 ** 31,
      // Waits are judged, and none is too long.
      queueWaitMsMax: 3_600_000,
      codelTargetMs: 3_600_000,
      // Else what is queued would depend on how fast this machine is.
      lookAheadMax: 0,
    });
    const effects = {
      dispatch: (/** @type {number} */ _worker, /** @type {number} */ slot) => {
        this.#dispatched[this.#tail++ & (this.#dispatched.length - 1)] = slot;
      },
      reply: () => {
        this.#replies++;
      },
      fail: () => {
        this.#failed++;
      },
      refuse: () => {
        this.#failed++;
      },
      hold() {},
      release() {},
      abort() {},
      credit() {},
      drained() {},
    };
    this.#core = new Core(effects, limits);
    this.#services = Array.from({ length: services }, (_, index) => `service.${index}`);
    this.#core.step({ kind: "join-client", peer: CLIENT }, 0);
    for (let index = 0; index < workers; index++) {
      // One worker serves all there are, many serve one each.
      const own = this.#services[index % services];
      this.#core.step(
        {
          kind: "join-worker",
          peer: CLIENT + 1 + index,
          concurrency: CONCURRENCY,
          services: workers === 1 ? this.#services : [own],
          lookAhead: true,
        },
        0,
      );
    }
    // With nothing queued half of what the workers could take is under way; else all, and the rest.
    const room = workers * CONCURRENCY;
    const held = queued === 0 ? Math.max(1, Math.min(room / 2, 1024)) : room + queued;
    for (let count = 0; count < held; count++) this.#ask();
  }

  /** One request comes in, and the oldest in flight is answered, for about this long. */
  run(/** @type {number} */ durationMs) {
    const startMs = performance.now();
    const endMs = startMs + durationMs;
    let nowMs = startMs;
    let count = 0;
    while (nowMs < endMs) {
      for (let cycle = 0; cycle < CYCLES_PER_LOOK; cycle++) {
        this.#ask();
        this.#answer();
      }
      count += CYCLES_PER_LOOK;
      nowMs = performance.now();
    }
    return (count / (nowMs - startMs)) * 1000;
  }

  #ask() {
    const request = this.#request;
    request.sequence++;
    request.service = this.#services[this.#next];
    if (++this.#next === this.#services.length) this.#next = 0;
    this.#core.step(request, this.#nowMs);
  }

  #answer() {
    const { requests } = this.#core;
    const slot = this.#dispatched[this.#head++ & (this.#dispatched.length - 1)];
    const reply = this.#reply;
    reply.slot = slot;
    reply.peer = requests.worker[slot];
    reply.generation = requests.generation[slot];
    this.#core.step(reply, this.#nowMs);
    this.#nowMs += CYCLE_MS;
    if (++this.#cycles % CYCLES_PER_TICK === 0) this.#core.tick(this.#nowMs);
  }

  /** Answers all that is left; what was asked and what was answered must be the same then. */
  finish() {
    while (this.#head < this.#tail) this.#answer();
    const { counts, requests } = this.#core;
    const sent = this.#request.sequence;
    if (this.#replies !== sent || this.#failed > 0 || requests.count > 0 || counts.stale > 0) {
      throw new Error(`core: asked ${sent}, answered ${this.#replies}, failed ${this.#failed}`);
    }
    return { sent, answered: this.#replies, failed: this.#failed };
  }
}

/**
 * @param {import("../lib/options.mjs").Options} options
 * @param {{ progress(text: string): void }} run
 */
export async function runCoreSuite(options, { progress }) {
  progress("core: all scenarios, in turn");
  // As the process of build/broker.js does.
  tuneEngine();
  const contenders = SCENARIOS.map((full) => {
    const scenario = options.isQuick ? { ...full, queued: Math.ceil(full.queued / 100) } : full;
    return { scenario, traffic: new Traffic(scenario) };
  });
  const durationMs = options.seconds * 1000 * TIME_SHARE;
  for (const { traffic } of contenders) traffic.run(durationMs / 2);
  const rates = await interleave(contenders, options.rounds, async ({ traffic }) => {
    await new Promise((resolve) => setImmediate(resolve));
    return traffic.run(durationMs);
  });
  const baseline = rates[rates.length - 1];
  const rows = contenders.map(({ scenario, traffic }, index) => ({
    suite: "core",
    scenario: `${scenario.workers} workers, ${scenario.services} services, ${scenario.queued} queued`,
    ...scenario,
    contender: "wasmq",
    cyclesPerSecond: median(rates[index]),
    ...comparison(
      rates[index].map((rate, round) => rate / baseline[round]),
      isPromised(scenario) ? FLATNESS : undefined,
    ),
    ...traffic.finish(),
  }));
  const [base] = rows.splice(-1);
  const isMet = base.cyclesPerSecond >= CYCLES_PER_SECOND;
  return [{ ...base, cyclesTarget: CYCLES_PER_SECOND, isMet }, ...rows];
}

/** What was promised is along each axis by itself. @param {(typeof SCENARIOS)[number]} scenario */
function isPromised({ workers, services, queued }) {
  return [workers > 1, services > 1, queued > 0].filter(Boolean).length === 1;
}
