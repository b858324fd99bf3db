import { Deadlines } from "../base/deadlines.js";

/** What bounds surveys. */
export interface SurveyLimits {
  /** Surveys under way, of one client and of all. */
  readonly clientCountMax: number;
  readonly countMax: number;
  /** Bytes of their questions, each once; one alone may be larger. */
  readonly clientBytesMax: number;
  readonly bytesMax: number;
  /** Workers that one survey may ask. */
  readonly workersMax: number;
  /**
   * How long a survey keeps its place beyond its end while workers owe it an answer: else a short
   * deadline would make more room than a long one, and put more on workers than they read.
   */
  readonly owedMs: number;
}

export const defaultSurveyLimits: SurveyLimits = {
  clientCountMax: 64,
  countMax: 4096,
  clientBytesMax: 16 * 1024 * 1024,
  bytesMax: 64 * 1024 * 1024,
  workersMax: 4096,
  owedMs: 1000,
};

/** The places and bytes that surveys take, of one client or of all. */
interface Usage {
  count: number;
  bytes: number;
}

/** What a client asks. */
export interface Question {
  readonly client: number;
  readonly sequence: number;
  readonly service: string;
  readonly bytes: number;
}

/** One question to many. */
export interface Survey extends Question {
  readonly slot: number;
  /** Told to workers and back, so that an answer names one survey of those that had its slot. */
  readonly generation: number;
  /** All workers there were, those among them that cannot be asked. */
  readonly asked: number;
  answered: number;
  /** Those that were asked and have not answered. */
  readonly waiting: Set<number>;
  /** Its client has heard the end, or is gone; it only keeps its place. */
  isOver: boolean;
  /** What its client has under way, this one with it. */
  readonly usage: Usage;
}

/** What carries out the decisions about surveys. */
export interface SurveyOutlet {
  ask(worker: number, survey: Survey): void;
  /** Nobody waits for this worker's answer any more. */
  cancel(worker: number, survey: Survey): void;
  /** The one end of a survey: `missing` of those asked have not answered. */
  end(survey: Survey, missing: number): void;
}

/** What happened to surveys since the start. All only grow. */
export interface SurveyCounts {
  started: number;
  refused: number;
  asked: number;
  answered: number;
  /** Asked, and no answer when the survey ended. */
  missing: number;
  ended: number;
}

const NO_USAGE: Usage = { count: 0, bytes: 0 };

/**
 * Surveys: each asks some workers at once, outside of their credit, and ends once, when all have
 * answered or are gone, or when its time is over. No I/O, no clock.
 */
export class Surveys {
  readonly counts: SurveyCounts = {
    started: 0,
    refused: 0,
    asked: 0,
    answered: 0,
    missing: 0,
    ended: 0,
  };
  readonly #outlet: SurveyOutlet;
  readonly #limits: SurveyLimits;
  readonly #bySlot: (Survey | undefined)[] = [];
  readonly #freeSlots: number[] = [];
  readonly #byClient = new Map<number, Usage>();
  readonly #deadlines: Deadlines;
  #generation = 0;
  readonly #all: Usage = { count: 0, bytes: 0 };

  constructor(outlet: SurveyOutlet, limits: SurveyLimits, nowMs: number) {
    this.#outlet = outlet;
    this.#limits = limits;
    this.#deadlines = new Deadlines(nowMs);
  }

  /** Surveys that have a place: under way, or over and owed answers. */
  get count(): number {
    return this.#all.count;
  }

