import { RetainedWalk } from "./retained-walk.js";

/** What the store needs to know of an event. */
export interface Retainable {
  readonly topic: string;
  readonly bytes: number;
}

/** The last value of one topic. */
export interface Retained<E> {
  /** undefined once it was deleted. */
  event: E | undefined;
  /** Grows with each value that the store takes. */
  version: number;
}

/** One token of one or more topics that have a last value. */
export interface RetainedNode<E> {
  /** By the next token, in the order in which they came. */
  children: Map<string, RetainedNode<E>> | undefined;
  value: Retained<E> | undefined;
  /** The version of the value that it was made for: those below are no older. */
  readonly sinceVersion: number;
}

/** What a node takes in memory, measured with V8 12: its topic's text, and its place among others, included. */
const NODE_BYTES = 256;

/** The last value of each topic that has one, bounded in count and bytes. */
export class RetainedStore<E extends Retainable> {
  count = 0;
  /** Of the values alone. */
  valueBytes = 0;
  nodeCount = 0;
  /** Of the value that was taken last. */
  version = 0;
  readonly #root: RetainedNode<E> = makeNode(0);

  constructor(
    readonly countMax: number,
    readonly bytesMax: number,
  ) {}

  /** What they take, the nodes of their topics included. */
  get bytes(): number {
    return this.valueBytes + this.nodeCount * NODE_BYTES;
  }

  /** Why a value of so many bytes cannot be kept for `topic`; undefined if it can. */
  refusal(topic: string, bytes: number): string | undefined {
    const tokens = topic.split(".");
    let node: RetainedNode<E> | undefined = this.#root;
    let missingCount = tokens.length;
    for (const token of tokens) {
      node = node.children?.get(token);
      if (node === undefined) break;
      missingCount--;
    }
    const known = node?.value?.event;
    if (known === undefined && this.count >= this.countMax) {
      return `the broker keeps the last value of ${this.countMax} topics at most`;
    }
    const more = missingCount * NODE_BYTES + bytes - (known?.bytes ?? 0);
    if (this.bytes + more > this.bytesMax) {
      return `the broker keeps ${this.bytesMax} bytes of last values at most`;
    }
    return undefined;
  }

  set(event: E): void {
    let node = this.#root;
    for (const token of event.topic.split(".")) {
      node.children ??= new Map();
      let child = node.children.get(token);
      if (child === undefined) {
        child = makeNode(this.version + 1);
        this.nodeCount++;
        node.children.set(token, child);
      }
      node = child;
    }
    node.value ??= { event: undefined, version: 0 };
    const { value } = node;
    if (value.event === undefined) this.count++;
    this.valueBytes += event.bytes - (value.event?.bytes ?? 0);
    value.event = event;
    value.version = ++this.version;
  }

  delete(topic: string): void {
    const tokens = topic.split(".");
    const path: RetainedNode<E>[] = [this.#root];
    for (const token of tokens) {
      const next = path[path.length - 1].children?.get(token);
      if (next === undefined) return;
      path.push(next);
    }
    const { value } = path[path.length - 1];
    if (value?.event === undefined) return;
    this.count--;
    this.valueBytes -= value.event.bytes;
    // Who has it in a list to be delivered finds it gone.
    value.event = undefined;
    path[path.length - 1].value = undefined;
    for (let depth = tokens.length; depth > 0; depth--) {
      const { children, value: held } = path[depth];
      if (held !== undefined || children !== undefined) return;
      const parent = path[depth - 1];
      parent.children?.delete(tokens[depth - 1]);
      this.nodeCount--;
      if (parent.children?.size === 0) parent.children = undefined;
    }
  }

  /** Finds the values of all topics that `pattern` matches, a few at a time; none newer than `sinceVersion`. */
  walk(pattern: string, sinceVersion = this.version): RetainedWalk<E> {
    return new RetainedWalk(this.#root, pattern, sinceVersion);
  }
}

function makeNode<E>(sinceVersion: number): RetainedNode<E> {
  return { children: undefined, value: undefined, sinceVersion };
}
