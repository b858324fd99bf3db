import type { AdminServer, Watched } from "../admin/server.js";
import type { BrokerState, TasksState } from "../admin/state.js";
import { packageVersion } from "../admin/version.js";
import type { Limits } from "../core/limits.js";
import type { Exchange } from "./exchange.js";
import { brokerState } from "./state.js";
import type { SurveyPattern } from "./survey-pattern.js";
import type { TaskPattern } from "./task-pattern.js";

const UNREADY = { starting: "starting", ready: undefined, draining: "draining" } as const;

/** What a broker shows of itself. */
export class Watch implements Watched {
  phase: keyof typeof UNREADY = "starting";
  readonly #version = packageVersion();
  readonly #startedAt = new Date().toISOString();
  readonly #startMs = performance.now();

  constructor(
    private readonly exchange: Exchange,
    /** Where peers come in that can be refused there. */
    private readonly doors: () => readonly {
      readonly refusalCounts: ReadonlyMap<string, number>;
    }[],
    private readonly limits: Limits,
    private readonly tasks: TaskPattern,
    private readonly surveys: SurveyPattern,
  ) {}

  unready(): string | undefined {
    return UNREADY[this.phase];
  }

  state(): BrokerState {
    // The one limit that is no number.
    const { queueOrder: _, ...limits } = this.limits;
    return brokerState(this.exchange, {
      version: this.#version,
      startedAt: this.#startedAt,
      uptimeMs: Math.round(performance.now() - this.#startMs),
      isReady: this.phase === "ready",
      isDraining: this.phase === "draining",
      refusals: this.refusals(),
      limits,
      tasks: this.tasks.state(),
      surveys: this.surveyCounts,
    });
  }

  get surveyCounts(): Record<string, number> {
    return { ...this.surveys.surveys.counts };
  }

  get tasksState(): TasksState {
    return this.tasks.state();
  }

  /** Connections that were refused or dropped, by reason. */
  refusals(): Record<string, number> {
    const refusals: Record<string, number> = {};
    for (const door of this.doors()) {
      for (const [reason, count] of door.refusalCounts) {
        refusals[reason] = (refusals[reason] ?? 0) + count;
      }
    }
    return refusals;
  }

  /** Lets it be watched at `address`, by those who have the token where there is one. */
  async listen(address: string, token: string | undefined): Promise<AdminServer> {
    // Loaded where it is asked for: prom-client is half as large as all the rest.
    const { AdminServer } = await import("../admin/server.js");
    return AdminServer.listen(address, this, { token });
  }
}