  /** Why a question of so many bytes may not go to so many workers; undefined where it may. */
  refusal(client: number, workerCount: number, bytes: number): string | undefined {
    const { clientCountMax, countMax, clientBytesMax, bytesMax, workersMax } = this.#limits;
    const own = this.#byClient.get(client) ?? NO_USAGE;
    let reason: string | undefined;
    if (own.count >= clientCountMax) reason = "too many surveys at once";
    else if (this.#all.count >= countMax) reason = "the broker has too many surveys at once";
    else if (isBeyond(own, bytes, clientBytesMax)) reason = "too many bytes of surveys at once";
    else if (isBeyond(this.#all, bytes, bytesMax))
      reason = "the broker has too many bytes of surveys at once";
    else if (workerCount > workersMax)
      reason = `${workerCount} workers; a survey asks ${workersMax}`;
    if (reason !== undefined) this.counts.refused++;
    return reason;
  }

  /** Asks `workers`; `others` more are counted as asked, and missing, since they cannot be. */
  start(
    { client, sequence, service, bytes }: Question,
    workers: Iterable<number>,
    others: number,
    timeoutMs: number,
    nowMs: number,
  ): void {
    const waiting = new Set(workers);
    const slot = this.#freeSlots.pop() ?? this.#bySlot.push(undefined) - 1;
    const generation = ++this.#generation >>> 0;
    const asked = waiting.size + others;
    const usage = this.#byClient.get(client) ?? { count: 0, bytes: 0 };
    const survey: Survey = {
      client,
      sequence,
      service,
      bytes,
      slot,
      generation,
      asked,
      answered: 0,
      waiting,
      isOver: false,
      usage,
    };
    this.#bySlot[slot] = survey;
    this.#byClient.set(client, usage);
    for (const each of [usage, this.#all]) {
      each.count++;
      each.bytes += bytes;
    }
    this.counts.started++;
    this.counts.asked += asked;
    this.#deadlines.set(slot, nowMs + timeoutMs, nowMs);
    for (const worker of waiting) this.#outlet.ask(worker, survey);
    if (waiting.size === 0) this.#end(survey);
  }

  /**
   * The survey that a worker answers, for its answer to be passed on and then `onAnswered`; undefined
   * where none waits for it.
   */
  find(worker: number, slot: number, generation: number): Survey | undefined {
    const survey = this.#bySlot[slot];
    if (survey?.generation !== generation || !survey.waiting.has(worker)) return undefined;
    return survey.isOver ? undefined : survey;
  }

  onAnswered(worker: number, survey: Survey): void {
    survey.waiting.delete(worker);
    survey.answered++;
    this.counts.answered++;
    if (survey.waiting.size === 0) this.#end(survey);
  }

  /** An answer that nobody waits for: it may be the last that kept a survey's place. */
  onLate(worker: number, slot: number, generation: number): void {
    const survey = this.#bySlot[slot];
    if (survey?.generation !== generation || !survey.isOver) return;
    if (survey.waiting.delete(worker) && survey.waiting.size === 0) this.#forget(survey);
  }

  /** The surveys under way of a client. */
  *of(client: number): IterableIterator<Survey> {
    if (!this.#byClient.has(client)) return;
    for (const survey of this.#bySlot) {
      if (survey?.client === client && !survey.isOver) yield survey;
    }
  }

  /** Ends a survey that some have not answered. Whoever calls tells its client. */
  abort(survey: Survey, nowMs: number): void {
    for (const worker of survey.waiting) this.#outlet.cancel(worker, survey);
    this.#close(survey);
    this.#deadlines.set(survey.slot, nowMs + this.#limits.owedMs, nowMs);
  }

  /** A peer is gone: a worker answers no more, and nobody is there to tell a client. */
  onLeave(peer: number, nowMs: number): void {
    if (this.count === 0) return;
    for (const survey of this.of(peer)) this.abort(survey, nowMs);
    // Its index may be another's soon: what workers still owe it counts among all alone.
    this.#byClient.delete(peer);
    for (const survey of this.#bySlot) {
      if (survey?.waiting.delete(peer) !== true || survey.waiting.size > 0) continue;
      if (survey.isOver) this.#forget(survey);
      else this.#end(survey);
    }
  }

  get needsTick(): boolean {
    return this.#deadlines.count > 0;
  }

  tick(nowMs: number): void {
    this.#deadlines.advance(nowMs, (slot) => {
      const survey = this.#bySlot[slot] as Survey;
      if (survey.isOver) return this.#forget(survey);
      this.abort(survey, nowMs);
      this.#outlet.end(survey, survey.asked - survey.answered);
    });
  }

  /** All that were asked have answered or are gone. */
  #end(survey: Survey): void {
    this.#close(survey);
    this.#forget(survey);
    this.#outlet.end(survey, survey.asked - survey.answered);
  }

  #close(survey: Survey): void {
    survey.isOver = true;
    this.counts.ended++;
    this.counts.missing += survey.asked - survey.answered;
    this.#deadlines.clear(survey.slot);
  }

  #forget(survey: Survey): void {
    const { slot, client, bytes, usage } = survey;
    this.#deadlines.clear(slot);
    this.#bySlot[slot] = undefined;
    this.#freeSlots.push(slot);
    for (const each of [usage, this.#all]) {
      each.count--;
      each.bytes -= bytes;
    }
    if (usage.count === 0 && this.#byClient.get(client) === usage) this.#byClient.delete(client);
  }
}

function isBeyond(usage: Usage, bytes: number, bytesMax: number): boolean {
  return usage.count > 0 && usage.bytes + bytes > bytesMax;
}
