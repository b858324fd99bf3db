// Native streams at workers of MDP/0.2 that come and go, for readers that grant, cancel and leave as it
// happens: each reads in order what its worker sent, no more than it granted, and ends once; each worker has one
// request at a time; nothing is left in the end.
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { statusName } from "../../build/base/status.js";
import { Random } from "../random.mjs";
import type { Shown } from "../wire/support.js";
import { clientHello, request, Stage } from "./fake-port.js";
import { frames, hex } from "./majordomo-stage.js";
import { seedOfRun } from "./processes.js";

const limits = {
  requestsMax: 200,
  clientInFlightMax: 60,
  queueCountMax: 100,
  recordBytesMax: 2000,
  queueBytesMax: 10_000,
  requestBytesMax: 10_000,
};
const times = { heartbeatMs: 1e6, liveness: 3, busyLiveness: 0 };
const STEPS = 30_000;
const RAW_STREAM = 9;
const RESTART = 16;

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "performance"] });
});

afterEach(() => vi.useRealTimers());

/** A stream as its reader sees it. */
interface Asked {
  readonly reader: string;
  readonly sequence: number;
  readonly canRestart: boolean;
  partsMax: number;
  /** Parts of all runs. */
  seen: number;
  run: unknown;
  /** Of this run, by the text of its parts. */
  texts: string[];
}

/** What a worker has in hand, and what it said so far. */
interface Work {
  readonly name: string;
  readonly address: Buffer;
  readonly attempt: number;
  readonly texts: string[];
}

