// What somebody wants to hear, and the plain PUBs that are asked for it: each no more at once than it reads.
import type { Connection } from "../zmtp/connection.js";

/** Wishes said in one go; the system is asked between whether it takes more. */
const WISHES_PER_WRITE = 256;
/** Changes that may wait for a PUB that does not read; it loses its connection with one more, and comes anew. */
const CHANGES_MAX = 65_536;

/**
 * One plain PUB, and what it is asked for: no more at once than it reads. What was wanted when it came is not
 * listed for it but walked through, and what changed since is said with its latest state alone, since saying a
 * thing twice is nothing to a PUB.
 */
export class PubLine {
  #connection!: Connection;
  /** Through all that is wanted, and what is added while it is under way; undefined when it is through. */
  #walk: Iterator<string> | undefined;
  readonly #changed = new Map<string, boolean>();

  /** `wanted`: by prefix, bytes in latin1. */
  constructor(wanted: ReadonlyMap<string, unknown>) {
    this.#walk = wanted.keys();
  }

  attach(connection: Connection): void {
    this.#connection = connection;
  }

  /** `prefix` is wanted, or not any more; it is asked by the next `flush`. */
  change(prefix: string, isWanted: boolean): void {
    // The walk comes to what is new.
    if (isWanted && this.#walk !== undefined) this.#changed.delete(prefix);
    else this.#changed.set(prefix, isWanted);
    if (this.#changed.size > CHANGES_MAX) this.#connection.close();
  }

  flush(): void {
    while (!this.#connection.isEnded && !this.#connection.isBlocked) {
      const wishes = this.#next();
      if (wishes.length === 0) return;
      this.#connection.sendAll(wishes);
    }
  }

  #next(): Buffer[][] {
    const wishes: Buffer[][] = [];
    while (this.#walk !== undefined && wishes.length < WISHES_PER_WRITE) {
      const { value, done } = this.#walk.next();
      if (done) this.#walk = undefined;
      else wishes.push([wishOf(value, true)]);
    }
    for (const [prefix, isWanted] of this.#changed) {
      if (wishes.length >= WISHES_PER_WRITE) break;
      this.#changed.delete(prefix);
      wishes.push([wishOf(prefix, isWanted)]);
    }
    return wishes;
  }
}

/** What plain PUBs are asked for. */
export class Wishes {
  /** How many want each prefix, bytes in latin1: native patterns, and plain SUBs, which count once. */
  readonly #wanted = new Map<string, number>();
  readonly #lines = new Set<PubLine>();
  /** To be told of changes. */
  #isDue = false;

  /** Prefixes that somebody wants. */
  get count(): number {
    return this.#wanted.size;
  }

  addLine(): PubLine {
    const line = new PubLine(this.#wanted);
    this.#lines.add(line);
    return line;
  }

  deleteLine(line: PubLine): void {
    this.#lines.delete(line);
  }

  /** One more wants `prefix`, or one fewer; returns whether PUBs are to be told. */
  want(prefix: string, isOneMore: boolean): boolean {
    const before = this.#wanted.get(prefix) ?? 0;
    const after = before + (isOneMore ? 1 : -1);
    if (after > 0) this.#wanted.set(prefix, after);
    else this.#wanted.delete(prefix);
    if (before > 0 && after > 0) return false;
    for (const line of this.#lines) line.change(prefix, isOneMore);
    this.#isDue = true;
    return true;
  }

  /** Tells PUBs of changes, as far as they read. */
  flush(): void {
    if (!this.#isDue) return;
    this.#isDue = false;
    for (const line of this.#lines) line.flush();
  }
}

/** | 01 or 00 | prefix |, as libzmq's XSUB says it to PUBs of any version. */
function wishOf(prefix: string, isWanted: boolean): Buffer {
  const wish = Buffer.allocUnsafe(1 + prefix.length);
  wish[0] = isWanted ? 1 : 0;
  wish.write(prefix, 1, "latin1");
  return wish;
}
