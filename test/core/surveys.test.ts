import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  defaultSurveyLimits,
  type Survey,
  type SurveyLimits,
  type SurveyOutlet,
  Surveys,
} from "../../build/core/surveys.js";

class Stage implements SurveyOutlet {
  readonly surveys: Surveys;
  readonly events: string[] = [];
  readonly open = new Map<number, Survey>();
  nowMs = 0;

  constructor(limits: Partial<SurveyLimits> = {}) {
    this.surveys = new Surveys(this, { ...defaultSurveyLimits, ...limits }, 0);
  }

  ask(worker: number, survey: Survey): void {
    this.open.set(survey.sequence, survey);
    this.events.push(`ask ${worker} ${survey.sequence}`);
  }

  cancel = (worker: number, { sequence }: Survey) =>
    void this.events.push(`cancel ${worker} ${sequence}`);

  end = ({ sequence, asked, answered }: Survey, missing: number) =>
    void this.events.push(`end ${sequence} ${asked}/${answered}/${missing}`);

  start(
    client: number,
    sequence: number,
    workers: number[],
    others = 0,
    timeoutMs = 100,
    bytes = 100,
  ) {
    const reason = this.surveys.refusal(client, workers.length + others, bytes);
    if (reason !== undefined) return reason;
    const question = { client, sequence, service: "s", bytes };
    this.surveys.start(question, workers, others, timeoutMs, this.nowMs);
    return undefined;
  }

  answer(worker: number, { slot, generation }: { slot: number; generation: number }): boolean {
    const survey = this.surveys.find(worker, slot, generation);
    if (survey !== undefined) this.surveys.onAnswered(worker, survey);
    else this.surveys.onLate(worker, slot, generation);
    return survey !== undefined;
  }

  take = () => this.events.splice(0);
}

describe("a survey", () => {
  test("that ended by its time is forgotten when the last worker that owes an answer is gone", () => {
    const stage = new Stage();
    stage.start(1, 7, [10, 11], 0, 50);
    stage.nowMs = 60;
    stage.surveys.tick(stage.nowMs);
    stage.surveys.onLeave(10, stage.nowMs);
    expect(stage.surveys.count).toBe(1);
    stage.surveys.onLeave(11, stage.nowMs);
    expect(stage.surveys.count).toBe(0);
  });

  test("ends when all have answered, each once", () => {
    const stage = new Stage();
    stage.start(1, 7, [10, 11]);
    expect(stage.take()).toEqual(["ask 10 7", "ask 11 7"]);
    const survey = stage.open.get(7) as Survey;
    expect(stage.answer(10, survey)).toBe(true);
    expect(stage.answer(10, survey)).toBe(false);
    expect(stage.answer(12, survey)).toBe(false);
    expect(stage.answer(11, { ...survey, generation: survey.generation + 1 })).toBe(false);
    expect(stage.answer(11, survey)).toBe(true);
    expect(stage.take()).toEqual(["end 7 2/2/0"]);
    expect(stage.answer(11, survey)).toBe(false);
    expect(stage.surveys.needsTick).toBe(false);
  });

  test("ends at its time, and those that are late are told and not heard", () => {
    const stage = new Stage();
    stage.start(1, 7, [10, 11, 12], 2);
    const survey = stage.open.get(7) as Survey;
    stage.answer(11, survey);
    stage.take();
    stage.surveys.tick(100);
    expect(stage.take()).toEqual(["cancel 10 7", "cancel 12 7", "end 7 5/1/4"]);
    expect(stage.answer(10, survey)).toBe(false);
    expect(stage.surveys.counts).toMatchObject({ started: 1, asked: 5, answered: 1, missing: 4 });
  });

  test("does not wait for a worker that is gone", () => {
    const stage = new Stage();
    stage.start(1, 7, [10, 11]);
    stage.answer(10, stage.open.get(7) as Survey);
    stage.take();
    stage.surveys.onLeave(11, 0);
    expect(stage.take()).toEqual(["end 7 2/1/1"]);
  });

  test("is over without a word when its client is gone", () => {
    const stage = new Stage();
    stage.start(1, 7, [10]);
    stage.take();
    stage.surveys.onLeave(1, 0);
    expect(stage.take()).toEqual(["cancel 10 7"]);
    stage.surveys.tick(1000);
    expect(stage.take()).toEqual([]);
    expect([stage.surveys.count, stage.surveys.needsTick]).toEqual([0, false]);
  });

  test("of nobody that can be asked ends at once", () => {
    const stage = new Stage();
    stage.start(1, 7, [], 3);
    expect(stage.take()).toEqual(["end 7 3/0/3"]);
  });

  test("beyond a limit is refused", () => {
    const stage = new Stage({ clientCountMax: 1, countMax: 2, workersMax: 2 });
    expect(stage.start(1, 1, [10])).toBeUndefined();
    expect(stage.start(1, 2, [10])).toMatch(/too many surveys/);
    expect(stage.start(2, 3, [10, 11], 1)).toMatch(/3 workers; a survey asks 2/);
    expect(stage.start(2, 3, [10])).toBeUndefined();
    expect(stage.start(3, 4, [10])).toMatch(/broker has too many/);
    stage.surveys.tick(100);
    stage.surveys.tick(1100);
    expect(stage.start(1, 5, [10])).toBeUndefined();
    expect(stage.surveys.counts.refused).toBe(3);
  });

  test("keeps its place beyond its end until those asked have answered, or a second", () => {
    const stage = new Stage({ clientCountMax: 1 });
    stage.start(1, 1, [10, 11], 0, 1);
    const first = stage.open.get(1) as Survey;
    stage.surveys.tick(1);
    expect(stage.take()).toContain("end 1 2/0/2");
    expect(stage.start(1, 2, [10])).toMatch(/too many surveys/);
    stage.answer(10, first);
    stage.answer(10, first);
    expect(stage.start(1, 2, [10])).toMatch(/too many surveys/);
    stage.answer(11, first);
    expect(stage.start(1, 2, [10], 0, 1)).toBeUndefined();
    stage.surveys.tick(2);
    stage.surveys.tick(1001);
    expect(stage.start(1, 3, [10])).toMatch(/too many surveys/);
    stage.surveys.tick(1002);
    expect(stage.start(1, 3, [10])).toBeUndefined();
    stage.surveys.onLeave(10, 1002);
    expect([stage.surveys.count, stage.surveys.needsTick]).toEqual([0, false]);
    expect(stage.surveys.counts).toMatchObject({ asked: 4, answered: 0, missing: 4, ended: 3 });
  });

  test("beyond the bytes of one client or of all is refused, unless it is alone", () => {
    const stage = new Stage({ clientBytesMax: 1000, bytesMax: 1500 });
    const start = (client: number, sequence: number, bytes: number) =>
      stage.start(client, sequence, [10], 0, 100, bytes);
    expect(start(1, 1, 1001)).toBeUndefined();
    expect(start(1, 2, 1)).toMatch(/^too many bytes/);
    expect(start(2, 3, 500)).toMatch(/broker has too many bytes/);
    expect(start(2, 3, 499)).toBeUndefined();
    stage.answer(10, stage.open.get(1) as Survey);
    expect(start(1, 4, 1000)).toBeUndefined();
    expect(stage.surveys.counts.refused).toBe(2);
  });

  test("of a client that is gone counts among all, not for who has its index next", () => {
    const stage = new Stage({ clientCountMax: 1, countMax: 2 });
    stage.start(1, 1, [10]);
    stage.surveys.onLeave(1, 0);
    expect(stage.start(1, 2, [10], 0, 5000)).toBeUndefined();
    expect(stage.start(2, 3, [10])).toMatch(/broker has too many/);
    stage.surveys.tick(1000);
    expect(stage.start(1, 3, [10])).toMatch(/^too many surveys/);
    expect(stage.start(2, 3, [10])).toBeUndefined();
  });

  test("can be ended before its time", () => {
    const stage = new Stage();
    stage.start(1, 7, [10, 11]);
    stage.start(2, 8, [10]);
    stage.take();
    const survey = stage.open.get(7) as Survey;
    expect([...stage.surveys.of(1)]).toEqual([survey]);
    stage.surveys.abort(survey, 0);
    expect(stage.take()).toEqual(["cancel 10 7", "cancel 11 7"]);
    expect([...stage.surveys.of(1)]).toEqual([]);
    stage.surveys.tick(1000);
    expect(stage.take()).toEqual(["cancel 10 8", "end 8 1/0/1"]);
  });
});