it("30,000 steps", () => {
  const random = new Random(seedOfRun());
  const stage = new Stage(limits, times);
  const { exchange } = stage;
  const { core } = exchange;
  const open = new Map<string, Asked>();
  const work = new Map<string, Work>();
  /** What an attempt has said in all, once it has said FINAL. */
  const whole = new Map<number, readonly string[]>();
  const sequences = new Map<string, number>();
  const outcomes: Record<string, number> = {};
  const readers = ["r1", "r2", "r3"];
  const workers = ["w1", "w2", "w3", "w4"];
  let attempts = 0;
  let restarts = 0;

  const join = (worker: string) => stage.receive("backend", worker, frames("MDPW02", 1, "echo"));
  const hello = (reader: string) => {
    stage.send("frontend", reader, clientHello());
    stage.take("frontend", reader);
    sequences.set(reader, sequences.get(reader) ?? 0);
  };
  const credit = ({ sequence, partsMax }: Asked): Shown => {
    const { slot, generation, session } = request(sequence);
    const max = { partsMax: String(partsMax), bytesMax: "100000000" };
    return { kind: "STREAM_CREDIT", flags: 0, slot, generation, session, sequence, ...max };
  };
  const nameOf = (reader: string, sequence: number | string) => `${reader}#${sequence}`;

  const ask = (reader: string) => {
    const sequence = (sequences.get(reader) as number) + 1;
    sequences.set(reader, sequence);
    const canRestart = random.chance(40);
    const partsMax = random.below(6);
    const asked = { reader, sequence, canRestart, partsMax, seen: 0, run: undefined, texts: [] };
    const name = nameOf(reader, sequence);
    open.set(name, asked);
    const flags = RAW_STREAM | (canRestart ? RESTART : 0);
    const question = request(sequence, { flags, body: [hex(name)] });
    stage.send("frontend", reader, question, credit(asked));
  };
  const grant = (asked: Asked, more: number) => {
    asked.partsMax += more;
    stage.send("frontend", asked.reader, credit(asked));
  };
  const cancel = (asked: Asked) => {
    look();
    const { kind: _, ...id } = credit(asked);
    open.delete(nameOf(asked.reader, asked.sequence));
    stage.send("frontend", asked.reader, { ...id, kind: "CANCEL", status: 0 });
  };
  const answer = (worker: string, mine: Work, isFinal: boolean) => {
    const { address, texts, attempt } = mine;
    const isEmpty = isFinal && random.chance(50);
    const text = `${attempt}.${texts.length}${"x".repeat(random.below(800))}`;
    if (!isEmpty) texts.push(text);
    stage.receive(
      "backend",
      worker,
      frames("MDPW02", isFinal ? 4 : 3, address, "", isEmpty ? "" : text),
    );
    if (!isFinal) return;
    whole.set(attempt, texts);
    work.delete(worker);
    // It may say so twice, and be late with parts.
    if (random.chance(10)) {
      stage.receive("backend", worker, frames("MDPW02", 3 + random.below(2), address, "", "late"));
    }
  };
  const leave = (worker: string) => {
    look();
    stage.receive("backend", worker, frames(""));
    work.delete(worker);
  };

  /** Reads all that was sent, and holds it against what is known. */
  const look = () => {
    exchange.onTurn();
    for (const worker of workers) {
      for (const message of stage.takeMessages("backend", worker)) {
        if (message[1][0] !== 2) continue;
        expect(work.has(worker)).toBe(false);
        const name = Buffer.from(message[4]).toString();
        const address = Buffer.from(message[2]);
        work.set(worker, { name, address, attempt: ++attempts, texts: [] });
      }
    }
    for (const reader of readers) {
      for (const record of stage.take("frontend", reader)) see(reader, record);
    }
    const { count, cost } = exchange.majordomo.partRoom;
    expect(count).toBeLessThanOrEqual(limits.requestsMax);
    expect(cost).toBeLessThanOrEqual(limits.requestBytesMax);
  };
  const see = (reader: string, { kind, sequence, index, run, body, status, reason }: Shown) => {
    if (kind === "WELCOME" || kind === "CREDIT") return;
    const name = nameOf(reader, sequence as string);
    const asked = open.get(name);
    // Cancelled, or ended before: of that nothing more may come.
    if (asked === undefined) throw new Error(`${kind} for ${name}: ${reason}`);
    const end = (outcome: string) => {
      outcomes[outcome] = (outcomes[outcome] ?? 0) + 1;
      open.delete(name);
    };
    if (kind === "FAILURE") return end(statusName(status as number));
    const [text] = (body as string[]).map((frame) => Buffer.from(frame, "hex").toString());
    if (kind === "REPLY") return end("REPLY");
    if (run !== asked.run) {
      if (asked.run !== undefined) {
        expect(asked.canRestart).toBe(true);
        restarts++;
      }
      asked.run = run;
      asked.texts = [];
    }
    expect(Number(index)).toBe(asked.texts.length);
    if (kind === "STREAM_END") {
      expect(asked.texts).toEqual(whole.get(attemptIn(asked.texts[0]))?.map(short));
      return end("END");
    }
    expect(kind).toBe("STREAM_PART");
    expect(++asked.seen).toBeLessThanOrEqual(asked.partsMax);
    asked.texts.push(short(text));
    expect(attemptIn(text)).toBe(attemptIn(asked.texts[0]));
    expect(short(text)).toBe(`${attemptIn(text)}.${index}`);
  };

  for (const reader of readers) hello(reader);
  for (const worker of workers) join(worker);
  for (let step = 0; step < STEPS; step++) {
    const reader = random.pick(readers);
    const worker = random.pick(workers);
    const mine = work.get(worker);
    const some = open.size === 0 ? undefined : random.pick([...open.values()]);
    const dice = random.below(100);
    if (dice < 50 && mine !== undefined) answer(worker, mine, random.chance(15));
    else if (dice < 70 && some !== undefined) grant(some, 1 + random.below(6));
    else if (dice < 90 && open.size < 30) ask(reader);
    else if (dice < 95 && some !== undefined) cancel(some);
    else if (dice < 96) {
      leave(worker);
      join(worker);
    } else if (dice === 99 && random.chance(10)) {
      look();
      stage.receive("frontend", reader, frames(""));
      for (const [name, asked] of open) if (asked.reader === reader) open.delete(name);
      hello(reader);
    }
    if (random.chance(70)) look();
  }
  for (let turn = 0; open.size > 0 || work.size > 0; turn++) {
    expect(turn).toBeLessThan(1000);
    for (const asked of open.values()) grant(asked, 1000);
    for (const worker of workers) {
      const mine = work.get(worker);
      if (mine !== undefined) answer(worker, mine, true);
    }
    look();
  }

  console.log(JSON.stringify({ ...outcomes, restarts, counts: core.counts }));
  for (const outcome of ["END", "REPLY", "UNAVAILABLE", "RESOURCE_EXHAUSTED"]) {
    expect(outcomes[outcome]).toBeGreaterThan(20);
  }
  expect(restarts).toBeGreaterThan(5);
  const { count, cost } = exchange.majordomo.partRoom;
  expect([core.requests.count, core.streams.count, count, cost]).toEqual([0, 0, 0, 0]);
  expect([...core.workers()].map((worker) => worker.concurrency)).toEqual([1, 1, 1, 1]);
  stage.close();
  expect(vi.getTimerCount()).toBe(0);
});

/** A part's text without what only makes it longer. */
function short(text: string): string {
  return text.replace(/x+$/, "");
}

function attemptIn(text: string): number {
  return Number.parseInt(text, 10);
}
