import { Deadlines } from "../base/deadlines.js";

/** What bounds surveys. */
export interface SurveyLimits {
  /** Surveys under way, of one client and of all. */
  readonly clientCountMax: number;
  readonly countMax: number;
  /** Workers that one survey may ask. */
  readonly workersMax: number;
}

export const defaultSurveyLimits: SurveyLimits = {
  clientCountMax: 64,
  countMax: 4096,
  workersMax: 4096,
};

/** One question to many. */
export interface Survey {
  readonly client: number;
  readonly sequence: number;
  readonly slot: number;
  /** Told to workers and back, so that an answer names one survey of those that had its slot. */
  readonly generation: number;
  /** All workers there were, those among them that cannot be asked. */
  readonly asked: number;
  answered: number;
  /** Those that were asked and have not answered. */
  readonly waiting: Set<number>;
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
  readonly #clientCounts = new Map<number, number>();
  readonly #deadlines: Deadlines;
  #generation = 0;
  #count = 0;

  constructor(outlet: SurveyOutlet, limits: SurveyLimits, nowMs: number) {
    this.#outlet = outlet;
    this.#limits = limits;
    this.#deadlines = new Deadlines(nowMs);
  }

  /** Surveys under way. */
  get count(): number {
    return this.#count;
  }

  /** Why a survey of so many workers may not begin; undefined where it may. */
  refusal(client: number, workerCount: number): string | undefined {
    const { clientCountMax, countMax, workersMax } = this.#limits;
    let reason: string | undefined;
    if ((this.#clientCounts.get(client) ?? 0) >= clientCountMax)
      reason = "too many surveys at once";
    else if (this.#count >= countMax) reason = "the broker has too many surveys at once";
    else if (workerCount > workersMax)
      reason = `${workerCount} workers; a survey asks ${workersMax}`;
    if (reason !== undefined) this.counts.refused++;
    return reason;
  }

  /** Asks `workers`; `others` more are counted as asked, and missing, since they cannot be. */
  start(
    client: number,
    sequence: number,
    workers: Iterable<number>,
    others: number,
    timeoutMs: number,
    nowMs: number,
  ): void {
    const waiting = new Set(workers);
    const slot = this.#freeSlots.pop() ?? this.#bySlot.push(undefined) - 1;
    const generation = ++this.#generation >>> 0;
    const asked = waiting.size + others;
    const survey = { client, sequence, slot, generation, asked, answered: 0, waiting };
    this.#bySlot[slot] = survey;
    this.#count++;
    this.#clientCounts.set(client, (this.#clientCounts.get(client) ?? 0) + 1);
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
    return survey;
  }

  onAnswered(worker: number, survey: Survey): void {
    survey.waiting.delete(worker);
    survey.answered++;
    this.counts.answered++;
    if (survey.waiting.size === 0) this.#end(survey);
  }

  /** A peer is gone: a worker answers no more, and nobody is there to tell a client. */
  onLeave(peer: number): void {
    if (this.#count === 0) return;
    for (const survey of this.#bySlot) {
      if (survey === undefined) continue;
      if (survey.client === peer) {
        for (const worker of survey.waiting) this.#outlet.cancel(worker, survey);
        this.#forget(survey);
      } else if (survey.waiting.delete(peer) && survey.waiting.size === 0) {
        this.#end(survey);
      }
    }
  }

  get needsTick(): boolean {
    return this.#deadlines.count > 0;
  }

  tick(nowMs: number): void {
    this.#deadlines.advance(nowMs, (slot) => {
      const survey = this.#bySlot[slot] as Survey;
      for (const worker of survey.waiting) this.#outlet.cancel(worker, survey);
      this.#end(survey);
    });
  }

  #end(survey: Survey): void {
    this.#forget(survey);
    this.#outlet.end(survey, survey.asked - survey.answered);
  }

  #forget(survey: Survey): void {
    const { slot, client } = survey;
    this.counts.ended++;
    this.counts.missing += survey.asked - survey.answered;
    this.#deadlines.clear(slot);
    this.#bySlot[slot] = undefined;
    this.#freeSlots.push(slot);
    this.#count--;
    const left = (this.#clientCounts.get(client) ?? 1) - 1;
    if (left === 0) this.#clientCounts.delete(client);
    else this.#clientCounts.set(client, left);
  }
}
