// A client's requests against a broker that answers, refuses, is lost and comes back at random, some answers late,
// twice or for what was never asked: each ends once, with what is its own, and nothing is left.
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { Status } from "../../build/base/status.js";
import type { Broker, Brokers } from "../../build/client/brokers.js";
import { Requests } from "../../build/client/requests.js";
import { WaitingLines } from "../../build/client/waiting-lines.js";
import type { Codec } from "../../build/codec/index.js";
import type { RequestError } from "../../build/index.js";
import { BatchReader, BatchWriter } from "../../build/wire/batch.js";
import { Flag } from "../../build/wire/layout.js";
import {
  CancelRecord,
  RequestRecord,
  writeFailure,
  writeReply,
} from "../../build/wire/request-record.js";
import { NameCache } from "../../build/wire/text.js";
import { seedOfRun } from "../broker/processes.js";
import { Random } from "../random.mjs";

const STEPS = 30_000;
const FAILURES = [
  Status.UNAVAILABLE,
  Status.RESOURCE_EXHAUSTED,
  Status.ABORTED,
  Status.INTERNAL,
  Status.NOT_FOUND,
];
const SESSION = { sessionLow: 7, sessionHigh: 9 };

let nowMs = 0;
beforeEach(() => {
  nowMs = 1000;
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
  vi.spyOn(performance, "now").mockImplementation(() => nowMs);
});

afterEach(() => {
  vi.useRealTimers();
  vi.restoreAllMocks();
});

/** One that hands out what it was asked, and says what it is told to. */
class ScriptedBroker {
  isUp = true;
  inFlight = 0;
  isDraining = false;
  isHoldingBack = false;
  readonly link = {
    isOpen: true,
    recordMax: 1 << 20,
    writer: new BatchWriter(),
    flushSoon: () => {},
  };
  /** What it has, by sequence: the body it came with. */
  readonly asked = new Map<number, { body: string; isRaw: boolean }>();
  /** What it had once. */
  readonly gone: number[] = [];
  readonly #names = new NameCache();

