import { PRIORITY_COUNT } from "./limits.js";
import { NONE, type Requests } from "./requests.js";

/** Of this many requests taken, one comes from a level that the highest would starve. */
const RESCUE_EVERY = 16;

/** What one client waits for at one service and priority, oldest first. */
interface Flow {
  readonly client: number;
  readonly level: number;
  head: number;
  tail: number;
  /** Neighbours in the ring of this level's flows. */
  next: Flow;
  previous: Flow;
}

/**
 * The requests that wait for one service. First those that a dead worker gave back, oldest
 * first; then by priority, within a priority one of each client in turn. The highest
 * priority does not starve the others: each sixteenth request comes from below it.
 * Every operation takes constant time, whatever waits.
 */
export class Queue {
  count = 0;
  bytes = 0;
  readonly #requests: Requests;
  readonly #flows = new Map<number, Flow>();
  /** Per level, the flow whose turn it is. */
  readonly #turn: (Flow | undefined)[] = new Array(PRIORITY_COUNT).fill(undefined);
  #levels = 0;
  #returnedHead = NONE;
  #returnedTail = NONE;
  #taken = 0;
  #rescueLevel = 0;
  readonly #clientCounts = new Map<number, number>();

  constructor(requests: Requests) {
    this.#requests = requests;
  }

  /** How many requests of this client wait here. */
  clientCount(client: number): number {
    return this.#clientCounts.get(client) ?? 0;
  }

  /** Puts a new request behind those of its client. */
  push(slot: number): void {
    const { client, priority, next, previous } = this.#requests;
    const flow = this.#requireFlow(client[slot], priority[slot]);
    previous[slot] = flow.tail;
    next[slot] = NONE;
    if (flow.tail === NONE) flow.head = slot;
    else next[flow.tail] = slot;
    flow.tail = slot;
    this.#counted(slot, 1);
  }

  /** Puts a request that a worker gave back before all new ones, behind others given back. */
  pushReturned(slot: number): void {
    const { next, previous, priority } = this.#requests;
    // Marks it for `remove`: it stands in no flow.
    priority[slot] |= RETURNED;
    previous[slot] = this.#returnedTail;
    next[slot] = NONE;
    if (this.#returnedTail === NONE) this.#returnedHead = slot;
    else next[this.#returnedTail] = slot;
    this.#returnedTail = slot;
    this.#counted(slot, 1);
  }

  /** Takes the next request out, or NONE. */
  take(): number {
    const slot = this.#peek();
    if (slot !== NONE) this.remove(slot);
    return slot;
  }

  /** Takes out a request wherever it stands. */
  remove(slot: number): void {
    const { client, priority, next, previous } = this.#requests;
    const after = next[slot];
    const before = previous[slot];
    if (after !== NONE) previous[after] = before;
    if (before !== NONE) next[before] = after;
    if (priority[slot] & RETURNED) {
      priority[slot] &= ~RETURNED;
      if (before === NONE) this.#returnedHead = after;
      if (after === NONE) this.#returnedTail = before;
    } else {
      const flow = this.#flows.get(flowKey(client[slot], priority[slot])) as Flow;
      if (before === NONE) flow.head = after;
      if (after === NONE) flow.tail = before;
      if (flow.head === NONE) this.#dropFlow(flow);
    }
    next[slot] = NONE;
    previous[slot] = NONE;
    this.#counted(slot, -1);
  }

  #peek(): number {
    if (this.#returnedHead !== NONE) return this.#returnedHead;
    if (this.#levels === 0) return NONE;
    const highest = 31 - Math.clz32(this.#levels & -this.#levels);
    const level = ++this.#taken % RESCUE_EVERY === 0 ? this.#rescue(highest) : highest;
    const flow = this.#turn[level] as Flow;
    this.#turn[level] = flow.next;
    return flow.head;
  }

  /** The next level in rotation that waits below the highest. */
  #rescue(highest: number): number {
    const below = this.#levels & ~((2 << highest) - 1);
    if (below === 0) return highest;
    const later = below & ~((2 << this.#rescueLevel) - 1);
    const candidates = later === 0 ? below : later;
    this.#rescueLevel = 31 - Math.clz32(candidates & -candidates);
    return this.#rescueLevel;
  }

  #requireFlow(client: number, level: number): Flow {
    const key = flowKey(client, level);
    const known = this.#flows.get(key);
    if (known !== undefined) return known;
    const flow = { client, level, head: NONE, tail: NONE } as Flow;
    const turn = this.#turn[level];
    if (turn === undefined) {
      flow.next = flow;
      flow.previous = flow;
      this.#turn[level] = flow;
      this.#levels |= 1 << level;
    } else {
      // Behind all others: its turn comes after each of them had one.
      flow.next = turn;
      flow.previous = turn.previous;
      turn.previous.next = flow;
      turn.previous = flow;
    }
    this.#flows.set(key, flow);
    return flow;
  }

  #dropFlow(flow: Flow): void {
    this.#flows.delete(flowKey(flow.client, flow.level));
    if (flow.next === flow) {
      this.#turn[flow.level] = undefined;
      this.#levels &= ~(1 << flow.level);
      return;
    }
    flow.previous.next = flow.next;
    flow.next.previous = flow.previous;
    if (this.#turn[flow.level] === flow) this.#turn[flow.level] = flow.next;
  }

  #counted(slot: number, by: 1 | -1): void {
    const { client, bytes } = this.#requests;
    this.count += by;
    this.bytes += by * bytes[slot];
    const count = this.clientCount(client[slot]) + by;
    if (count === 0) this.#clientCounts.delete(client[slot]);
    else this.#clientCounts.set(client[slot], count);
  }
}

const RETURNED = 0x80;

function flowKey(client: number, level: number): number {
  return client * PRIORITY_COUNT + level;
}
