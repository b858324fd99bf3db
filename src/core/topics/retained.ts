import { ANY_REST, ANY_TOKEN } from "../../base/topic.js";

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

interface Node<E> {
  children: Map<string, Node<E>> | undefined;
  value: Retained<E> | undefined;
}

/** The last value of each topic that has one, bounded in count and bytes. */
export class RetainedStore<E extends Retainable> {
  count = 0;
  bytes = 0;
  /** Of the value that was taken last. */
  version = 0;
  readonly #root: Node<E> = { children: undefined, value: undefined };

  constructor(
    readonly countMax: number,
    readonly bytesMax: number,
  ) {}

  /** Why a value of so many bytes cannot be kept for `topic`; undefined if it can. */
  refusal(topic: string, bytes: number): string | undefined {
    const known = this.#find(topic)?.value?.event;
    if (known === undefined && this.count >= this.countMax) {
      return `the broker keeps the last value of ${this.countMax} topics at most`;
    }
    if (this.bytes - (known?.bytes ?? 0) + bytes > this.bytesMax) {
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
        child = { children: undefined, value: undefined };
        node.children.set(token, child);
      }
      node = child;
    }
    node.value ??= { event: undefined, version: 0 };
    const { value } = node;
    if (value.event === undefined) this.count++;
    this.bytes += event.bytes - (value.event?.bytes ?? 0);
    value.event = event;
    value.version = ++this.version;
  }

  delete(topic: string): void {
    const tokens = topic.split(".");
    const path: Node<E>[] = [this.#root];
    for (const token of tokens) {
      const next = path[path.length - 1].children?.get(token);
      if (next === undefined) return;
      path.push(next);
    }
    const { value } = path[path.length - 1];
    if (value?.event === undefined) return;
    this.count--;
    this.bytes -= value.event.bytes;
    // Who has it in a list to be delivered finds it gone.
    value.event = undefined;
    path[path.length - 1].value = undefined;
    for (let depth = tokens.length; depth > 0; depth--) {
      const { children, value: held } = path[depth];
      if (held !== undefined || children !== undefined) return;
      const parent = path[depth - 1];
      parent.children?.delete(tokens[depth - 1]);
      if (parent.children?.size === 0) parent.children = undefined;
    }
  }

  /** The values of all topics that `pattern` matches. Walks only where some may be. */
  matching(pattern: string): Retained<E>[] {
    const found: Retained<E>[] = [];
    walk(this.#root, pattern.split("."), 0, found);
    return found;
  }

  #find(topic: string): Node<E> | undefined {
    let node: Node<E> | undefined = this.#root;
    for (const token of topic.split(".")) node = node?.children?.get(token);
    return node;
  }
}

function walk<E>(node: Node<E>, tokens: readonly string[], at: number, found: Retained<E>[]): void {
  if (at === tokens.length) {
    if (node.value !== undefined) found.push(node.value);
    return;
  }
  const { children } = node;
  if (children === undefined) return;
  const token = tokens[at];
  if (token === ANY_REST) {
    for (const child of children.values()) gather(child, found);
  } else if (token === ANY_TOKEN) {
    for (const child of children.values()) walk(child, tokens, at + 1, found);
  } else {
    const child = children.get(token);
    if (child !== undefined) walk(child, tokens, at + 1, found);
  }
}

function gather<E>({ value, children }: Node<E>, found: Retained<E>[]): void {
  if (value !== undefined) found.push(value);
  if (children !== undefined) for (const child of children.values()) gather(child, found);
}
