import { ANY_REST, ANY_TOKEN } from "../../base/topic.js";
import type { Retained, RetainedNode } from "./retained.js";

/** Nodes beside each other, and how many tokens of the pattern have been met once one of them is. */
interface Level<E> {
  readonly nodes: Iterator<RetainedNode<E>>;
  readonly at: number;
}

/**
 * Finds the last values of the topics that a pattern matches, and may stop anywhere to go on later: nothing
 * is listed beforehand. What comes and goes meanwhile does not disturb it, since a Map's iterator passes over
 * what was deleted: of a value that was there when the walk was made, and is still, it finds the topic, once.
 */
export class RetainedWalk<E> {
  /** Nodes that it has looked at. */
  visitedCount = 0;
  readonly #tokens: readonly string[];
  readonly #sinceVersion: number;
  readonly #levels: Level<E>[] = [];
  /** Found before anything was asked for: a pattern without wildcards has one topic. */
  #first: Retained<E> | undefined;

  /** `sinceVersion`: what was made later is not looked for. */
  constructor(root: RetainedNode<E>, pattern: string, sinceVersion: number) {
    this.#tokens = pattern.split(".");
    this.#sinceVersion = sinceVersion;
    this.visitedCount++;
    this.#first = this.#enter(root, 0);
  }

  get isDone(): boolean {
    return this.#first === undefined && this.#levels.length === 0;
  }

  /**
   * The next value; undefined when there is none, or once it has looked at `visitsMax` nodes, and those
   * on the way below the last of them.
   */
  next(visitsMax: number): Retained<E> | undefined {
    const first = this.#first;
    this.#first = undefined;
    if (first !== undefined) return first;
    const end = this.visitedCount + visitsMax;
    while (this.#levels.length > 0 && this.visitedCount < end) {
      const { nodes, at } = this.#levels[this.#levels.length - 1];
      const { value: node } = nodes.next();
      // A Map has its entries in the order in which they came: all behind a newer one are newer, or the walk
      // would not end while somebody makes topics and deletes them.
      if (node === undefined || node.sinceVersion > this.#sinceVersion) {
        this.#levels.pop();
        continue;
      }
      this.visitedCount++;
      const found = this.#enter(node, at);
      if (found !== undefined) return found;
    }
    return undefined;
  }

  /** `entered` meets the first `met` tokens. Its value, if these are all; what is below is left for later. */
  #enter(entered: RetainedNode<E>, met: number): Retained<E> | undefined {
    const tokens = this.#tokens;
    if (met > tokens.length) {
      this.#descend(entered, met);
      return entered.value;
    }
    let node: RetainedNode<E> | undefined = entered;
    for (let at = met; node !== undefined; at++) {
      if (at === tokens.length) return node.value;
      const token = tokens[at];
      if (token === ANY_TOKEN || token === ANY_REST) {
        // All below are met by `>`: as by more tokens than there are.
        this.#descend(node, token === ANY_TOKEN ? at + 1 : tokens.length + 1);
        return undefined;
      }
      node = node.children?.get(token);
      this.visitedCount++;
    }
    return undefined;
  }

  #descend({ children }: RetainedNode<E>, at: number): void {
    if (children !== undefined) this.#levels.push({ nodes: children.values(), at });
  }
}
