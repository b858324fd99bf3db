import { ANY_REST, ANY_TOKEN } from "../../base/topic.js";

/** One token of one or more patterns, and what comes behind it. */
interface Node<T> {
  readonly parent: Node<T> | undefined;
  readonly token: string;
  /** By the next token, `*` and `>` not among them. */
  literal: Map<string, Node<T>> | undefined;
  anyToken: Node<T> | undefined;
  anyRest: Node<T> | undefined;
  /** Who has the pattern that ends here. */
  holders: Set<T> | undefined;
}

/**
 * Who has which pattern, found by topic. A topic is walked token by token, through the node of that
 * token and through the one of `*`: what it costs depends on the tokens and wildcards on its way, not on how
 * many patterns there are beside.
 */
export class PatternTrie<T> {
  /** Nodes that matching has looked at, ever. */
  visitedCount = 0;
  nodeCount = 1;
  readonly #root: Node<T> = makeNode<T>(undefined, "");

  add(pattern: string, holder: T): void {
    let node = this.#root;
    for (const token of pattern.split(".")) node = this.#requireChild(node, token);
    node.holders ??= new Set();
    node.holders.add(holder);
  }

  delete(pattern: string, holder: T): void {
    let node: Node<T> | undefined = this.#root;
    for (const token of pattern.split(".")) {
      node = childOf(node, token);
      if (node === undefined) return;
    }
    node.holders?.delete(holder);
    if (node.holders?.size === 0) node.holders = undefined;
    while (node?.parent !== undefined && isBare(node)) {
      dropChild(node.parent, node.token);
      this.nodeCount--;
      node = node.parent;
    }
  }

  /** Appends those whose pattern `topic` matches to `found`, each once. */
  match(topic: string, found: T[]): void {
    this.#walk(this.#root, topic.split("."), 0, found);
  }

  #walk(node: Node<T>, tokens: readonly string[], at: number, found: T[]): void {
    this.visitedCount++;
    if (at === tokens.length) return append(node, found);
    if (node.anyRest !== undefined) append(node.anyRest, found);
    const next = node.literal?.get(tokens[at]);
    if (next !== undefined) this.#walk(next, tokens, at + 1, found);
    if (node.anyToken !== undefined) this.#walk(node.anyToken, tokens, at + 1, found);
  }

  #requireChild(node: Node<T>, token: string): Node<T> {
    const known = childOf(node, token);
    if (known !== undefined) return known;
    const made = makeNode(node, token);
    this.nodeCount++;
    if (token === ANY_TOKEN) node.anyToken = made;
    else if (token === ANY_REST) node.anyRest = made;
    else {
      node.literal ??= new Map();
      node.literal.set(token, made);
    }
    return made;
  }
}

function makeNode<T>(parent: Node<T> | undefined, token: string): Node<T> {
  return {
    parent,
    token,
    literal: undefined,
    anyToken: undefined,
    anyRest: undefined,
    holders: undefined,
  };
}

function childOf<T>(node: Node<T>, token: string): Node<T> | undefined {
  if (token === ANY_TOKEN) return node.anyToken;
  return token === ANY_REST ? node.anyRest : node.literal?.get(token);
}

function dropChild<T>(node: Node<T>, token: string): void {
  if (token === ANY_TOKEN) node.anyToken = undefined;
  else if (token === ANY_REST) node.anyRest = undefined;
  else {
    node.literal?.delete(token);
    if (node.literal?.size === 0) node.literal = undefined;
  }
}

function isBare<T>({ literal, anyToken, anyRest, holders }: Node<T>): boolean {
  return !(literal ?? anyToken ?? anyRest ?? holders);
}

function append<T>({ holders }: Node<T>, found: T[]): void {
  if (holders !== undefined) for (const holder of holders) found.push(holder);
}
