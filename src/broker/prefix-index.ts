/** Topics remembered with those who hear them, and these together, before all is forgotten. */
const REMEMBERED_MAX = 65_536;
const NOBODY: readonly never[] = [];

/** Who asked for what begins so, by the beginnings, bytes in latin1. A topic costs as many looks as these have lengths. */
export class PrefixIndex<T> {
  readonly #byPrefix = new Map<string, Set<T>>();
  /** How many beginnings there are of each length. */
  readonly #lengths: number[] = [];
  /** Whom a topic goes to, until somebody comes or goes. */
  readonly #remembered = new Map<string, readonly T[]>();
  #rememberedSize = 0;

  /** Returns whether nobody had it. */
  add(prefix: string, it: T): boolean {
    this.#forget();
    const those = this.#byPrefix.get(prefix);
    if (those !== undefined) {
      those.add(it);
      return false;
    }
    this.#byPrefix.set(prefix, new Set([it]));
    this.#count(prefix.length, 1);
    return true;
  }

  /** Returns whether nobody has it any more. */
  delete(prefix: string, it: T): boolean {
    const those = this.#byPrefix.get(prefix);
    if (those?.delete(it) !== true) return false;
    this.#forget();
    if (those.size > 0) return false;
    this.#byPrefix.delete(prefix);
    this.#count(prefix.length, -1);
    return true;
  }

  /** Each that has a beginning of `topic`, once. */
  of(topic: string): readonly T[] {
    if (this.#byPrefix.size === 0) return NOBODY;
    const known = this.#remembered.get(topic);
    if (known !== undefined) return known;
    const found = this.#find(topic);
    if (this.#rememberedSize > REMEMBERED_MAX) this.#forget();
    this.#remembered.set(topic, found);
    this.#rememberedSize += 1 + found.length;
    return found;
  }

  #find(topic: string): readonly T[] {
    let first: Set<T> | undefined;
    let all: Set<T> | undefined;
    const end = Math.min(topic.length + 1, this.#lengths.length);
    for (let size = 0; size < end; size++) {
      if (this.#lengths[size] === 0) continue;
      const those = this.#byPrefix.get(topic.slice(0, size));
      if (those === undefined) continue;
      if (first === undefined) {
        first = those;
        continue;
      }
      all ??= new Set(first);
      for (const it of those) all.add(it);
    }
    const found = all ?? first;
    return found === undefined ? NOBODY : [...found];
  }

  #count(length: number, change: number): void {
    while (this.#lengths.length <= length) this.#lengths.push(0);
    this.#lengths[length] += change;
  }

  #forget(): void {
    if (this.#remembered.size === 0) return;
    this.#remembered.clear();
    this.#rememberedSize = 0;
  }
}
