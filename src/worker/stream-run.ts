import { randomBytes } from "node:crypto";
import { RequestError } from "../base/errors.js";
import type { Link } from "../link/link.js";
import { Flag } from "../wire/layout.js";
import { partBytes, placeBytes, type Run, writePart } from "../wire/stream-record.js";
import { letGo } from "./async-iterables.js";
import type { Job } from "./job.js";

const RUN_SIZE = 8;

/**
 * The answer to a request for a stream: pulls parts out of the handler's iterator, never more than its
 * reader granted, and sends each. Its job is answered by the end, or by a failure.
 */
export class StreamRun {
  /** The place of the end, once the handler is through. */
  end: Uint8Array | undefined;
  readonly #run: Run = randomBytes(RUN_SIZE);
  #parts = 0;
  #bytes = 0;
  #partsMax = 0;
  #bytesMax = 0;
  /** Lets the run look again at what was granted, and at whether it is to stop. */
  #wake: (() => void) | undefined;
  /** Ends the wait for the next part. */
  #giveUp: ((error: unknown) => void) | undefined;

  /** Whether a part is on its way, so that the client may have it. */
  get hasSent(): boolean {
    return this.#parts > 0;
  }

  /** It may send so much in all. */
  grant(partsMax: number, bytesMax: number): void {
    this.#partsMax = Math.max(this.#partsMax, partsMax);
    this.#bytesMax = Math.max(this.#bytesMax, bytesMax);
    this.#wake?.();
  }

  /** What was granted does not count any more: another attempt, or none, is to be answered. */
  suspend(): void {
    this.#partsMax = 0;
    this.#bytesMax = 0;
  }

  /**
   * Sends all parts and seals the end. Rejects with what the iterator throws, and as CANCELLED when the
   * job is told to stop; either way the iterator's `return` has been called by then, and has settled: a
   * `next` that is still to come is waited for no longer.
   */
  async run(job: Job, parts: AsyncIterable<unknown>, onPart: () => void): Promise<void> {
    const iterator = parts[Symbol.asyncIterator]();
    let returned: Promise<void> | undefined;
    const stop = () => {
      returned ??= letGo(parts, iterator);
      return returned;
    };
    // At once, for iterators that wait for something which may never come.
    const onAbort = () => {
      stop().then(
        () => this.#giveUp?.(cancelled()),
        (error) => this.#giveUp?.(error),
      );
      this.#wake?.();
    };
    const { signal } = job;
    signal.addEventListener("abort", onAbort, { once: true });
    try {
      for (;;) {
        await this.#untilGranted(job);
        const { done, value } = await this.#next(iterator);
        requireWanted(job);
        if (done === true) return await this.#end(job, value);
        await this.#send(job, value);
        onPart();
      }
    } catch (error) {
      // Its cleanup may fail as well: then that is what there is to say.
      await stop();
      throw error;
    } finally {
      signal.removeEventListener("abort", onAbort);
    }
  }

  /** What comes next, unless the run is told to stop and `return` is done first. */
  #next(iterator: AsyncIterator<unknown>): Promise<IteratorResult<unknown>> {
    // A promise for each: what is raced against one that lasts is kept by it until the end.
    return new Promise((resolve, reject) => {
      this.#giveUp = reject;
      Promise.resolve(iterator.next()).then(resolve, reject);
    });
  }

  async #untilGranted(job: Job): Promise<void> {
    while (!this.#isGranted && !job.isAborted) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    requireWanted(job);
  }

  get #isGranted(): boolean {
    return this.#parts < this.#partsMax && this.#bytes < this.#bytesMax;
  }

  async #send(job: Job, value: unknown): Promise<void> {
    const place = placeBytes(this.#parts, false, this.#run);
    const sealing = job.sealPart(value, place);
    const body = sealing instanceof Promise ? await sealing : sealing;
    // Not so any more where the connection was lost meanwhile, and another is waited for.
    if (!this.#isGranted || job.isAborted) await this.#untilGranted(job);
    const link = job.link as Link;
    const size = partBytes(body.length);
    if (size > link.recordMax) {
      const reason = `a part of ${size} bytes; the broker takes ${link.recordMax}`;
      throw new RequestError("INTERNAL", reason);
    }
    this.#parts++;
    this.#bytes += size;
    writePart(link.writer, job, this.#flagsOf(job), place, body);
    // With what else is yielded in this turn: a batch of parts costs little more than one.
    link.flushSoon(false);
  }

  async #end(job: Job, value: unknown): Promise<void> {
    const end = placeBytes(this.#parts, true, this.#run);
    job.reply = await job.sealPart(value, end);
    job.replyFlags = this.#flagsOf(job);
    this.end = end;
  }

  #flagsOf({ options }: Job): number {
    return options.raw === true ? Flag.RAW : 0;
  }
}

function requireWanted(job: Job): void {
  if (job.isAborted) throw cancelled();
}

function cancelled(): RequestError {
  return new RequestError("CANCELLED", "stream stopped when asked to");
}
