import { Histogram, type MetricObjectWithValues, type MetricValueWithName } from "prom-client";
import type { Times } from "./state.js";

/** Times of one service, by its name. */
export type TimesOf = readonly [service: string, times: Times];

/** Each a whole power of two microseconds, 64 us to 67 s: bounds that state buckets have too. */
const BOUNDS_MS = Array.from({ length: 21 }, (_, index) => 2 ** (index + 6) / 1000);

/** Services whose 24 lines each are written without a pause. */
const PAGE_SIZE = 50;

/**
 * A histogram that is told its buckets when it is read. prom-client's own must see every value,
 * which would cost each request a look-up by labels.
 */
export class TimesHistogram extends Histogram<string> {
  readonly title: string;
  /** Which services are read next. */
  page = 0;
  readonly #head: { name: string; help: string };
  readonly #read: () => readonly TimesOf[];

  constructor(name: string, help: string, read: () => readonly TimesOf[]) {
    super({ name, help, labelNames: ["service"], registers: [] });
    this.title = name;
    this.#head = { name, help };
    this.#read = read;
  }

  get pageCount(): number {
    return Math.ceil(this.#read().length / PAGE_SIZE);
  }

  override async get(): Promise<MetricObjectWithValues<MetricValueWithName<string>>> {
    const begin = this.page * PAGE_SIZE;
    const services = this.#read().slice(begin, begin + PAGE_SIZE);
    const values = services.flatMap((times) => this.#values(times));
    // The declaration has an enum of numbers; what runs are these words.
    const type = "histogram" as unknown as MetricObjectWithValues<never>["type"];
    return { ...this.#head, type, aggregator: "sum", collect() {}, values };
  }

  /** What a Registry asks first, where there is one. */
  getForPromString() {
    return this.get();
  }

  #values([service, times]: TimesOf): MetricValueWithName<string>[] {
    const { name } = this.#head;
    const values: MetricValueWithName<string>[] = [];
    const add = (suffix: string, value: number, le?: number | string) => {
      const labels = le === undefined ? { service } : { le, service };
      values.push({ metricName: `${name}_${suffix}`, labels, value });
    };
    let at = 0;
    let below = 0;
    for (const boundMs of BOUNDS_MS) {
      for (; at < times.buckets.length; at++) {
        const [upToMs, count] = times.buckets[at];
        if (upToMs === null || upToMs > boundMs) break;
        below += count;
      }
      add("bucket", below, boundMs / 1000);
    }
    add("bucket", times.count, "+Inf");
    add("sum", times.sumMs / 1000);
    add("count", times.count);
    return values;
  }
}
