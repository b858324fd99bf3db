import { grown } from "../base/columns.js";
import { BUCKET_COUNT, type Bucket, bucketEndMs, bucketOf } from "../base/histogram.js";
import type { StatusCode } from "../base/status.js";

/** Room for every status number (base/status.ts). */
const STATUS_SIZE = 17;
/** The entries of a bucket: how many, and the sum of their ms. */
const ENTRY_SIZE = 2;

/** The row for names that no worker ever served, and for services forgotten since. */
export const OTHER_ROW = 0;

const ROWS_FIRST = 8;

/** Times of one kind and service since the start. */
export interface Times {
  readonly count: number;
  readonly sumMs: number;
  /** What is not empty, lowest first. */
  readonly buckets: readonly Bucket[];
}

/**
 * What is counted of services, for those who watch: a row each. A request that goes straight to a
 * worker and comes back costs one entry, that of its service time; the rest is derived when it is read.
 *
 *     times:     | bucket 0: row 0 count, sum | row 1 count, sum | .. | bucket 1: row 0 .. | ..
 *
 * Bucket by bucket, since services under load are in the same few: what is hot lies together.
 */
export class Meters {
  #capacity = 0;
  #outcomes = new Float64Array(0);
  #waited = new Float64Array(0);
  #served = new Float64Array(0);
  /** Requests that left a worker without its answer. */
  #unanswered = new Float64Array(0);
  /** Parts of streams passed on. */
  #parts = new Float64Array(0);

  constructor() {
    this.#grow(ROWS_FIRST);
  }

  /** Makes sure that there is this row. */
  require(row: number): void {
    if (row >= this.#capacity) this.#grow(Math.max(this.#capacity * 2, row + 1));
  }

  /** A request that waited so long is handed to a worker. */
  onWaited(row: number, ms: number): void {
    const at = (bucketOf(ms) * this.#capacity + row) * ENTRY_SIZE;
    this.#waited[at]++;
    this.#waited[at + 1] += ms;
  }

  /** A worker answered what it had for so long, whoever still waits for it. */
  onAnswered(row: number, ms: number): void {
    const at = (bucketOf(ms) * this.#capacity + row) * ENTRY_SIZE;
    this.#served[at]++;
    this.#served[at + 1] += ms;
  }

  onUnanswered(row: number): void {
    this.#unanswered[row]++;
  }

  onPart(row: number): void {
    this.#parts[row]++;
  }

  parts(row: number): number {
    return this.#parts[row];
  }

  /** A request ended with `status`, refused or taken. */
  onOutcome(row: number, status: StatusCode, count = 1): void {
    this.#outcomes[row * STATUS_SIZE + status] += count;
  }

  /** Lets `row` be used anew: what it has counted is from now on counted of the others. */
  fold(row: number): void {
    const columns: [column: Float64Array, size: number][] = [
      [this.#outcomes, STATUS_SIZE],
      [this.#waited, ENTRY_SIZE],
      [this.#served, ENTRY_SIZE],
      [this.#unanswered, 1],
      [this.#parts, 1],
    ];
    for (const [column, size] of columns) {
      const stride = this.#capacity * size;
      for (let begin = 0; begin < column.length; begin += stride) {
        const at = begin + row * size;
        for (let next = 0; next < size; next++) {
          column[begin + OTHER_ROW * size + next] += column[at + next];
          column[at + next] = 0;
        }
      }
    }
  }

  /** How many ended with each status number, replies left out where the service counts them. */
  outcomes(row: number): Float64Array {
    return this.#outcomes.slice(row * STATUS_SIZE, (row + 1) * STATUS_SIZE);
  }

  /** From being handed to a worker to its answer. */
  served(row: number): Times {
    return this.#times(this.#served, row, 0);
  }

  /**
   * From being taken, or given back by a worker, to being handed to one. Those that did not wait are
   * all that ever went to a worker, of which `inFlight` are there now, less those that did.
   */
  waited(row: number, inFlight: number): Times {
    const handedOut = this.served(row).count + this.#unanswered[row] + inFlight;
    const { count } = this.#times(this.#waited, row, 0);
    return this.#times(this.#waited, row, handedOut - count);
  }

  #times(column: Float64Array, row: number, zeroCount: number): Times {
    const buckets: Bucket[] = [];
    let count = 0;
    let sumMs = 0;
    for (let bucket = 0; bucket < BUCKET_COUNT; bucket++) {
      const at = (bucket * this.#capacity + row) * ENTRY_SIZE;
      const inBucket = column[at] + (bucket === 0 ? zeroCount : 0);
      if (inBucket === 0) continue;
      buckets.push([bucketEndMs(bucket), inBucket]);
      count += inBucket;
      sumMs += column[at + 1];
    }
    return { count, sumMs, buckets };
  }

  #grow(capacity: number): void {
    const before = this.#capacity * ENTRY_SIZE;
    const widened = (column: Float64Array) => {
      const wider = new Float64Array(BUCKET_COUNT * capacity * ENTRY_SIZE);
      for (let bucket = 0; bucket * before < column.length; bucket++) {
        const rows = column.subarray(bucket * before, (bucket + 1) * before);
        wider.set(rows, bucket * capacity * ENTRY_SIZE);
      }
      return wider;
    };
    this.#waited = widened(this.#waited);
    this.#served = widened(this.#served);
    this.#outcomes = grown(this.#outcomes, new Float64Array(capacity * STATUS_SIZE));
    this.#unanswered = grown(this.#unanswered, new Float64Array(capacity));
    this.#parts = grown(this.#parts, new Float64Array(capacity));
    this.#capacity = capacity;
  }
}