  /** Reads what was written to it. */
  read(): void {
    const { writer } = this.link;
    if (writer.isEmpty) return;
    const reader = new BatchReader();
    const record = new RequestRecord();
    const cancel = new CancelRecord();
    reader.open(writer.finish(), 0);
    while (reader.next()) {
      if (record.read(reader, this.#names) === undefined) {
        const body = Buffer.concat(record.body).toString();
        this.asked.set(record.sequence, { body, isRaw: (record.flags & Flag.RAW) !== 0 });
      } else if (cancel.read(reader) === undefined) {
        this.asked.delete(cancel.sequence);
        this.gone.push(cancel.sequence);
      }
    }
    expect(reader.fault).toBeUndefined();
  }

  forget(sequence: number): void {
    this.asked.delete(sequence);
    this.gone.push(sequence);
  }

  lose(): void {
    this.isUp = false;
    this.inFlight = 0;
    for (const sequence of this.asked.keys()) this.gone.push(sequence);
    this.asked.clear();
    if (!this.link.writer.isEmpty) this.link.writer.finish();
  }
}

it(`${STEPS} steps`, async () => {
  const random = new Random(seedOfRun());
  const broker = new ScriptedBroker();
  const brokers = {
    pick: () => (broker.isUp ? (broker as unknown as Broker) : undefined),
    release: (of: ScriptedBroker) => of.inFlight--,
    isWelcome: true,
    failures: "",
  } as unknown as Brokers;
  /** Packs to text; now and then later, as it does with what is large. */
  const sealings: (() => void)[] = [];
  const later = <Value>(value: Value): Value | Promise<Value> => {
    if (!random.chance(20)) return value;
    return new Promise((resolve) => sealings.push(() => resolve(value)));
  };
  const codec = {
    dictionaryDigests: [],
    seal: (body: { text: string }) => Buffer.from(body.text),
    sealSoon: (body: { text: string }) => later(Buffer.from(body.text)),
    openSoon: (bytes: Uint8Array) => later(Buffer.from(bytes).toString()),
  } as unknown as Codec;
  const retry = { backoffMsMin: 1, backoffMsMax: 20, budgetPerSecond: 1000 };
  const lines = new WaitingLines(brokers);
  const requests = new Requests({ brokers: [], retry }, codec, SESSION, brokers, lines, () => {});
  const writer = new BatchWriter();
  const outcomes = new Map<string, string>();
  const aborts: AbortController[] = [];
  let count = 0;
  const ends = new Map<string, number>();

  function ask(): void {
    const isRaw = random.chance(60);
    // Some of a size that has a block to itself.
    const text = `${count++}`.padEnd(random.chance(10) ? 9000 : 10, ".");
    const abort = random.chance(10) ? new AbortController() : undefined;
    if (abort !== undefined) aborts.push(abort);
    const end = (outcome: string) => {
      outcomes.set(text, outcome);
      ends.set(text, (ends.get(text) ?? 0) + 1);
    };
    // A body whose reading asks for something else, when it is sealed anew, too.
    const isCurious = !isRaw && random.chance(5);
    const body = {
      get text() {
        if (isCurious && count < STEPS) ask();
        return text;
      },
    };
    const options = {
      raw: isRaw,
      idempotent: random.chance(30),
      timeoutMs: 1 + random.below(400),
      signal: abort?.signal,
    };
    requests.start(
      "echo",
      isRaw ? Buffer.from(text) : body,
      options,
      (reply: unknown) => end(Buffer.from(reply as Uint8Array).toString()),
      (error: Error) => end((error as RequestError).code),
      undefined,
    );
  }

  function say(write: (id: object) => void, sequence: number): void {
    write({ ...SESSION, sequence, slot: 0, generation: 0 });
    const reader = new BatchReader();
    reader.open(writer.finish(), 0);
    while (reader.next()) requests.onRecord(broker as unknown as Broker, reader);
    lines.sendWaiting();
  }

  const reply = (sequence: number, body: string, isRaw: boolean) =>
    say(
      (id) => writeReply(writer, id as never, isRaw ? Flag.RAW : 0, 1, Buffer.from(body)),
      sequence,
    );

  function answer(): void {
    const [sequence, { body, isRaw }] = random.pick([...broker.asked]);
    broker.forget(sequence);
    if (random.chance(75)) return reply(sequence, body, isRaw);
    const flags = random.chance(60) ? Flag.UNTOUCHED : 0;
    const status = random.pick(FAILURES);
    say((id) => writeFailure(writer, id as never, flags, status, "no", random.below(5)), sequence);
  }

  const steps = [
    { weight: 40, step: ask },
    { weight: 40, step: () => void (broker.asked.size > 0 && answer()) },
    {
      weight: 5,
      step: () => {
        // What it had once, or never had: nobody is to hear of it.
        const late = random.chance(80) && broker.gone.length > 0;
        const sequence = late ? random.pick(broker.gone) : 1 + random.below(2 ** 20);
        if (!broker.asked.has(sequence)) reply(sequence, "late", random.chance(50));
      },
    },
    { weight: 4, step: () => void random.pick([...aborts, new AbortController()]).abort() },
    { weight: 6, step: () => void sealings.splice(random.below(sealings.length + 1), 1)[0]?.() },
    {
      weight: 4,
      step: () => {
        nowMs += random.below(20);
        vi.advanceTimersByTime(5);
      },
    },
    {
      weight: 1,
      step: () => {
        if (broker.isUp) {
          broker.lose();
          requests.onDown(broker as unknown as Broker, "gone");
        } else {
          broker.isUp = true;
          lines.sendWaiting();
        }
      },
    },
  ];
  const bag = steps.flatMap(({ weight, step }) => Array<() => void>(weight).fill(step));

  for (let i = 0; i < STEPS; i++) {
    random.pick(bag)();
    broker.read();
    if (random.chance(30)) await undefined;
    broker.read();
    if (aborts.length > 50) aborts.shift();
    if (broker.gone.length > 500) broker.gone.splice(0, 250);
  }
  // Heal: all that is under way is answered, and what is not runs into its deadline.
  broker.isUp = true;
  lines.sendWaiting();
  while (requests.count > 0) {
    broker.read();
    for (const [sequence, { body, isRaw }] of broker.asked) {
      broker.forget(sequence);
      reply(sequence, body, isRaw);
    }
    for (const open of sealings.splice(0)) open();
    await undefined;
    nowMs += 5;
    vi.advanceTimersByTime(5);
  }
  expect(outcomes.size).toBe(count);
  const replied = [...outcomes].filter(([text, outcome]) => outcome === text).length;
  const codes = new Set([...outcomes].flatMap(([text, code]) => (code === text ? [] : [code])));
  expect(replied).toBeGreaterThan(count / 4);
  // Nobody got what is another's, or what came too late.
  for (const code of codes) expect(code).toMatch(/^[A-Z_]+$/);
  expect([...ends.values()].every((each) => each === 1)).toBe(true);
  expect(requests.stats.replies).toBe(replied);
  expect(requests.stats.failures).toBe(count - replied);
  expect(requests.stats.late).toBeGreaterThan(100);
  expect(broker.inFlight).toBe(0);
  expect(vi.getTimerCount()).toBe(0);
});