test("whatever comes, each survey has one end, and its sums are right", () => {
  const step = fc.oneof(
    fc.record({
      what: fc.constant("start" as const),
      client: fc.integer({ min: 1, max: 3 }),
      workers: fc.uniqueArray(fc.integer({ min: 10, max: 15 })),
      timeoutMs: fc.integer({ min: 1, max: 300 }),
    }),
    fc.record({
      what: fc.constant("answer" as const),
      worker: fc.integer({ min: 10, max: 15 }),
      pick: fc.nat(50),
    }),
    fc.record({ what: fc.constant("leave" as const), peer: fc.constantFrom(1, 2, 3, 10, 11, 12) }),
    fc.record({ what: fc.constant("wait" as const), ms: fc.integer({ min: 1, max: 200 }) }),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 100 }), (steps) => {
      const stage = new Stage();
      const clients = new Map<number, number>();
      const gone = new Set<number>();
      const answers = new Map<number, number>();
      let sequence = 0;
      for (const each of steps) {
        if (each.what === "start") {
          clients.set(++sequence, each.client);
          answers.set(sequence, 0);
          stage.start(each.client, sequence, each.workers, 0, each.timeoutMs);
        } else if (each.what === "answer") {
          const survey = stage.open.get((each.pick % Math.max(sequence, 1)) + 1);
          if (survey !== undefined && stage.answer(each.worker, survey)) {
            answers.set(survey.sequence, (answers.get(survey.sequence) ?? 0) + 1);
          }
        } else if (each.what === "leave") {
          const before = stage.events.length;
          stage.surveys.onLeave(each.peer, stage.nowMs);
          for (const [number, client] of clients) {
            const ended = stage.events.slice(0, before).some((e) => e.startsWith(`end ${number} `));
            if (client === each.peer && !ended) gone.add(number);
          }
        } else {
          stage.nowMs += each.ms;
          stage.surveys.tick(stage.nowMs);
        }
      }
      stage.surveys.tick(stage.nowMs + 1000);
      stage.surveys.tick(stage.nowMs + 2000);
      for (let number = 1; number <= sequence; number++) {
        const ends = stage.events.filter((event) => event.startsWith(`end ${number} `));
        expect(ends).toHaveLength(gone.has(number) ? 0 : 1);
        if (ends.length === 0) continue;
        const [asked, answered, missing] = ends[0].split(" ")[2].split("/").map(Number);
        expect(answered).toBe(answers.get(number));
        expect(answered + missing).toBe(asked);
      }
      expect(stage.surveys.count).toBe(0);
    }),
    { numRuns: 300 },
  );
});
